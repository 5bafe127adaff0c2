"""A lab: the machines of one test, one demo, one benchmark, in namespaces of their own."""

from __future__ import annotations

import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from .errors import LabError, Unsupported
from .forge import Forge
from .host import Host
from .image import check_programs, image_in_use
from .machine import Machine
from .namespace import Namespace
from .nixos import HostSpec

CHECKOUT = Path(__file__).resolve().parents[2]


class Lab:
    """A context manager; leaving it, or the death of this process in whatever way, removes everything.

    Machines are reached by name from each other. Labs do not see each other.
    """

    def __init__(self, source: Path = CHECKOUT) -> None:
        """Prepare a lab whose machines run gitopsd from the checkout `source`."""
        self.source = source
        self.machines: dict[str, Machine] = {}
        self._addresses: dict[str, str] = {}
        self._installed = False
        self._lock = threading.Lock()
        self._context = ExitStack()

    def __enter__(self) -> Self:
        """Build the image if there is none, and start the lab.

        Raises:
            Unsupported: this computer cannot run it.
        """
        if os.geteuid() != 0:
            raise Unsupported("the lab needs root, for namespaces, overlays and a bridge")
        check_programs()
        with ExitStack() as stack:
            image = stack.enter_context(image_in_use())
            self.namespace = Namespace(uuid.uuid4().hex[:8], image, self.source)
            stack.callback(self.namespace.close)
            self._context = stack.pop_all()
        self._publish_names()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all machines and remove every trace."""
        for machine in self.machines.values():
            machine.stop_rebooting()
        self._context.close()

    def forge(self) -> Forge:
        """Return the machine that serves git repositories over ssh, booted at the first call."""
        with self._lock:
            known = self.machines.get("forge")
        if isinstance(known, Forge):
            return known
        forge = Forge(self.namespace, "forge", self._new_address("forge"))
        self._add(forge)
        forge.boot()
        return forge

    def host(self, name: str, spec: HostSpec | None = None, *, files: dict[str, str] | None = None) -> Host:
        """Return a new NixOS host, booted into its generation 1.

        Args:
            name: its host name.
            spec: what its configuration says; by default sshd and nothing else.
            files: the whole configuration repository, if other than `config_files({name: spec})`.
        """
        spec = spec or HostSpec()
        host = Host(self.namespace, name, self._new_address(name))
        self._add(host)
        if spec.gitopsd_config is not None:
            self._install_gitopsd()
        host.install(spec, files, self.source)
        host.boot()
        return host

    def hosts(self, *names: str, spec: HostSpec | None = None, files: dict[str, str] | None = None) -> list[Host]:
        """Return several new hosts, prepared and booted at the same time."""
        with ThreadPoolExecutor(max_workers=len(names)) as pool:
            return list(pool.map(lambda name: self.host(name, spec, files=files), names))

    def machine(self, name: str) -> Machine:
        """Return a new plain Debian machine, booted."""
        machine = Machine(self.namespace, name, self._new_address(name))
        self._add(machine)
        machine.boot()
        return machine

    def _install_gitopsd(self) -> None:
        """Copy gitopsd for the machines, with its byte code beside it, so that it starts as an installed one does."""
        with self._lock:
            if not self._installed:
                self.namespace.sh(INSTALL)
                self._installed = True

    def _new_address(self, name: str) -> str:
        with self._lock:
            if name in self._addresses:
                raise LabError(f"there is a machine {name} already")
            # .0 is the network, .1 the bridge.
            self._addresses[name] = f"10.77.0.{len(self._addresses) + 2}"
            self._publish_names()
            return self._addresses[name]

    def _add(self, machine: Machine) -> None:
        with self._lock:
            self.machines[machine.name] = machine

    def _publish_names(self) -> None:
        """Write the file that every machine sees as /etc/hosts; in place, since it is bound by inode."""
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in self._addresses.items())]
        self.namespace.sh('printf "%s\\n" "$1" >/run/lab/hosts', "\n".join(lines))


# Compiled by the image's own Python, at the path where the machines see it.
INSTALL = """
cp -r --preserve=timestamps /run/lab/source/gitopsd /run/lab/source/tests/bench /run/lab/installed/
find /run/lab/installed -name __pycache__ -prune -exec rm -r {} +
exec unshare --mount --propagation private sh -euc '
    image=/run/lab/image
    mount --bind /run/lab/installed $image/opt/gitopsd-src
    mount -t proc proc $image/proc
    chroot $image python3 -m compileall -qq /opt/gitopsd-src/gitopsd'
"""
