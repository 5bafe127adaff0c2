"""A clone of the configuration that belongs to rain, and what the tests do with it."""

import os
import shutil
import subprocess
from pathlib import Path

import msgspec
from people import Remote, Watched, git

from gitopsd.checkout.follow import Following
from gitopsd.checkout.publish import Publishing
from gitopsd.errors import Cause, Transient
from gitopsd.tools.process import Account
from gitopsd.types import PersonFacts


class Checkout:
    """A clone that belongs to rain, and a way to push behind its back."""

    def __init__(self, place: Path, remote: Remote, home: str = "home") -> None:
        self.place, self.remote = place, remote
        self.path = place / home / "nix-config"
        self.account = Account.of("rain")
        self.processes = Watched()
        self.path.parent.mkdir()
        os.chown(self.path.parent, self.account.uid, self.account.gid)
        self.other = place / "other"
        if not self.other.exists():
            git("clone", "--quiet", str(remote.path), str(self.other))
            self.push("first", flake="1", other="1")
        where = self.path.parent
        self.run("git", "config", "--global", "safe.directory", str(remote.path), where=where)  # it is root's
        self.run("git", "clone", "--quiet", str(remote.path), str(self.path), where=where)
        for key, value in (("name", "rain"), ("email", "rain@example.org")):
            self.run("git", "config", f"user.{key}", value)

    def run(self, *argv: str, where: Path | None = None) -> str:
        done = subprocess.run(
            argv,
            cwd=where or self.path,
            env={"HOME": self.account.home, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            user=self.account.uid,
            group=self.account.gid,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout.strip()

    def push(self, message: str, **files: str) -> str:
        if self.remote.heads():
            git("-C", str(self.other), "fetch", "--quiet", "origin")
            git("-C", str(self.other), "reset", "--quiet", "--hard", "origin/main")
        for name, text in files.items():
            (self.other / name).write_text(f"{text}\n")
        identity = ("-c", "user.name=o", "-c", "user.email=o@example.org")
        git("-C", str(self.other), "add", "-A")
        git("-C", str(self.other), *identity, "commit", "--quiet", "-m", message)
        git("-C", str(self.other), "push", "--quiet", "origin", "HEAD:refs/heads/main")
        return git("-C", str(self.other), "rev-parse", "HEAD").strip()

    def head(self) -> str:
        return self.run("git", "rev-parse", "HEAD")

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)
        os.chown(self.path / name, self.account.uid, self.account.gid)

    def plant(self) -> Path:
        """Programs in every place where a repository may name one; each says whom it ran as."""
        proof = self.path.parent / "ran-as"
        program = self.path / ".git" / "planted"
        program.write_text(f"#!/bin/sh\nid -un >>{proof}\n[ -t 0 ] || cat 2>/dev/null\nexit 0\n")
        program.chmod(0o755)
        hooks = self.path / ".git" / "hooks"
        shutil.rmtree(hooks)
        hooks.mkdir()
        for hook in (
            *("post-checkout", "post-merge", "pre-commit", "post-commit", "pre-push", "reference-transaction"),
            *("post-index-change", "pre-merge-commit", "post-rewrite", "prepare-commit-msg", "fsmonitor-watchman"),
        ):
            (hooks / hook).symlink_to(program)
        for key in ("core.fsmonitor", "filter.planted.smudge", "filter.planted.clean", "core.pager", "core.editor"):
            self.run("git", "config", key, str(program))
        self.run("git", "config", "core.hooksPath", str(hooks))
        (self.path / ".git" / "info" / "attributes").write_text("* filter=planted\n")
        for place in (program, hooks, *hooks.iterdir(), self.path / ".git" / "info" / "attributes"):
            os.chown(place, self.account.uid, self.account.gid, follow_symlinks=False)
        return proof

    async def upgrade(self, *, update_inputs: bool = False, host: str = "a", cut: str = "") -> PersonFacts:
        """What a cycle does with a checkout that is published; `cut` ends it before that verb."""
        publishing = Publishing(
            self.processes,
            str(self.path),
            repo_url=str(self.remote.path),
            branch="main",
            host=host,
            flake="" if update_inputs else None,
        )
        facts = PersonFacts(user="")
        verbs = {
            "fetch": publishing.fetch,
            "capture": publishing.capture,
            "publish": lambda known: publishing.publish(known, f"chore({host}): auto-update 2026-11-24T13:00:00Z"),
            "apply": publishing.apply,
        }
        for name, verb in verbs.items():
            if name == cut:
                break
            facts = msgspec.structs.replace(facts, trunk=self.remote.heads()["main"])
            for _ in range(3):
                try:
                    facts = await verb(facts)
                    break
                except Transient as error:
                    assert error.cause is Cause.remote_moved
        return facts

    async def follow(self, trunk: str) -> PersonFacts:
        following = Following(self.processes, str(self.path), branch="main")
        return await following.apply(PersonFacts(user="", trunk=trunk))
