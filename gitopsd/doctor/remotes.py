"""Whether a remote can be reached as the one who will ask it, with their key, and knowing its host key."""

import re
from collections.abc import Iterator

from gitopsd.doctor.finding import Finding, fault, ok, warning
from gitopsd.errors import GitopsdError, Transient
from gitopsd.tools.git import foreign_error
from gitopsd.tools.process import BASE_ENV, Account, Processes

_PATIENCE = 30.0  # seconds


async def remote(
    processes: Processes, check: str, url: str, branch: str, *, account: Account | None = None, ssh_key: str = ""
) -> Finding:
    """Ask it for a branch.

    Args:
        processes: starts git.
        check: for the finding.
        url: of the remote.
        branch: that must be there.
        account: who asks; None is root.
        ssh_key: the only key to show.

    """
    env = {}
    if ssh_key:
        env = {"GIT_SSH_COMMAND": f"{BASE_ENV['GIT_SSH_COMMAND']} -oIdentitiesOnly=yes -oIdentityFile={ssh_key}"}
    who = account.name if account is not None else "root"
    try:
        asked = await processes.run(
            ["git", "ls-remote", "--heads", "--", url, f"refs/heads/{branch}"],
            timeout=_PATIENCE,
            account=account,
            env=env,
            check=False,
        )
    except Transient:
        return warning(check, f"{url} did not answer {who} within {_PATIENCE:g} s", _try(who, url))
    except GitopsdError as error:
        return fault(check, error.message, error.advice)
    if asked.status != 0:
        text = asked.stderr
        offline = isinstance(foreign_error(f"cannot reach {url}", asked), Transient)
        return next(_reasons(check, url, who, text, offline=offline))
    if not asked.stdout.strip():
        return warning(check, f"{url} answers {who}, and has no branch {branch}", f"push to {branch}")
    return ok(check, f"{url} answers {who} and has {branch}")


def _reasons(check: str, url: str, who: str, text: str, *, offline: bool) -> Iterator[Finding]:
    """The most telling one comes first: ssh explains itself before it says that the connection was closed."""
    host = _host(url)
    if re.search("host key verification failed", text, re.IGNORECASE):
        yield fault(
            check,
            f"{who} does not know the host key of {host}, or it has changed",
            f"compare it with the one that {host} publishes, then as {who}: ssh-keyscan {host} >> ~/.ssh/known_hosts"
            " (on NixOS: programs.ssh.knownHosts)",
        )
    if re.search("permission denied", text, re.IGNORECASE):
        yield fault(
            check,
            f"{host} takes no key of {who}",
            f"have {host} accept the public key of {who} (`sudo -u {who} ssh-keygen -t ed25519` makes one), or set ssh_key;"
            " a key with a passphrase cannot be used, as nobody is there to type it",
        )
    if offline:
        yield warning(check, f"{url} cannot be reached: {_last(text)}", _try(who, url))
    if re.search("not appear to be a git repo|repository .*not found|does not exist", text, re.IGNORECASE):
        yield fault(check, f"there is no repository at {url} that {who} may read", "correct repo_url")
    yield fault(check, f"{url} cannot be read by {who}: {_last(text)}", _try(who, url))


def _try(who: str, url: str) -> str:
    return f"sudo -u {who} git ls-remote {url}"


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def _host(url: str) -> str:
    """The host in a URL, or in the `user@host:path` of scp; the URL itself if there is none."""
    found = re.match(r"\w+://(?:[^@/]*@)?([^:/]+)|(?:[^@/]*@)?([^:/]+):", url)
    return (found[1] or found[2]) if found else url
