"""Writing so that a power cut at any instruction leaves either the old or the new, never a part.

A file is written beside its place, synced, renamed over it, and the directory is synced; a link likewise. Every single
step goes through a method of `Disk`, so that a test can cut the power between any two of them.
"""

import os

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from collections.abc import Callable

_NEW = ".gitopsd-new"  # ends the name of what is not in its place yet


class Disk:
    """The primitives, as the kernel has them, and what is made of them."""

    def write_new(self, path: str, data: bytes) -> None:
        """Make or overwrite a file. Neither its bytes nor its name are durable yet."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            while data:
                data = data[os.write(fd, data) :]
        finally:
            os.close(fd)

    def sync(self, path: str) -> None:
        """Have a file's bytes, or a directory's names, on the disk (fsync(2))."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, source: str, target: str) -> None:
        """Put a name over another one (rename(2))."""
        os.rename(source, target)

    def symlink(self, text: str, path: str) -> None:
        """Make a symbolic link."""
        os.symlink(text, path)

    def unlink(self, path: str) -> None:
        """Remove a name."""
        os.unlink(path)

    def mkdir(self, path: str, mode: int) -> None:
        """Make a directory."""
        os.mkdir(path, mode)

    # What is made of them.

    def replace(self, path: str, data: bytes) -> None:
        """Write a file: old or new, whatever happens; durable on return.

        Raises:
            OSError: nothing was changed.

        """

        def make(new: str) -> None:
            self.write_new(new, data)
            self.sync(new)

        self._beside(path, make)

    def point(self, path: str, text: str) -> None:
        """Make a symbolic link point to `text`: old or new, whatever happens; durable on return. Repeatable.

        Raises:
            OSError: nothing was changed.

        """
        if link_text(path) == text:
            self.sync(_directory(path))  # it may be from before a cut, seen and not yet durable
            return
        self._beside(path, lambda new: self.symlink(text, new))

    def remove(self, path: str) -> None:
        """Remove a name; durable on return. Nothing if there is none."""
        try:
            self.unlink(path)
        except FileNotFoundError:
            return
        self.sync(_directory(path))

    def move(self, path: str, target: str) -> None:
        """Move a file within its directory; durable on return."""
        self.rename(path, target)
        self.sync(_directory(path))

    def directory(self, path: str, mode: int = 0o700) -> None:
        """Make a directory and those above it; durable on return. Nothing if it is there."""
        if os.path.isdir(path):
            return
        above = _directory(path)
        self.directory(above, 0o755)
        try:
            self.mkdir(path, mode)
        except FileExistsError:
            return
        self.sync(above)

    def _beside(self, path: str, make: "Callable[[str], None]") -> None:
        new = path + _NEW
        try:
            self.unlink(new)  # of a cut
        except FileNotFoundError:
            pass
        try:
            make(new)
            self.rename(new, path)
        except OSError:
            try:
                self.unlink(new)
            except OSError:
                pass
            raise
        self.sync(_directory(path))


def link_text(path: str) -> str:
    """What a symbolic link says; empty if there is none."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _directory(path: str) -> str:
    return os.path.dirname(path)
