"""The migration: values go from chezmoi's data and from files to a SOPS file, and templates include what NixOS decrypts.

All of it is tried in a copy of the source directory on tmpfs first: every target renders byte for byte the same, the
SOPS file decrypts to the values, and none of them is left in the tree. Only then files are replaced, all or none.
"""

import errno
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from gitopsd.errors import Failed
from gitopsd.secrets import data, literals, rules
from gitopsd.secrets.audit import CONFIGURATION, TEMPLATES, Auditor, Literal, Place, Variable
from gitopsd.secrets.keys import Kind
from gitopsd.secrets.plan import (
    Plan,
    Tree,
    as_bytes,
    as_text,
    in_configuration,
    make,
    refusal,
    refused_literals,
    rewrite,
    shown,
    taken,
    wanted_variables,
)
from gitopsd.secrets.replacing import PLACE, Replacing
from gitopsd.secrets.rules import Hit
from gitopsd.tools.chezmoi import Home
from gitopsd.tools.process import Account, Processes
from gitopsd.tools.sops import Sops

DECRYPTED = "/run/secrets"  # where sops-nix puts what it decrypts at activation
_FORMATS = {".json": "json", ".env": "dotenv", ".ini": "ini"}  # of what sops-nix does not take for YAML
_CONFIGURATIONS = tuple(f"chezmoi.{kind}" for kind in ("toml", "yaml", "yml", "json", "jsonc"))


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """One secret that goes to SOPS.

    Args:
        kind: `variable` or `literal`.
        name: of the variable; of a literal, what found it.
        secret: of the secret, in the SOPS file and below `/run/secrets`.
        defined: the files that it goes from; a literal's with the line.
        rewritten: the templates that include it then.

    """

    kind: str
    name: str
    secret: str
    defined: tuple[str, ...]
    rewritten: tuple[str, ...]


