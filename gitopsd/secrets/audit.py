"""The audit: every variable and every literal of a person's dotfiles, and with the history every commit.

Heuristics propose what a variable is, with the evidence; the person decides, in a file of the repository.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from gitopsd.errors import Failed
from gitopsd.repo.vet import MESSAGE
from gitopsd.secrets import data, decisions, keys, literals, rules
from gitopsd.secrets.allow import FILE as ALLOW_FILE
from gitopsd.secrets.allow import parse_allowed
from gitopsd.secrets.gate import RepositoryGate
from gitopsd.secrets.keys import Kind
from gitopsd.secrets.rules import Hit
from gitopsd.tools.chezmoi import Home
from gitopsd.tools.chezmoi_names import same_target, target_of
from gitopsd.tools.git import Git, printable
from gitopsd.tools.leak_scanner import ADVICE
from gitopsd.tools.process import Account, Processes
from gitopsd.types import Finding, Value

CONFIGURATION = "chezmoi's configuration"
TEMPLATES = tuple(f".chezmoi.{kind}.tmpl" for kind in ("toml", "yaml", "yml", "json", "jsonc"))
_PERSONAL = frozenset(
    ("email", "mail", "phone", "mobile", "address", "street", "iban", "birthday", "tax", "ip", "ssid", "mac", "account")
)
_AT_ONCE = 32 * 1024 * 1024  # bytes of old versions that are scanned with one command
_LARGEST = 4 * 1024 * 1024  # bytes; an old version that is larger is no dotfile


class Variable(Value, frozen=True, kw_only=True):
    """One variable of chezmoi's data.

    Args:
        name: with dots between the levels.
        kind: what it is.
        decided: the person said so; else it is proposed.
        evidence: why, in words.
        defined: where; a place without a colon is outside of the repository.
        used: the templates that use it, with the line.
        exposed: it is a secret, and its value stands in the repository.

    """

    name: str
    kind: Kind
    decided: bool
    evidence: tuple[str, ...]
    defined: tuple[str, ...]
    used: tuple[str, ...]
    exposed: bool


class Literal(Finding, frozen=True, kw_only=True):
    """What looks like a secret in a file as it is now.

    Args:
        kind: secret or undecided; one that is no secret is allowed, and not here.
        decided: the person said so; else it is proposed.
        name: of the secret that it is to be, decided or proposed.

    """

    kind: Kind
    decided: bool
    name: str


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A literal with its value.

    Args:
        path: the file, as it is called in the repository.
        hit: what was found.
        text: what of the file is to be moved; empty if the value does not stand there as it is.
        literal: what may be told of it.

    """

    path: str
    hit: Hit
    text: str
    literal: Literal

    def __repr__(self) -> str:  # the value must not get into a log by way of a message
        return f"Place({self.literal!r})"


