"""Our unit as a system has it, read from its files."""

from pathlib import Path

UNIT = "gitopsd.service"
UNITS = "etc/systemd/system"  # below a toplevel


def unit_of(system: Path) -> str | None:
    """Our unit with its drop-ins, as one text (systemd.unit(5)); None if the system has none.

    Args:
        system: the toplevel, or a link to it.

    """
    file = system / UNITS / UNIT
    texts = [text_of(file), *(text_of(each) for each in sorted(file.with_name(f"{UNIT}.d").glob("*.conf")))]
    if texts[0] is None:
        return None
    lines = "\n".join(each for each in texts if each is not None).splitlines()
    return "\n".join(line for line in lines if not line.startswith("X-"))  # means nothing to systemd


def text_of(path: Path) -> str | None:
    """What a file says; None if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
