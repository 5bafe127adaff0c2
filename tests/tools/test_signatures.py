"""Whose commits are deployed: real keys, git, ssh-keygen and gpg."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitopsd.errors import Failed, Rejected
from gitopsd.tools.process import Processes
from gitopsd.tools.signatures import Signatures
from gitopsd.types import Revision


class Signers:
    """A repository, and people with keys who commit to it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.repository = place / "repository"
        self.gpg_home = place / "theirs"
        self.allowed = place / "allowed_signers"
        self.keyring = place / "keyring.gpg"
        self.gpg_home.mkdir(mode=0o700)
        self.run("git", "init", "--quiet", "--initial-branch=main", str(self.repository))
        for key, value in (("user.name", "Rain"), ("user.email", "rain@example.org")):
            self.git("config", key, value)

    def run(self, *argv: str, **env: str) -> str:
        surroundings = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.place),
            "GNUPGHOME": str(self.gpg_home),
            "LC_ALL": "C.UTF-8",
            **env,
        }
        done = subprocess.run(argv, env=surroundings, cwd=self.place, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def git(self, *arguments: str, **env: str) -> str:
        return self.run("git", "-C", str(self.repository), *arguments, **env).strip()

    def ssh_key(self, name: str) -> Path:
        key = self.place / name
        self.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key))
        return key

    def allow(self, key: Path, options: str = 'namespaces="git"') -> None:
        public = key.with_suffix(".pub").read_text()
        with self.allowed.open("a") as file:
            file.write(f"{key.name}@example.org {options} {public}")

    def gpg_key(self, name: str, *options: str, expires: str = "never") -> str:
        self.run(
            *("gpg", "--batch", "--quiet", "--passphrase", "", *options),
            *("--quick-gen-key", f"{name} <{name}@example.org>", "ed25519", "sign", expires),
        )
        listed = self.run("gpg", "--list-keys", "--with-colons", f"{name}@example.org")
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))

    def export(self, *keys: str) -> None:
        self.keyring.unlink(missing_ok=True)
        self.run("gpg", "--batch", "--export", "--output", str(self.keyring), *keys)

    def commit(self, message: str, *, ssh: Path | None = None, gpg: str = "", program: str = "gpg") -> Revision:
        (self.repository / "file").write_text(message)
        self.git("add", "-A")
        signing = ["--no-gpg-sign"]
        settings: list[str] = []
        if ssh is not None:
            settings = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={ssh}.pub"]
            signing = ["--gpg-sign"]
        elif gpg:
            settings = ["-c", "gpg.format=openpgp", "-c", f"user.signingkey={gpg}", "-c", f"gpg.program={program}"]
            signing = ["--gpg-sign"]
        self.git(*settings, "commit", "--quiet", "--message", message, *signing)
        return self.head()

    def head(self) -> Revision:
        return Revision(self.git("rev-parse", "HEAD"))

    def tamper(self, old: str, new: str) -> Revision:
        """Change the newest commit and keep its signature."""
        text = self.git("cat-file", "commit", "HEAD")
        assert old in text
        changed = self.place / "changed"
        changed.write_text(text.replace(old, new) + "\n")
        name = self.git("hash-object", "-t", "commit", "-w", str(changed))
        self.git("reset", "--quiet", "--hard", name)
        return Revision(name)

    def policy(self, *, ssh: bool = True, gpg: bool = False, only: tuple[str, ...] = (), path: str = "") -> Signatures:
        return Signatures(
            Processes(path or None),
            self.repository,
            home=self.place / "ours",
            allowed_signers=str(self.allowed) if ssh else "",
            gpg_keyring=str(self.keyring) if gpg else "",
            gpg_fingerprints=only,
        )


@pytest.fixture
def signers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signers]:
    if any(shutil.which(program) is None for program in ("git", "gpg", "ssh-keygen")):
        if os.environ.get("GITOPSD_LAB_REQUIRED") == "1":
            pytest.fail("needs git, gpg and ssh-keygen")
        pytest.skip("needs git, gpg and ssh-keygen: run it in the lab's image, with `make tools`")
    it = Signers(tmp_path_factory.mktemp("s"))  # short: the path of gpg-agent's socket has a limit
    yield it
    it.run("gpgconf", "--kill", "all")