class Audit(Value, frozen=True, kw_only=True):
    """What was found.

    Args:
        variables: by name.
        literals: what looks like a secret in a file as it is now.
        history: what does in a commit; empty if that was not asked for.

    """

    variables: tuple[Variable, ...]
    literals: tuple[Literal, ...]
    history: tuple[Finding, ...] = ()

    def undecided(self) -> tuple[Variable | Literal, ...]:
        """What a person has to decide about."""
        found: list[Variable | Literal] = [*self.variables, *self.literals]
        return tuple(each for each in found if each.kind is Kind.undecided)

    def exposed(self) -> int:
        """How many secrets stand in the repository."""
        found = sum(each.exposed for each in self.variables) + sum(each.kind is Kind.secret for each in self.literals)
        return found + len(self.history)


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """Where a variable has its value.

    Args:
        path: the file, in the source directory; absolute if it is outside.
        line: in it; 0 if unknown.
        value: a scalar or a list.

    """

    path: str
    line: int
    value: Any

    def __repr__(self) -> str:  # the value must not get into a log by way of a message
        return f"Definition(path={self.path!r}, line={self.line})"


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What looks like a secret in the history.

    Args:
        hit: what was found.
        path: the file; `MESSAGE` if it is in the message of a commit or a tag.
        shown: the path as it may be told.
        commit: one that has it, or a tag.
        is_plain: the value stands there as it is.

    """

    hit: Hit
    path: str
    shown: str
    commit: str
    is_plain: bool

    def __repr__(self) -> str:  # the value must not get into a log by way of a message
        return f"Past({self.hit!r}, {self.commit})"


class Auditor:
    """Audits the dotfiles of one person.

    Args:
        processes: starts the programs.
        account: the person.
        source: the source directory.

    """

    def __init__(self, processes: Processes, account: Account, source: Path) -> None:
        self._git = Git(processes, str(source), account)
        self._home = Home(processes, account, str(source), told=rules.told)
        self._account = account
        self._source = source
        self.gate = RepositoryGate(processes, account, str(source), same_file=same_target)

    async def audit(self, *, history: bool) -> Audit:
        """Look at everything.

        Raises:
            Failed: there is no scanner, or a file cannot be read.

        """
        files = await self.files()
        definitions = await self.definitions(files)
        variables = self.variables(files, definitions)
        places = await self.places(files, self.values(variables, definitions))
        return Audit(
            variables=variables,
            literals=tuple(each.literal for each in places),
            history=tuple([await self._finding(each.hit, each.shown, each.commit) for each in await self.past()])
            if history
            else (),
        )

    async def files(self) -> dict[str, bytes]:
        """The files of the source directory that git does not ignore."""
        if not (self._source / ".git").is_dir():
            raise Failed(
                f"{self._source} is no git repository of its own",
                meaning="there is nothing to look at",
                advice="gitopsctl dotfiles init",
            )
        arguments = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
        names = (await self._git.run("cannot list files", *arguments)).stdout.split("\0")
        paths = {name: self._source / name for name in names if name}
        return {name: path.read_bytes() for name, path in paths.items() if path.is_file() and not path.is_symlink()}

    async def definitions(self, files: Mapping[str, bytes]) -> dict[str, list[Definition]]:
        """Where each variable of chezmoi's data has its value."""
        found: dict[str, list[Definition]] = {}
        for path, raw in files.items():
            if not data.is_data(path):
                continue
            tree = data.parse_plain(path, raw)
            if tree is None:
                tree = await self._home.parse(str(self._source / path))
            for name, value in data.leaves(tree).items():
                if value is None:
                    continue
                line = data.defined_at(path, raw.decode(errors="replace"), name)
                found.setdefault(name, []).append(Definition(path=path, line=line, value=value))
        known = {name: [each.value for each in where] for name, where in found.items()}
        for name, value in data.leaves(await self._home.data()).items():
            if not name.startswith("chezmoi.") and value not in known.get(name, ()):
                found.setdefault(name, []).append(Definition(path=CONFIGURATION, line=0, value=value))
        for path in TEMPLATES:
            for name, line in data.prompted(files.get(path, b"").decode(errors="replace")).items():
                found.setdefault(name, []).append(Definition(path=path, line=line, value=None))
        return found

    def variables(
        self, files: Mapping[str, bytes], definitions: Mapping[str, list[Definition]]
    ) -> tuple[Variable, ...]:
        """What each variable is."""
        decided = decisions.parse(files.get(decisions.FILE, b"")).decisions
        uses: dict[str, list[tuple[str, int, str]]] = {}
        for path, raw in files.items():
            if data.is_template(path):
                for name, found in data.uses(raw.decode(errors="replace"), definitions).items():
                    uses.setdefault(name, []).extend((path, line, before) for line, before in found)
        variables = []
        for name, where in sorted(definitions.items()):
            places = uses.get(name, [])
            kind, evidence = propose(name, [each.value for each in where if each.value is not None], places)
            if name in decided:
                kind, evidence = decided[name], (f"{decisions.FILE} says so",)
            plain = [each for each in where if each.value not in (None, "") and each.path != CONFIGURATION]
            variables.append(
                Variable(
                    name=name,
                    kind=kind,
                    decided=name in decided,
                    evidence=evidence,
                    defined=tuple(f"{each.path}:{each.line}" if each.line else each.path for each in where),
                    used=tuple(dict.fromkeys(f"{path}:{line}" for path, line, _ in places)),
                    exposed=kind is Kind.secret and bool(plain),
                )
            )
        return tuple(variables)

    def values(self, variables: tuple[Variable, ...], definitions: Mapping[str, list[Definition]]) -> dict[str, str]:
        """The values of the variables that are secrets, and what each is called then."""
        names: dict[str, str] = {}
        for each in variables:
            texts = [str(one.value) for one in definitions[each.name] if isinstance(one.value, str | int | float)]
            if each.kind is Kind.secret and any(texts):
                name = literals.distinct(
                    re.sub(r"[^A-Za-z0-9_-]", "_", ".".join(data.keys_of(each.name))), names.values()
                )
                names |= {text: name for text in texts if text and text not in names}
        return names

    async def places(self, files: Mapping[str, bytes], names: Mapping[str, str]) -> tuple[Place, ...]:
        """What looks like a secret in the files; the data, whose variables are told one by one, is left out.

        Args:
            files: see `files`.
            names: what a value is called that is a variable's as well.

        """
        patterns = rules.encryption_rules(files.get(".sops.yaml", b""))
        allowed = parse_allowed(files.get(ALLOW_FILE, b""))
        decided = decisions.parse(files.get(decisions.FILE, b"")).literals
        looked_at = [(path, raw) for path, raw in files.items() if not data.is_data(path)]
        scanned = await self.gate.scan(looked_at, patterns)
        self._check_scanner()
        found = [
            (path, raw.decode(errors="surrogateescape"), hit, await self._finding(hit, rules.shown(path, hits), ""))
            for (path, raw), hits in zip(looked_at, scanned, strict=True)
            for hit in hits
            if not any(entry.path == path and entry.matches(hit.value) for entry in allowed)
        ]
        # The same value is one secret, whatever it was found by.
        kinds: dict[str, Kind] = {}
        for _, _, hit, finding in found:
            proposed = Kind.secret if hit.value in names else literals.proposed_kind(hit.rule)
            kinds[finding.fingerprint] = min(proposed, kinds.get(finding.fingerprint, proposed), key=list(Kind).index)
        taken = {*names.values(), *(each.name for each in decided.values())}
        called = dict(names)
        places = []
        for path, text, hit, finding in found:
            decision = decided.get(finding.fingerprint)
            moved = literals.moved_text(text, hit)
            if (name := called.get(moved or hit.value)) is None:
                name = decision.name if decision is not None else ""
                if not name or name in called.values():
                    proposed_name = name or literals.proposed_name(target_of(rules.cleared(path)), text, hit)
                    name = literals.distinct(proposed_name, taken)
                called[moved or hit.value] = name
                taken.add(name)
            literal = Literal(
                path=finding.path,
                line=finding.line,
                rule=finding.rule,
                fingerprint=finding.fingerprint,
                kind=decision.kind if decision is not None else kinds[finding.fingerprint],
                decided=decision is not None,
                name=name,
            )
            places.append(Place(path=path, hit=hit, text=moved, literal=literal))
        return tuple(places)

    async def fingerprinted(self) -> dict[str, tuple[str, str]]:
        """What has a fingerprint here: the file, and what the secret is called or would be."""
        files = await self.files()
        definitions = await self.definitions(files)
        names = self.values(self.variables(files, definitions), definitions)
        found = {await self.gate.fingerprint(value): ("a variable", name) for value, name in names.items()}
        for each in await self.places(files, names):
            found.setdefault(each.literal.fingerprint, (each.literal.path, each.literal.name))
        return found

    async def past(self) -> list[Past]:
        """What looks like a secret in any commit that a ref leads to, in its files and messages; and in those of tags."""
        listed = (await self._git.run("cannot list the history", "rev-list", "--objects", "--all")).stdout
        form = "--batch-check=%(objecttype) %(objectname) %(objectsize) %(rest)"
        asked = listed.encode(errors="surrogateescape")
        answers = (await self._git.run("cannot list the history", "cat-file", form, stdin=asked)).stdout
        rows = [line.split(" ", 3) for line in answers.split("\n")]
        # Of a commit and a tag, the message is what a person wrote.
        named = {"blob": "", "commit": MESSAGE, "tag": MESSAGE}
        objects = [(row[1], int(row[2]), named[row[0]] or row[3]) for row in rows if len(row) == 4 and row[0] in named]
        current = await self.files()
        patterns = rules.encryption_rules(current.get(".sops.yaml", b""))
        allowed = parse_allowed(current.get(ALLOW_FILE, b""))
        decided = decisions.parse(current.get(decisions.FILE, b"")).decisions
        secret_names = {name for name, kind in decided.items() if kind is Kind.secret}
        found: dict[tuple[str, str, str], tuple[Past, str]] = {}
        batch: list[tuple[str, str]] = []
        size = 0
        for name, length, path in [*objects, ("", _AT_ONCE, "")]:
            if batch and size + length > _AT_ONCE:
                await self._scan_past(batch, patterns, secret_names, found)
                batch, size = [], 0
            if name and length <= _LARGEST:
                batch.append((name, path))
                size += length
        left = [
            (each, name)
            for each, name in found.values()
            if not any(entry.path == each.path and entry.matches(each.hit.value) for entry in allowed)
        ]
        return [
            each
            if each.path == MESSAGE
            else msgspec.structs.replace(each, commit=await self._commit_of(name) or each.commit)
            for each, name in left
        ]

    async def _scan_past(
        self,
        batch: list[tuple[str, str]],
        patterns: tuple[re.Pattern[str], ...],
        secret_names: set[str],
        found: dict[tuple[str, str, str], tuple[Past, str]],
    ) -> None:
        contents = await self._git.contents([name for name, _ in batch])
        files = [
            (path, contents[name].partition(b"\n\n")[2] if path == MESSAGE else contents[name]) for name, path in batch
        ]
        scanned = await self.gate.scan(files, patterns, secret_names)
        self._check_scanner()
        for (name, path), (_, content), hits in zip(batch, files, scanned, strict=True):
            for hit in hits:
                past = Past(
                    hit=hit,
                    path=path,
                    shown=printable(rules.shown(path, hits)),
                    commit=name if path == MESSAGE else "",
                    is_plain=hit.line > 0 and hit.value.encode(errors="replace") in content,
                )
                found.setdefault((path, hit.rule, hit.value), (past, name))

    async def _commit_of(self, blob: str) -> str:
        arguments = ("log", "--all", "--format=%H", "--reverse", f"--find-object={blob}")
        commits = (await self._git.run("cannot read the history", *arguments)).stdout.split()
        return commits[0] if commits else ""

    async def _finding(self, hit: Hit, path: str, commit: str) -> Finding:
        fingerprint = await self.gate.fingerprint(hit.value)
        return Finding(path=printable(path), line=hit.line, rule=hit.rule, fingerprint=fingerprint, commit=commit)

    def _check_scanner(self) -> None:
        if self.gate.broken:
            raise Failed(
                f"the scanner does not work: {self.gate.broken}",
                meaning="an audit without it would tell half of the truth",
                advice=ADVICE,
            )


