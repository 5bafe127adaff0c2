"""What a migration moves, and the files as they are afterwards. Nothing is written here."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import msgspec

from gitopsd.errors import Failed
from gitopsd.secrets import data, decisions, literals, rules
from gitopsd.secrets.audit import CONFIGURATION, TEMPLATES, Definition, Place, Variable
from gitopsd.secrets.keys import Kind
from gitopsd.tools.chezmoi_names import same_target
from gitopsd.tools.git import printable


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be moved.

    Args:
        files: of the source directory, as they are.
        variables: by name, where each has its value.
        values: by the name of the secret.
        secrets: the name of the secret by variable.
        places: the literals.
        looked: by file, the values that are replaced there, with the lines in which they were found.
        names: of the secrets by value.
        configured: templates of chezmoi's configuration without variables that have their value there.

    """

    files: Mapping[str, bytes]
    variables: Mapping[str, Sequence[Definition]]
    values: Mapping[str, str]
    secrets: Mapping[str, str]
    places: Sequence[Place]
    looked: Mapping[str, Mapping[str, frozenset[int]]]
    names: Mapping[str, str]
    configured: Mapping[str, bytes]

    def __repr__(self) -> str:  # the values must not get into a log by way of a message
        return f"Plan({sorted(self.values)})"


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """Files as they are to be.

    Args:
        changed: contents by path.
        renamed: the new path of a file by its old one.

    """

    changed: dict[str, bytes]
    renamed: dict[str, str]

    def of(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """All files, with these changes."""
        return {**{path: raw for path, raw in files.items() if path not in self.renamed}, **self.changed}


async def make(
    files: Mapping[str, bytes],
    wanted: Mapping[str, Sequence[Definition]],
    places: Sequence[Place],
    names: Mapping[str, str],
    known: Mapping[str, object],
    *,
    managed: Collection[str],
    fingerprint: Callable[[str], Awaitable[str]],
) -> Plan:
    """Decide what is moved from where, and what it is called.

    Args:
        files: of the source directory.
        wanted: the variables that are moved, see `wanted`.
        places: the literals that are.
        names: what the values of secret variables are called.
        known: what the SOPS file has already.
        managed: the files that chezmoi makes something of on this host.
        fingerprint: of a value.

    Raises:
        Failed: a literal cannot be replaced where it stands, or a name is one of two secrets.

    """
    values = {name: _value(name, where) for name, where in wanted.items()}
    called = {value: names[value] for value in values.values()}
    configured = _configured(files, wanted, values)
    held = {value: name for name, value in known.items() if isinstance(value, str)}
    taken = {*known, *names.values(), *(each.literal.name for each in places)}
    for each in places:
        if not each.text or each.text in called:
            continue
        name = each.literal.name
        if not each.literal.decided and each.text in held:
            name = held[each.text]  # it was moved before, and has come again
        elif not each.literal.decided and name in known:
            name = literals.distinct(name, taken)
        if name in called.values():
            raise Failed(
                f"{name} is the name of two secrets",
                meaning="nothing was changed",
                advice=f"gitopsctl secrets audit --decide {each.literal.fingerprint}=secret:OTHER",
            )
        called[each.text] = name
        taken.add(name)
    everywhere = {
        fingerprint
        for fingerprint, each in decisions.parse(files.get(decisions.FILE, b"")).literals.items()
        if each.kind is Kind.secret
    }
    looked: dict[str, dict[str, frozenset[int]]] = {}
    refused = []
    for each in places:
        if each.path in configured or not each.text:
            continue
        why = literals.why_no_template(each.path, files[each.path], is_managed=each.path in managed)
        if each.hit.rule == "not-encrypted":
            why = "it is a SOPS file, and this was written into it in plain: take it out there, and put it in with sops FILE"
        if why:
            refused.append(refusal(each, why))
        lines = looked.setdefault(each.path, {})
        lines[each.text] = lines.get(each.text, frozenset()) | {each.hit.line}
    if refused:
        raise refused_literals(refused)
    # What the person has decided about a value goes for it wherever it stands.
    decided = {each.text for each in places if each.text and each.literal.decided}
    decided |= {value for value in values.values() if await fingerprint(value) in everywhere}
    for path, raw in files.items():
        texts = [text for text in decided if as_bytes(text) in raw and text not in looked.get(path, {})]
        fit = not data.is_data(path) and path not in configured
        if texts and fit and not literals.why_no_template(path, raw, is_managed=path in managed):
            looked.setdefault(path, {}).update(dict.fromkeys(texts, frozenset()))
    return Plan(
        files=files,
        variables=wanted,
        values={name: value for value, name in called.items()},
        secrets={name: called[value] for name, value in values.items()},
        places=places,
        looked=looked,
        names=called,
        configured=configured,
    )


def rewrite(plan: Plan, prefix: str) -> Tree:
    """The files that change, as they are to be.

    Args:
        plan: what is moved.
        prefix: the directory that the secrets are in.

    Raises:
        Failed: a file cannot become a template, or chezmoi could make nothing without a secret.

    """
    files = plan.files
    changed = dict(plan.configured)
    for name, where in plan.variables.items():
        for path in {each.path for each in where if data.is_data(each.path)}:
            changed[path] = data.without(path, changed.get(path, files[path]), name)
    expressions = {value: _expression(prefix, name, value) for name, value in plan.values.items()}
    uses = {name: expressions[plan.values[secret]] for name, secret in plan.secrets.items()}
    renamed: dict[str, str] = {}
    for path, raw in files.items():
        text = as_text(raw)
        if data.is_template(path) and path not in TEMPLATES:  # which are needed before there are secrets
            text = data.rewritten(text, uses)
            if data.is_special(path) and text != as_text(raw):
                raise Failed(
                    f"{shown(path)} uses a secret: {literals.NEEDED_FIRST}",
                    meaning="nothing was changed",
                    advice=f"edit {shown(path)}, then this again",
                )
        if path in plan.looked:
            lines = plan.looked[path]
            looked = literals.Looked(
                expressions={value: expressions[value] for value in lines}, lines=frozenset().union(*lines.values())
            )
            if data.is_template(path):
                text = literals.in_template(text, looked)
            else:
                text, renamed[path] = literals.as_template(text, looked), f"{path}.tmpl"
                if renamed[path] in files or same_target(path) != same_target(renamed[path]):
                    raise taken(path, renamed[path])
        if as_bytes(text) != raw and path not in changed:
            changed[renamed.get(path, path)] = as_bytes(text)
    return Tree(changed=changed, renamed=renamed)


def taken(old: str, new: str) -> Failed:
    """What is raised if a file cannot get the name of a template."""
    return Failed(
        f"{shown(old)} cannot become {shown(new)}: there is one already, or it would be another file",
        meaning="nothing was changed",
        advice=f"rename {shown(old)}, or make it a template by hand",
    )


def wanted_variables(
    files: Mapping[str, bytes], variables: Sequence[Variable], definitions: Mapping[str, Sequence[Definition]]
) -> dict[str, Sequence[Definition]]:
    """The secret variables that have their value in the data, or in chezmoi's configuration while something uses them."""
    wanted: dict[str, Sequence[Definition]] = {}
    for each in variables:
        where = [one for one in definitions[each.name] if one.value not in (None, "")]
        in_data = any(data.is_data(one.path) for one in where)
        in_use = any(place.rpartition(":")[0] not in TEMPLATES for place in each.used) or _lines_of(files, each.name)
        if each.kind is Kind.secret and (in_data or (where and in_use)):
            wanted[each.name] = where
    return wanted


def in_configuration(variables: Mapping[str, Sequence[Definition]]) -> list[str]:
    """Those of these variables that have their value in chezmoi's own configuration."""
    return [name for name, where in variables.items() if any(each.path == CONFIGURATION for each in where)]


def _lines_of(files: Mapping[str, bytes], name: str) -> dict[str, int]:
    """Where the templates of chezmoi's configuration give a variable its value, as far as that is a line of its own."""
    found = {}
    for path in TEMPLATES:
        text, kind = as_text(files.get(path, b"")), path.removesuffix(".tmpl")
        bare = rules.without_actions(text)
        line = 0 if kind.endswith((".json", ".jsonc")) else data.defined_at(kind, bare, f"data.{name}")
        if line and "{{" not in text.split("\n")[line - 1]:
            found[path] = line
    return found


def _configured(
    files: Mapping[str, bytes], wanted: Mapping[str, Sequence[Definition]], values: Mapping[str, str]
) -> dict[str, bytes]:
    """The templates of chezmoi's configuration without the lines that have values of these variables."""
    gone: dict[str, set[int]] = {}
    for name in in_configuration(wanted):
        for path, line in _lines_of(files, name).items():
            if values[name] in as_text(files[path]).split("\n")[line - 1]:
                gone.setdefault(path, set()).add(line)
    return {
        path: b"".join(
            line for number, line in enumerate(files[path].splitlines(keepends=True), 1) if number not in lines
        )
        for path, lines in gone.items()
    }


def _value(name: str, where: Sequence[Definition]) -> str:
    values = {each.value for each in where if isinstance(each.value, str | int | float)}
    if len(values) != 1:
        raise Failed(
            f"{name} has several values, or one that is a list",
            meaning="nothing was changed",
            advice=f"keep one definition of {name}, or write that it is no secret: gitopsctl secrets audit",
        )
    return str(values.pop())


def refusal(place: Place, why: str) -> str:
    """Where a literal is, and why it cannot be moved."""
    where = f"{place.literal.path}:{place.literal.line}" if place.literal.line else place.literal.path
    return f"{where} ({place.literal.rule}, {place.literal.fingerprint}): {why}"


def refused_literals(reasons: Collection[str]) -> Failed:
    """What is raised if there are any that cannot be moved."""
    return Failed(
        f"literals cannot be moved: {'; '.join(reasons)}",
        meaning="nothing was changed: a secret that is moved in part is not moved",
        advice="do what is said there; or leave one where it is: gitopsctl secrets audit --decide FINGERPRINT=undecided; "
        "or, if it is none: gitopsctl secrets allow FINGERPRINT --reason TEXT",
    )


def _expression(prefix: str, name: str, value: str) -> str:
    trim = " | trim" if value == value.strip() else ""
    return f'include "{prefix}/{name}"{trim}'


def shown(path: str) -> str:
    """A path as it may be told."""
    return printable(rules.cleared(path))


def as_bytes(text: str) -> bytes:
    """A text as it stands in a file, also where that is no UTF-8."""
    return text.encode(errors="surrogateescape")


def as_text(raw: bytes) -> str:
    """What `as_bytes` takes."""
    return raw.decode(errors="surrogateescape")
