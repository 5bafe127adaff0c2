"""Run `boot begin` as at a boot, with a record of its own: `begin.py fresh`, or `begin.py failed` after a bad boot."""

import os
import sys

from gitopsd.boot.begin import begin
from gitopsd.boot.place import Machine
from gitopsd.boot.record import BAD, Attempt


class AtBoot(Machine):
    """This machine, as it was when it booted."""

    def switched(self) -> bool:
        """Never yet."""
        return False


directory = f"/var/tmp/bench-{os.getpid()}/boot"
machine = AtBoot(directory)
if sys.argv[1] == "failed":
    generation = machine.record.generation(machine.booted())
    generation.attempts.append(Attempt("another boot", 0.0, BAD, "sshd.service has failed"))
    machine.record.save(generation)
sys.exit(begin(machine))
