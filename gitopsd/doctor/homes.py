"""One person's dotfiles: the repository, whose it is, what made it, and who commits in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from gitopsd.config import DotfilesConfig
from gitopsd.doctor.finding import Finding, fault, ok, warning
from gitopsd.doctor.remotes import remote
from gitopsd.errors import Failed, GitopsdError
from gitopsd.tools.chezmoi import automatic_git
from gitopsd.tools.process import Account, Processes

_QUICK = 10.0  # seconds


async def home(processes: Processes, section: DotfilesConfig) -> AsyncIterator[Finding]:
    """Examine it, as that person."""
    check = f"dotfiles of {section.user}"
    try:
        account = Account.of(section.user)
    except Failed as error:
        yield fault(check, error.message, error.advice)
        return
    source = Path(account.home) / section.source
    yield await remote(processes, check, section.repo_url, section.trunk, account=account, ssh_key=section.ssh_key)
    finding = _repository(check, source, account)
    yield finding or ok(check, f"{source} is a repository of git and jj together")
    if finding is not None:
        return
    git = ["git", "-C", str(source)]
    url = await _said(processes, account, [*git, "config", "--get", "remote.origin.url"])
    if url != section.repo_url:
        command = f"git -C {source} remote {'set-url' if url else 'add'} origin {section.repo_url}"
        yield fault(check, f"its remote is {url or 'missing'}, not {section.repo_url}", command)
    for name in ("user.name", "user.email"):
        if not await _said(processes, account, ["jj", "--ignore-working-copy", "config", "get", name], str(source)):
            example = f"jj config set --user {name} '{'Rain' if name == 'user.name' else 'rain@example.org'}'"
            yield fault(
                check, f"jj does not know {name}: what it commits cannot be pushed", f"as {account.name}: {example}"
            )
    if (path := await _said(processes, account, ["chezmoi", "source-path"])) and Path(path) != source:
        yield warning(
            check,
            f"chezmoi, when {account.name} runs it, uses {path} and not {source}",
            f"set `source` in [[dotfiles]], or `sourceDir` in {account.home}/.config/chezmoi/chezmoi.toml",
        )
    if (dumped := await _said(processes, account, ["chezmoi", "dump-config", "--format=json"])) and (
        automatic := automatic_git(msgspec.json.decode(dumped))
    ):
        yield warning(
            check,
            f"chezmoi commits by itself when {account.name} runs it (git.{', git.'.join(automatic)}), and what it pushes "
            "has passed no check for secrets; gitopsd's own runs do neither",
            f"take autoAdd, autoCommit and autoPush out of {account.home}/.config/chezmoi/chezmoi.toml",
        )


def _repository(check: str, source: Path, account: Account) -> Finding | None:
    """What is wrong with it; None if nothing is."""
    as_person = f"sudo -u {account.name}"
    try:
        if not Path(account.home).is_dir():
            return fault(check, f"the home {account.home} does not exist", f"mkhomedir_helper {account.name}")
        if not source.is_dir():
            return fault(check, f"{source} does not exist", f"{as_person} gitopsctl dotfiles init")
        if source.stat().st_uid != account.uid:
            what = f"{source} does not belong to {account.name}"
            return fault(check, what, f"sudo chown -R {account.name}: {source}")
        has_git, has_jj = (source / ".git").exists(), (source / ".jj").is_dir()
    except OSError as error:
        return fault(check, f"{source}: {error.strerror}", "sudo gitopsctl doctor")
    if has_git and has_jj:
        return None
    if has_git:
        command = f"cd {source} && jj git init --colocate"
        return fault(check, f"{source} is a git repository without jj", f"as {account.name}: {command}")
    if has_jj:
        command = f"cd {source} && jj git colocation enable"
        return fault(check, f"{source} is a jj repository that git does not share", f"as {account.name}: {command}")
    return fault(check, f"{source} is no repository", f"{as_person} gitopsctl dotfiles init")


async def _said(processes: Processes, account: Account, argv: list[str], cwd: str | None = None) -> str:
    """What a command prints; empty if it fails or is missing, which is told elsewhere."""
    try:
        return (await processes.run(argv, timeout=_QUICK, account=account, cwd=cwd, check=False)).stdout.strip()
    except GitopsdError:
        return ""