def propose(name: str, values: list[Any], uses: list[tuple[str, int, str]]) -> tuple[Kind, tuple[str, ...]]:
    """What a variable seems to be, and why.

    Args:
        name: with dots between the levels.
        values: that it has somewhere.
        uses: where templates use it: the file, the line, and what stands before it there.

    """
    evidence = []
    texts = [value for value in values if isinstance(value, str)]
    if values and all(isinstance(value, bool) or value in ("true", "false") for value in values):
        return Kind.config, ("its value is yes or no",)
    if keys.names_secret(name) or rules.names_api(name):
        evidence.append("it is named like one")
    for path, line, before in uses:
        word = re.search(r"""([\w.-]+)["']?\s*[:=]\s*["']?$|(?:^|\s)([\w-]+)\s+["']?$""", before)
        if word and keys.names_secret(word[1] or word[2]):
            evidence.append(f"{path}:{line} gives it to `{word[1] or word[2]}`")
    for text in texts:
        evidence += [f"its value has the form of {hit.rule}" for hit in rules.scan("value", text.encode())]
    if evidence and not (texts and all(keys.is_reference(text) for text in texts)):
        return Kind.secret, tuple(dict.fromkeys(evidence))
    if set(keys.words(name)) & _PERSONAL or any("@" in text for text in texts):
        return Kind.undecided, ("it is personal: whether others may read it is yours to say",)
    if any(keys.looks_random(text) and not keys.is_uuid(text) for text in texts):
        return Kind.undecided, ("its value looks random",)
    return Kind.config, ("nothing speaks against it",)