class Migrated(msgspec.Struct, frozen=True, kw_only=True):
    """What a migration did, or would do.

    Args:
        moves: the variables by name, then the literals; empty if there is nothing to do.
        renamed: plain files that became templates, with the new name.
        left: literals that stay, since they are undecided.
        by_hand: what the person has to do outside of the repository, in sentences.
        targets: how many targets were rendered before and after, and are the same.
        file: the SOPS file.
        snippet: for the NixOS configuration.

    """

    moves: tuple[Move, ...]
    renamed: dict[str, str] = {}
    left: tuple[Literal, ...] = ()
    by_hand: tuple[str, ...] = ()
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
        self._home = Home(processes, account, str(source), told=rules.told)
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
        variables = self._auditor.variables(files, definitions)
        names = self._auditor.values(variables, definitions)
        places = await self._auditor.places(files, names)
        left = tuple(each.literal for each in places if each.literal.kind is not Kind.secret)
        places = tuple(each for each in places if each.literal.kind is Kind.secret)
        wanted = wanted_variables(files, variables, definitions)
        if not wanted and not places:
            return Migrated(moves=(), left=left)
        known = await self._sops.decrypt(self._file) if self._file.is_file() else {}
        plan = await make(
            files,
            wanted,
            places,
            names,
            known,
            managed=(await self._home.sources()).values(),
            fingerprint=self._auditor.gate.fingerprint,
        )
        targets = await self._prove(plan, known)
        tree = rewrite(plan, DECRYPTED)
        for old, new in tree.renamed.items():
            if (self._source / new).exists():  # git ignores it, so that it is not among the files
                raise taken(old, new)
        await self._refuse_what_stays(plan, tree)
        encrypted = await self._encrypted(known, plan.values)
        if not dry:
            changed = {self._source / path: raw for path, raw in tree.changed.items()}
            self._replacing.replace(
                {self._file: encrypted, **changed},
                gone=[self._source / old for old in tree.renamed],
                like={self._source / new: self._source / old for old, new in tree.renamed.items()},
            )
        moves = _moves(plan, tree)
        return Migrated(
            moves=moves,
            renamed={shown(old): shown(new) for old, new in tree.renamed.items()},
            left=left,
            by_hand=self._by_hand(plan, variables),
            targets=targets,
            file=str(self._file),
            snippet=self._snippet(sorted(plan.values)),
        )

    async def _prove(self, plan: Plan, known: Mapping[str, object]) -> int:
        """Render everything before and after, in a copy; returns how many targets are the same.

        What the SOPS file has already need not be decrypted on this host yet: it is read from the copy as well.
        """
        with plaintext_place(self._account) as place:
            copy = place / "source"
            held = {name: value for name, value in known.items() if isinstance(value, str)}

            def here(files: Mapping[str, bytes]) -> dict[str, bytes]:
                return {
                    path: _led_to(raw, place, held) if data.is_template(path) else raw for path, raw in files.items()
                }

            _copy(here(plan.files), copy)
            home = Home(self._processes, self._account, str(copy), told=rules.told)
            options = {"state": str(place / "state.boltdb"), **self._configuration(plan, place, before=True)}
            (place / "secrets").mkdir(mode=0o700)
            for name, value in {**held, **plan.values}.items():
                _write(place / "secrets" / name, as_bytes(value))
            before, targets = await home.render(**options), (await home.sources()).keys()
            tree = rewrite(plan, str(place / "secrets"))
            for old in tree.renamed:
                (copy / old).unlink()
            tree = Tree(changed=here(tree.changed), renamed=tree.renamed)
            _copy(tree.changed, copy)
            await self._check_data(plan.files, tree.changed, set(plan.variables), copy)
            options |= self._configuration(plan, place, before=False)
            try:
                after = await home.render(**options)
                if targets ^ (await home.sources()).keys():
                    raise _differs("chezmoi would manage something else")
            except Failed as error:
                raise _differs(f"a template fails afterwards: {error.message}") from error
            if wrong := sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path)):
                raise _differs(f"{', '.join(wrong)} would not be the same")
            await self._prove_one_by_one({path: here(plan.files)[path] for path in plan.looked}, tree, home, place)
        return len(before)

    async def _prove_one_by_one(self, before: Mapping[str, bytes], tree: Tree, home: Home, place: Path) -> None:
        """Render each file that literals are taken out of: scripts and files for other hosts are no targets here."""
        for old, raw in before.items():
            new = tree.renamed.get(old, old)
            if new not in tree.changed or ".chezmoitemplates/" in f"/{old}":
                continue  # it has values that stay, and is refused for that; or the templates that use it are proof
            file = place / "file"
            try:
                _write(file, raw)
                expected = await home.execute(str(file)) if new == old else raw
                _write(file, tree.changed[new])
                same = await home.execute(str(file)) == expected
            except Failed as error:
                raise _differs(f"{shown(old)} cannot be rendered: {error.message}") from error
            if not same:
                raise _differs(f"{shown(old)} would not be the same")

    async def _refuse_what_stays(self, plan: Plan, tree: Tree) -> None:
        """Make sure that no value is left in the tree, in a form that we know or that the scanner sees."""
        after, forms = tree.of(plan.files), {name: literals.forms_of(value) for name, value in plan.values.items()}
        found = [
            f"{shown(path)}{f':{line}' if line else ''} ({name}, "
            f"{await self._auditor.gate.fingerprint(plan.values[name])})"
            for path, raw in after.items()
            for line, name in literals.leftovers(raw, forms)
        ]
        now = {each.path: tree.renamed.get(each.path, each.path) for each in plan.places}
        patterns = rules.encryption_rules(after.get(".sops.yaml", b""))
        hits = await self._auditor.gate.scan([(new, after[new]) for new in now.values()], patterns)
        still = {old: {_mark(hit) for hit in each} for old, each in zip(now, hits, strict=True)}
        if refused := [
            refusal(each, _why_it_stays(each)) for each in plan.places if _mark(each.hit) in still[each.path]
        ]:
            raise refused_literals(refused)
        if found:
            raise Failed(
                f"values would be left in the tree: {', '.join(found)}",
                meaning="nothing was changed",
                advice="use the variable there, or take it out; a literal that you have decided about is moved wherever "
                "it stands in plain: gitopsctl secrets audit --decide FINGERPRINT=secret:NAME",
            )

    async def _check_data(
        self, files: Mapping[str, bytes], changed: Mapping[str, bytes], gone: set[str], copy: Path
    ) -> None:
        """Make sure that the data lost these variables and nothing else, whether a template uses it or not."""
        for path in filter(data.is_data, changed):
            trees = [data.parse_plain(path, raw[path]) for raw in (files, changed)]
            if None in trees:
                home = Home(self._processes, self._account, str(copy), told=rules.told)
                trees = [await home.parse(str(folder / path)) for folder in (self._source, copy)]
            before, after = (data.leaves(tree or {}) for tree in trees)
            kept = {name: value for name, value in after.items() if value is not None}
            if kept != {name: value for name, value in before.items() if name not in gone and value is not None}:
                raise Failed(
                    f"{path} cannot be rewritten without losing more than the secrets",
                    meaning="nothing was changed",
                    advice=f"in {path}, give each secret a line of its own, `name: value`, and in no list; then this again",
                )

    async def _encrypted(self, known: Mapping[str, object], values: Mapping[str, str]) -> bytes:
        """The SOPS file with these values and what it has already, proven by decrypting it."""
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

    def _configuration(self, plan: Plan, place: Path, *, before: bool) -> dict[str, str]:
        """The option that names chezmoi's configuration; variables of it are taken out of a copy of it afterwards."""
        file = self._configured_file()
        if file is None:
            return {}
        if not (names := in_configuration(plan.variables)):
            return {"configuration": str(file)}
        content = file.read_bytes()
        if not before and file.suffix != ".jsonc":
            for name in names:
                if data.defined_at(file.name, as_text(content), f"data.{name}"):
                    content = data.without(file.name, content, f"data.{name}")
        _write(place / file.name, content)
        return {"configuration": str(place / file.name)}

    def _configured_file(self) -> Path | None:
        folder = Path(self._account.home) / ".config/chezmoi"
        return next((folder / name for name in _CONFIGURATIONS if (folder / name).is_file()), None)

    def _by_hand(self, plan: Plan, variables: Sequence[Variable]) -> tuple[str, ...]:
        """What is left outside of the repository, or asks for what is not needed any more."""
        found = []
        file = self._configured_file()
        for name in in_configuration(plan.variables):
            line = data.defined_at(file.name, as_text(file.read_bytes()), f"data.{name}") if file is not None else 0
            place = f"{file}:{line}" if line else str(file or CONFIGURATION)
            found.append(f"{place} still has {name} in plain: take it out there, on every host")
        for each in variables:
            asked = [place for place in each.defined if place.rpartition(":")[0] in TEMPLATES]
            if each.name in plan.variables:
                found += [f"{place} asks for {each.name}, and nothing uses the answer: take it out" for place in asked]
        return tuple(found)

    def _snippet(self, names: Sequence[str]) -> str:
        kind = _FORMATS.get(self._file.suffix, "")
        return "".join(
            f'sops.secrets."{name}" = {{\n'
            f"  sopsFile = ./secrets/{self._file.name};  # {self._file}\n"
            f'  owner = "{self._account.name}";\n'
            f'  mode = "0400";\n' + (f'  format = "{kind}";\n' if kind else "") + "};\n"
            for name in names
        )


