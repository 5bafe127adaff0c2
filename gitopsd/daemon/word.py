"""The last sync in one word, in a file that scripts read: it was there before gitopsd, with these six words.

People are told more by `gitopsctl status`; this is for `cat`.
"""

from collections.abc import Sequence
from pathlib import Path

import structlog

from gitopsd.config import Config
from gitopsd.types import Memory, PersonFacts, SyncWord

# From what needs a person most. A sync that failed in some other way is told as one that was not published.
_WORST_FIRST = (
    SyncWord.not_initialized,
    SyncWord.push_failed,
    SyncWord.fetch_failed,
    SyncWord.conflicts_preserved,
    SyncWord.success_local_only,
    SyncWord.success,
)


def word_of(people: Sequence[PersonFacts]) -> SyncWord | None:
    """The word for all people of the host: that of the one who is worst off; None if there is nobody."""
    words = {SyncWord.push_failed if person.word is SyncWord.failed else person.word for person in people}
    return next((word for word in _WORST_FIRST if word in words), None)


def write_word(path: Path, people: Sequence[PersonFacts]) -> None:
    """Replace the file, at once and whole; nobody's dotfiles write nothing.

    Raises:
        OSError: it cannot be written.

    """
    word = word_of(people)
    if word is None:
        return
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(f"{word.value}\n", encoding="ascii")
    new.chmod(0o644)
    new.replace(path)


def note_word(config: Config, memory: Memory) -> None:
    """Write the file, if one is wanted. It is a copy of what the store has, and must not end a cycle."""
    if not config.files.sync_status:
        return
    try:
        write_word(Path(config.files.sync_status), memory.people)
    except OSError as error:
        structlog.get_logger().warning("file not written", message=f"{config.files.sync_status}: {error.strerror}")
