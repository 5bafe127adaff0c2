"""Five hosts with the same dotfiles, set up once and copied for each example: setting up takes seconds, a copy does not."""

import asyncio
import shutil
from pathlib import Path

from people import Remote
from soak.ledger import Ledger
from soak.site import TEMPLATES, Site

PLACE = Path("/tmp/gitopsd-soak")  # the same for all examples: chezmoi and git write it down
HOSTS = "abcde"
_BEGIN = {".bashrc": (9, 0o644), ".config/app.conf": (4, 0o644), "bin/tool": (3, 0o755), ".toolrc": (3, 0o644)}


def clear() -> None:
    """Leave nothing of an example."""
    if PLACE.exists():
        shutil.rmtree(PLACE)


def prepare(copy: Path) -> None:
    """Set up five hosts with the same dotfiles, all synced, and put them away as a copy for `Fleet`."""
    clear()
    PLACE.mkdir(mode=0o755)
    remote = Remote.create(PLACE / "remote.git")
    first, *others = (Site.create(name, "rain", PLACE / name, remote) for name in HOSTS)
    ledger = Ledger()
    first.run("chezmoi", "init")
    for path, (length, mode) in _BEGIN.items():
        first.write(path, "".join(f"{ledger.new('o')}\n" for _ in range(length)))
        (first.home / path).chmod(mode)
        first.run("chezmoi", "add", *(("--template",) if path in TEMPLATES else ()), str(first.home / path))
    first.begin({})
    for host in others:
        host.join()
    for site in (first, *others) * 2:
        assert isinstance(site, Site)
        asyncio.run(site.cycle())
    PLACE.rename(copy)