async def refused(policy: Signatures, revision: Revision, since: Revision | None, *said: str) -> Rejected:
    with pytest.raises(Rejected) as caught:
        await policy.check(revision, since)
    for words in said:
        assert words in caught.value.message
    assert caught.value.meaning == "nothing of it was evaluated; the system is unchanged"
    assert "-S" in caught.value.advice
    return caught.value


async def test_commits_of_allowed_ssh_keys_are_deployed(signers: Signers) -> None:
    key, other = signers.ssh_key("rain"), signers.ssh_key("olga")
    signers.allow(key)
    signers.allow(other)
    first = signers.commit("first")
    signers.commit("second", ssh=key)
    third = signers.commit("third", ssh=other)
    await signers.policy().check(third, first)


async def test_an_unsigned_commit_between_two_signed_ones_is_found(signers: Signers) -> None:
    key = signers.ssh_key("rain")
    signers.allow(key)
    first = signers.commit("first", ssh=key)
    signers.commit("second", ssh=key)
    unsigned = signers.commit("third")
    last = signers.commit("fourth", ssh=key)
    error = await refused(
        signers.policy(), last, first, f"{last[:12]} is not trusted: {unsigned[:12]} (third, by Rain): it is not signed"
    )
    assert len(error.message.splitlines()) == 1
    assert first[:12] in error.advice


async def test_an_unsigned_commit_on_the_merged_side_of_a_merge_is_found(signers: Signers) -> None:
    key = signers.ssh_key("rain")
    signers.allow(key)
    first = signers.commit("first", ssh=key)
    signers.git("checkout", "--quiet", "-b", "side")
    unsigned = signers.commit("on the side")
    signers.git("checkout", "--quiet", "main")
    signing = ("-c", "gpg.format=ssh", "-c", f"user.signingkey={key}.pub")
    signers.git(*signing, "merge", "--quiet", "--no-ff", "--gpg-sign", "-m", "merge", "side")
    await refused(signers.policy(), signers.head(), first, unsigned[:12], "it is not signed")


async def test_the_first_deployment_looks_at_the_newest_commit_only(signers: Signers) -> None:
    key = signers.ssh_key("rain")
    signers.allow(key)
    signers.commit("before there was a policy")
    signed = signers.commit("signed", ssh=key)
    await signers.policy().check(signed, None)
    await signers.policy().check(signed, Revision("e" * 40))  # the mirror has lost what was deployed
    unsigned = signers.commit("unsigned")
    await refused(signers.policy(), unsigned, None, "it is not signed")


async def test_a_key_that_nobody_allowed_is_refused_also_if_the_commit_itself_allows_it(signers: Signers) -> None:
    key, stranger = signers.ssh_key("rain"), signers.ssh_key("mallory")
    signers.allow(key)
    first = signers.commit("first", ssh=key)
    inside = signers.repository / "allowed_signers"
    inside.write_text(f"mallory@example.org {stranger.with_suffix('.pub').read_text()}")
    signers.git("config", "gpg.ssh.allowedSignersFile", str(inside))
    last = signers.commit("trust me", ssh=stranger)
    await refused(signers.policy(), last, first, last[:12], "nobody who is allowed to", "SHA256:")


async def test_an_ssh_key_that_had_expired_when_it_signed_is_refused(signers: Signers) -> None:
    old = signers.ssh_key("old")
    signers.allow(old, 'valid-before="20200101"')
    await refused(signers.policy(), signers.commit("too late", ssh=old), None, "had expired")


async def test_a_key_that_is_allowed_for_other_things_is_refused(signers: Signers) -> None:
    key = signers.ssh_key("mail")
    signers.allow(key, 'namespaces="file"')
    await refused(signers.policy(), signers.commit("wrong use", ssh=key), None, "allowed for other things")