@contextmanager
def plaintext_place(account: Account) -> Iterator[Path]:
    """A directory in memory that nobody else can enter; gone with all that is in it at the end.

    Raises:
        Failed: there is no tmpfs.

    """
    mounts = [line.split(" ") for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    # By device: what is mounted at a path may be covered by something else that is.
    in_memory = {mount[2] for mount in mounts if mount[mount.index("-") + 1] in ("tmpfs", "ramfs")}
    bases = (Path(f"/run/user/{account.uid}"), Path("/dev/shm"))  # noqa: S108 - a directory of its own is made there
    base = next((each for each in bases if _device(each) in in_memory and os.access(each, os.W_OK | os.X_OK)), None)
    if base is None:
        raise Failed(
            f"neither /run/user/{account.uid} nor /dev/shm is a tmpfs that {account.name} can write to",
            meaning="nothing was changed: secrets must not touch a disk",
            advice="log in with a session, or mount a tmpfs at /dev/shm",
        )
    try:
        with tempfile.TemporaryDirectory(prefix="gitopsd-", dir=base) as folder:
            yield Path(folder)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Failed(
            f"there is no room left in {base}",
            meaning="nothing was changed: secrets must not touch a disk",
            advice=f"df -h {base}  # the files of the source directory have to fit there twice",
        ) from error


def _device(directory: Path) -> str:
    try:
        device = directory.stat().st_dev
    except OSError:  # there is none
        return ""
    return f"{os.major(device)}:{os.minor(device)}"


def _copy(files: Mapping[str, bytes], to: Path) -> None:
    for path, raw in files.items():
        target = to / path
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, raw)


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _moves(plan: Plan, tree: Tree) -> tuple[Move, ...]:
    variables = [
        Move(
            kind="variable",
            name=name,
            secret=plan.secrets[name],
            defined=tuple(dict.fromkeys(each.path for each in where)),
            rewritten=tuple(
                path
                for path in tree.changed
                if data.is_template(path) and data.uses(as_text(plan.files.get(path, b"")), {name: 0})
            ),
        )
        for name, where in sorted(plan.variables.items())
    ]
    found: dict[str, list[Place]] = {}
    for each in plan.places:
        if each.text:
            found.setdefault(plan.names[each.text], []).append(each)
    others = [
        Move(
            kind="literal",
            name=", ".join(dict.fromkeys(each.literal.rule for each in places)),
            secret=name,
            defined=tuple(dict.fromkeys(f"{each.literal.path}:{each.literal.line}" for each in places)),
            rewritten=tuple(
                shown(tree.renamed.get(path, path))
                for path, values in plan.looked.items()
                if any(plan.names[value] == name for value in values)
            ),
        )
        for name, places in found.items()
    ]
    return (*variables, *others)


def _mark(hit: Hit) -> str:
    """What a hit is known by in another version of its file."""
    return hit.value if hit.line else hit.rule


def _why_it_stays(place: Place) -> str:
    if place.hit.rule == "not-encrypted":
        return ".sops.yaml says that it is encrypted as a whole: sops encrypt --in-place FILE"
    if place.hit.rule.endswith(rules.IN_NAME):
        return "its name holds it: rename the file"
    if place.hit.line == 0:
        return "it is in an archive, a binary or UTF-16: take it out by hand"
    return "it stands there escaped, encoded, in a comment of a template or in pieces: take it out by hand"


def _led_to(raw: bytes, place: Path, names: Collection[str]) -> bytes:
    """A template that takes these secrets from a directory of ours."""
    for name in names:
        raw = raw.replace(f'"{DECRYPTED}/{name}"'.encode(), f'"{place}/secrets/{name}"'.encode())
    return raw


def _differs(what: str) -> Failed:
    return Failed(
        what,
        meaning="nothing was changed: the templates would not render as they do",
        advice="use the variable as {{ .name }} in that template, or take the secret out by hand",
    )
