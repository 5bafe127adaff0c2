"""What the name of a file in a chezmoi source directory says of its target: see chezmoi's reference, "Source state
attributes", and its `parseFileAttr`.
"""

import re

_NO_PLAIN_FILE = ("create_", "modify_", "remove_", "run_", "symlink_")  # re-add would change what they mean
# What a name in the source directory may begin with, in chezmoi's order: what stands elsewhere is part of the name.
_OF_FILE = re.compile(
    r"create_(?:encrypted_)?(?:private_)?(?:readonly_)?(?:empty_)?(?:executable_)?"
    r"|remove_|symlink_|run_(?:once_|onchange_)?(?:before_|after_)?"
    r"|modify_(?:encrypted_)?(?:private_)?(?:readonly_)?(?:executable_)?"
    r"|(?:encrypted_)?(?:private_)?(?:readonly_)?(?:empty_)?(?:executable_)?"
)
_OF_DIRECTORY = re.compile(r"(?:remove_)?(?:external_)?(?:exact_)?(?:private_)?(?:readonly_)?")
_ENCRYPTED = (".age", ".asc")  # suffixes that an encrypted file has
_SCRIPTS = ".chezmoiscripts"


def is_template(source: str) -> bool:
    """Whether a source is a template, which `re-add` cannot write back to."""
    return _suffixed(name_of(source)).endswith(".tmpl")


def is_plain_file(source: str) -> bool:
    """Whether a source holds what the target holds, so that `re-add` can capture it."""
    return not is_template(source) and not name_of(source).startswith(_NO_PLAIN_FILE)


def is_link(source: str) -> bool:
    """Whether a source holds where a link leads to: one line."""
    return name_of(source).startswith("symlink_")


def is_encrypted(source: str) -> bool:
    """Whether a source is encrypted, so that its content says nothing about the target's."""
    return "encrypted_" in attributes(name_of(source))


def is_exact(source: str) -> bool:
    """Whether a source lies in a directory that chezmoi keeps free of everything it does not know.

    Args:
        source: a file, or a directory with a slash at its end.

    """
    return any("exact_" in attributes(part, _OF_DIRECTORY) for part in source.split("/")[:-1])


def same_target(source: str) -> str:
    """A name that is the same for all sources of one target: two of them at once stop chezmoi altogether.

    It is the target, relative to the home, as far as the source's name alone tells. A changed mode renames the source.
    What is chezmoi's own stays as it is.
    """
    *folders, name = source.split("/")
    if any(part.startswith(".") for part in (*folders, name) if part != _SCRIPTS):
        return source
    last = _suffixed(name)[len(attributes(name)) :]
    # A template of a target whose own name ends so has both.
    last = (
        last.removesuffix(".literal")
        if last.endswith(".literal")
        else last.removesuffix(".tmpl").removesuffix(".literal")
    )
    plain = [part[len(attributes(part, _OF_DIRECTORY)) :] for part in folders]
    return "/".join(map(_dotted, (*plain, last)))


def target_of(source: str) -> str:
    """What people call a source: its target, relative to the home, as far as the name alone tells.

    Scripts and chezmoi's own files have no target: they go by the name of the source.
    """
    return source if "run_" in attributes(name_of(source)) else same_target(source)


def name_of(source: str) -> str:
    """The last part of a path."""
    return source.rpartition("/")[2]


def attributes(name: str, kind: re.Pattern[str] = _OF_FILE) -> str:
    """What a name begins with that chezmoi takes for attributes, such as `private_`."""
    found = kind.match(name)
    return found.group() if found else ""


def _suffixed(name: str) -> str:
    """A name without the suffix of an encrypted file."""
    suffix = next((suffix for suffix in _ENCRYPTED if name.endswith(suffix)), "")
    return name.removesuffix(suffix) if "encrypted_" in attributes(name) else name


def _dotted(part: str) -> str:
    return f".{part[4:]}" if part.startswith("dot_") else part.removeprefix("literal_")