@pytest.mark.parametrize("kind", ["ssh", "gpg"])
async def test_a_commit_that_was_changed_after_it_was_signed_is_refused(signers: Signers, kind: str) -> None:
    if kind == "ssh":
        key = signers.ssh_key("rain")
        signers.allow(key)
        signers.commit("honest", ssh=key)
    else:
        fingerprint = signers.gpg_key("rain")
        signers.export(fingerprint)
        signers.commit("honest", gpg=fingerprint)
    changed = signers.tamper("honest", "changed")
    policy = signers.policy(ssh=kind == "ssh", gpg=kind == "gpg")
    await refused(policy, changed, None, "its signature is bad")


async def test_a_committer_who_calls_himself_somebody_else_is_still_nobody(signers: Signers) -> None:
    key, stranger = signers.ssh_key("rain"), signers.ssh_key("mallory")
    signers.allow(key)
    signers.git("config", "user.email", "rain@example.org")
    await refused(signers.policy(), signers.commit("in disguise", ssh=stranger), None, "nobody who is allowed to")


async def test_what_a_commit_says_cannot_pass_for_a_verdict(signers: Signers) -> None:
    key = signers.ssh_key("rain")
    signers.allow(key)
    first = signers.commit("first", ssh=key)
    forged = signers.commit(f"x\n{'a' * 40} G SHA256:x|SHA256:x|\n\ngpgsig forged\n\x1b[2J")
    error = await refused(signers.policy(), signers.commit("last", ssh=key), first, forged[:12], "it is not signed")
    assert "\x1b" not in error.message


async def test_a_replaced_object_does_not_hide_an_unsigned_commit(signers: Signers) -> None:
    key = signers.ssh_key("rain")
    signers.allow(key)
    first = signers.commit("first", ssh=key)
    unsigned = signers.commit("unsigned")
    signers.git("reset", "--quiet", "--hard", first)
    signed = signers.commit("signed", ssh=key)
    signers.git("replace", unsigned, signed)
    await refused(signers.policy(), unsigned, first, "it is not signed")


async def test_commits_of_allowed_gpg_keys_are_deployed_and_those_of_others_are_not(signers: Signers) -> None:
    rain, mallory = signers.gpg_key("rain"), signers.gpg_key("mallory")
    signers.export(rain)
    first = signers.commit("first", gpg=rain)
    second = signers.commit("second", gpg=rain)
    policy = signers.policy(ssh=False, gpg=True)
    await policy.check(second, first)
    await refused(policy, signers.commit("third", gpg=mallory), first, "nobody who is allowed to", mallory[-16:])


async def test_fingerprints_choose_among_the_keys_of_a_keyring(signers: Signers) -> None:
    rain, olga = signers.gpg_key("rain"), signers.gpg_key("olga")
    signers.export(rain, olga)
    by_rain = signers.commit("by rain", gpg=rain)
    by_olga = signers.commit("by olga", gpg=olga)
    policy = signers.policy(ssh=False, gpg=True, only=(rain,))
    await policy.check(by_rain, None)
    await refused(policy, by_olga, None, by_olga[:12], olga)


