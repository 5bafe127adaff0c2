"""The migration: values go from chezmoi's data to a SOPS file, and templates include what NixOS decrypts at activation.

All of it is tried in a copy of the source directory on tmpfs first: every target renders byte for byte the same, the
SOPS file decrypts to the values, and none of them is left in the tree. Only then files are replaced, all or none.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from gitopsd.errors import Failed
from gitopsd.secrets import data
from gitopsd.secrets.audit import CONFIGURATION, Auditor, Definition
from gitopsd.secrets.keys import Kind
from gitopsd.secrets.replacing import Replacing
from gitopsd.tools.chezmoi import Home
from gitopsd.tools.process import Account, Processes
from gitopsd.tools.sops import Sops

DECRYPTED = "/run/secrets"  # where sops-nix puts what it decrypts at activation
PLACE = ".git/gitopsd/migration"


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """One variable that goes to SOPS.

    Args:
        name: of the variable.
        secret: of the secret, in the SOPS file and below `/run/secrets`.
        defined: the files that define it.
        rewritten: the templates that use it.

    """

    name: str
    secret: str
    defined: tuple[str, ...]
    rewritten: tuple[str, ...]


class Migrated(msgspec.Struct, frozen=True, kw_only=True):
    """What a migration did, or would do.

    Args:
        moves: by variable; empty if there is nothing to do.
        targets: how many targets were rendered before and after, and are the same.
        file: the SOPS file.
        snippet: for the NixOS configuration.

    """

    moves: tuple[Move, ...]
    targets: int = 0
    file: str = ""
    snippet: str = ""


class Migration:
    """Moves the secrets of one person's dotfiles.

    Args:
        processes: starts the programs.
        account: the person, in whose account we run.
        source: the source directory.
        file: the SOPS file, made or extended.
        recipients: age recipients with commas between; empty goes by `.sops.yaml`.

    """

    def __init__(self, processes: Processes, account: Account, source: Path, *, file: Path, recipients: str) -> None:
        self._processes = processes
        self._account = account
        self._source = source
        self._file = file
        self._recipients = recipients
        self._auditor = Auditor(processes, account, source)
        self._sops = Sops(processes, account)
        self._replacing = Replacing(source / PLACE)

    async def run(self, *, dry: bool) -> Migrated:
        """Do it; with `dry`, prove that it could be done, and change nothing.

        Raises:
            Failed: it cannot be proven; nothing was changed.
            ToolMissing: likewise.

        """
        self._replacing.recover()
        files = await self._auditor.files()
        definitions = await self._auditor.definitions(files)
        audit = await self._auditor.audit(history=False)
        secret = {each.name for each in audit.variables if each.kind is Kind.secret}
        wanted = {
            name: where
            for name, where in definitions.items()
            if name in secret and any(data.is_data(each.path) and each.value not in (None, "") for each in where)
        }
        if not wanted:
            return Migrated(moves=())
        values = {name: _value(name, where) for name, where in wanted.items()}
        names = _secret_names(wanted)
        with plaintext_place(self._account) as place:
            copy = place / "source"
            _copy(files, copy)
            home = Home(self._processes, self._account, str(copy))
            options = {"configuration": self._configuration(), "state": str(place / "state.boltdb")}
            before = await home.render(**options)
            changed = self._rewrite(files, wanted, values, names, str(place / "secrets"))
            _copy(changed, copy)
            await self._check_data(files, changed, set(wanted), copy)
            (place / "secrets").mkdir(mode=0o700)
            for name, value in values.items():
                _write(place / "secrets" / names[name], value.encode())
            try:
                after = await home.render(**options)
            except Failed as error:
                raise _differs(f"a template fails afterwards: {error.message}") from error
            if wrong := sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path)):
                raise _differs(f"{', '.join(wrong)} would not be the same")
        changed = self._rewrite(files, wanted, values, names, DECRYPTED)
        _refuse_leftovers({**files, **changed}, values)
        encrypted = await self._encrypted({names[name]: value for name, value in values.items()})
        moves = tuple(
            Move(
                name=name,
                secret=names[name],
                defined=tuple(dict.fromkeys(each.path for each in where if data.is_data(each.path))),
                rewritten=tuple(
                    path for path in changed if data.is_template(path) and data.uses(_text(files[path]), {name: 0})
                ),
            )
            for name, where in sorted(wanted.items())
        )
        if not dry:
            self._replacing.replace(
                {self._file: encrypted, **{self._source / path: raw for path, raw in changed.items()}}
            )
        return Migrated(moves=moves, targets=len(before), file=str(self._file), snippet=self._snippet(moves))

    def _rewrite(
        self,
        files: Mapping[str, bytes],
        wanted: Mapping[str, Sequence[Definition]],
        values: Mapping[str, str],
        names: Mapping[str, str],
        prefix: str,
    ) -> dict[str, bytes]:
        """The files that change, as they are to be."""
        changed: dict[str, bytes] = {}
        for name, where in wanted.items():
            for path in {each.path for each in where if data.is_data(each.path)}:
                changed[path] = data.without(path, changed.get(path, files[path]), name)
        expressions = {}
        for name, value in values.items():
            trim = " | trim" if value == value.strip() else ""
            expressions[name] = f'include "{prefix}/{names[name]}"{trim}'
        for path, raw in files.items():
            if data.is_template(path):
                text = _text(raw)
                if (new := data.rewritten(text, expressions)) != text:
                    changed[path] = new.encode(errors="surrogateescape")
        return changed

    async def _check_data(
        self, files: Mapping[str, bytes], changed: Mapping[str, bytes], gone: set[str], copy: Path
    ) -> None:
        """Make sure that the data lost these variables and nothing else, whether a template uses it or not."""
        for path in filter(data.is_data, changed):
            trees = [data.parse_plain(path, raw[path]) for raw in (files, changed)]
            if None in trees:
                home = Home(self._processes, self._account, str(copy))
                trees = [await home.parse(str(folder / path)) for folder in (self._source, copy)]
            before, after = (data.leaves(tree or {}) for tree in trees)
            kept = {name: value for name, value in after.items() if value is not None}
            if kept != {name: value for name, value in before.items() if name not in gone and value is not None}:
                raise _differs(f"{path} cannot be rewritten without losing more than the secrets")

    async def _encrypted(self, values: Mapping[str, str]) -> bytes:
        """The SOPS file with these values and what it has already, proven by decrypting it."""
        known = await self._sops.decrypt(self._file) if self._file.is_file() else {}
        for name, value in values.items():
            if known.get(name, value) != value:
                raise Failed(
                    f"{self._file} has another value for {name}",
                    meaning="nothing was changed",
                    advice=f"sops {self._file}  # rename or remove it there",
                )
        wanted = {**known, **values}
        if self._file.is_file() and wanted == known:
            return self._file.read_bytes()
        encrypted = await self._sops.encrypt(wanted, self._file, recipients=self._recipients)
        # Ciphertext may touch a disk.
        with tempfile.TemporaryDirectory(prefix="gitopsd-") as folder:
            proof = Path(folder, f"proof{self._file.suffix}")
            _write(proof, encrypted)
            found = await self._sops.decrypt(proof)
        if found != wanted:
            raise Failed(
                "sops does not give back what it was given", meaning="nothing was changed", advice="sops --version"
            )
        return encrypted

    def _configuration(self) -> str:
        folder = Path(self._account.home) / ".config/chezmoi"
        found = [folder / f"chezmoi.{kind}" for kind in ("toml", "yaml", "yml", "json", "jsonc")]
        return next((str(file) for file in found if file.is_file()), "")

    def _snippet(self, moves: Sequence[Move]) -> str:
        return "".join(
            f'sops.secrets."{move.secret}" = {{\n'
            f"  sopsFile = ./secrets/{self._file.name};  # {self._file}\n"
            f'  owner = "{self._account.name}";\n'
            f'  mode = "0400";\n'
            "};\n"
            for move in moves
        )


@contextmanager
def plaintext_place(account: Account) -> Iterator[Path]:
    """A directory in memory that nobody else can enter; gone with all that is in it at the end.

    Raises:
        Failed: there is no tmpfs.

    """
    kinds = [line.split(" - ", 1) for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    in_memory = {mount.split(" ")[4] for mount, rest in kinds if rest.split(" ")[0] in ("tmpfs", "ramfs")}
    for base in (Path(f"/run/user/{account.uid}"), Path("/dev/shm")):  # noqa: S108 - a directory of its own is made there
        if str(base) in in_memory and base.is_dir():
            with tempfile.TemporaryDirectory(prefix="gitopsd-", dir=base) as folder:
                yield Path(folder)
            return
    raise Failed(
        f"neither /run/user/{account.uid} nor /dev/shm is a tmpfs",
        meaning="nothing was changed: secrets must not touch a disk",
        advice="log in with a session, or mount a tmpfs at /dev/shm",
    )


def _copy(files: Mapping[str, bytes], to: Path) -> None:
    for path, raw in files.items():
        target = to / path
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, raw)


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def _value(name: str, where: Sequence[Definition]) -> str:
    values = {each.value for each in where if isinstance(each.value, str | int | float) and each.value != ""}
    if len(values) != 1 or any(each.path == CONFIGURATION for each in where):
        raise Failed(
            f"{name} has no value, several, or one of chezmoi's configuration",
            meaning="nothing was changed",
            advice=f"keep one definition of {name}, in .chezmoidata, and write that it is no secret, or put it there: "
            "gitopsctl secrets audit",
        )
    return str(values.pop())


def _secret_names(wanted: Mapping[str, object]) -> dict[str, str]:
    names: dict[str, str] = {}
    for name in wanted:
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
        while plain in names.values():
            plain += "_"
        names[name] = plain
    return names


def _refuse_leftovers(files: Mapping[str, bytes], values: Mapping[str, str]) -> None:
    found = [
        f"{path}:{raw[:at].count(10) + 1} ({name})"
        for path, raw in files.items()
        for name, value in values.items()
        if (at := raw.find(value.encode())) >= 0
    ]
    if found:
        raise Failed(
            f"values would be left in the tree: {', '.join(found)}",
            meaning="nothing was changed",
            advice="use the variable there, or take it out",
        )


def _differs(what: str) -> Failed:
    return Failed(
        what,
        meaning="nothing was changed: the templates would not render as they do",
        advice="use the variable as {{ .name }} in that template",
    )