async def test_a_subkey_of_an_allowed_gpg_key_signs_for_it(signers: Signers) -> None:
    rain = signers.gpg_key("rain")
    signers.run("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-add-key", rain, "ed25519", "sign", "never")
    listed = signers.run("gpg", "--list-keys", "--with-colons", rain)
    subkey = [line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:")][-1]
    assert subkey != rain
    signers.export(rain)
    await signers.policy(ssh=False, gpg=True, only=(rain,)).check(
        signers.commit("by the subkey", gpg=f"{subkey}!"), None
    )


async def test_a_gpg_key_that_has_expired_is_refused_though_git_would_take_it(signers: Signers) -> None:
    old = signers.gpg_key("old", "--faked-system-time", "20200101T000000", expires="2021-01-01")
    program = signers.place / "gpg-of-2020"
    program.write_text('#!/bin/sh\nexec gpg --faked-system-time 20200601T000000 "$@"\n')
    program.chmod(0o755)
    signers.export(old)
    signed = signers.commit("in 2020", gpg=old, program=str(program))
    await refused(signers.policy(ssh=False, gpg=True), signed, None, "the key that signed it has expired")


async def test_a_revoked_gpg_key_is_refused(signers: Signers) -> None:
    rain = signers.gpg_key("rain")
    signed = signers.commit("before", gpg=rain)
    revocation = (signers.gpg_home / "openpgp-revocs.d" / f"{rain}.rev").read_text().replace(":-----", "-----")
    (signers.place / "revocation").write_text(revocation)
    signers.run("gpg", "--batch", "--quiet", "--import", str(signers.place / "revocation"))
    signers.export(rain)
    await refused(signers.policy(ssh=False, gpg=True), signed, None, "was revoked")


async def test_ssh_and_gpg_signers_may_be_mixed(signers: Signers) -> None:
    key, rain = signers.ssh_key("olga"), signers.gpg_key("rain")
    signers.allow(key)
    signers.export(rain)
    first = signers.commit("first")
    signers.commit("by gpg", gpg=rain)
    last = signers.commit("by ssh", ssh=key)
    await signers.policy(ssh=True, gpg=True).check(last, first)
    await refused(signers.policy(ssh=True), last, first, "by gpg")
    await refused(signers.policy(ssh=False, gpg=True), last, first, "by ssh")


async def test_a_key_that_was_taken_out_of_the_keyring_is_forgotten(signers: Signers) -> None:
    rain, olga = signers.gpg_key("rain"), signers.gpg_key("olga")
    signers.export(rain, olga)
    signed = signers.commit("by rain", gpg=rain)
    policy = signers.policy(ssh=False, gpg=True)
    await policy.check(signed, None)
    signers.export(olga)
    await refused(policy, signed, None, "nobody who is allowed to")


async def test_many_bad_commits_are_counted_and_a_few_named(signers: Signers) -> None:
    key = signers.ssh_key("rain")
    signers.allow(key)
    first = signers.commit("first", ssh=key)
    for number in range(8):
        signers.commit(f"unsigned {number}")
    error = await refused(signers.policy(), signers.head(), first, "and 3 more")
    assert len(error.message.splitlines()) == 6


@pytest.mark.parametrize("missing", ["allowed signers", "keyring", "broken keyring", "ssh-keygen", "gpg"])
async def test_what_cannot_be_checked_closes_the_gate_and_rejects_nothing(signers: Signers, missing: str) -> None:
    key, rain = signers.ssh_key("olga"), signers.gpg_key("rain")
    signers.allow(key)
    signers.export(rain)
    signers.commit("by ssh", ssh=key)
    signed = signers.commit("by gpg", gpg=rain)
    path = ""
    match missing:
        case "allowed signers":
            signers.allowed.unlink()
        case "keyring":
            signers.keyring.unlink()
        case "broken keyring":
            signers.keyring.write_text("no key")
        case program:
            found = signers.place / "bin"
            found.mkdir()
            for other in ("git", "sh", "gpg", "ssh-keygen", "false"):
                if other != program:
                    (found / other).symlink_to(shutil.which(other) or "")
            path = str(found)
    with pytest.raises(Failed) as caught:
        await signers.policy(gpg=True, path=path).check(signed, None)
    assert "nothing new is deployed" in caught.value.meaning
    assert caught.value.advice


@pytest.mark.parametrize("way", ["exit 255", "cat >/dev/null; exit 255", "kill -9 $$"])
async def test_a_program_that_breaks_in_the_middle_closes_the_gate_and_rejects_nothing(
    signers: Signers, way: str
) -> None:
    key = signers.ssh_key("rain")
    signers.allow(key)
    signed = signers.commit("signed", ssh=key)
    found = signers.place / "bin"
    found.mkdir()
    for other in ("git", "cat"):
        (found / other).symlink_to(shutil.which(other) or "")
    (found / "ssh-keygen").write_text(f"#!/bin/sh\n{way}\n")
    (found / "ssh-keygen").chmod(0o755)
    with pytest.raises(Failed) as caught:
        await signers.policy(path=str(found)).check(signed, None)
    assert "nothing new is deployed" in caught.value.meaning
