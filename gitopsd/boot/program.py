"""`gitopsd-boot begin|verify|bless|end|emergency`: what the units of the assessment run. It needs no daemon."""

import sys

TYPE_CHECKING = False  # typing's own constant would import typing
if TYPE_CHECKING:
    from collections.abc import Sequence

VERBS = ("begin", "verify", "bless", "end", "emergency")
DONE, FAILED, USAGE = 0, 1, 2


def main() -> None:
    """Run one verb, and exit."""
    sys.exit(run(sys.argv[1:]))


def run(argv: "Sequence[str]") -> int:
    """Run one verb.

    Args:
        argv: the verb.

    Returns:
        The exit status. A bug in here is told, and is a failed unit: the boot goes on.

    """
    if len(argv) != 1 or argv[0] not in VERBS:
        sys.stderr.write(f"usage: gitopsd-boot {'|'.join(VERBS)}\n")
        return USAGE
    verb = argv[0]
    try:
        return _run(verb)
    except Exception as error:  # noqa: BLE001 - whatever it is, the boot must go on
        from gitopsd.boot.notice import Notice  # noqa: PLC0415 - as late as possible, it may be what fails

        Notice().alert(f"boot {verb} failed: {type(error).__name__}: {error}", "the boot goes on without it")
        sys.excepthook(type(error), error, error.__traceback__)
        return FAILED


def _run(verb: str) -> int:
    # Each verb imports what it needs: `begin` is in the way of every boot.
    from gitopsd.boot.place import Machine  # noqa: PLC0415

    machine = Machine()
    match verb:
        case "begin":
            from gitopsd.boot.begin import REBOOTS, UNRECORDED, begin  # noqa: PLC0415

            result = begin(machine)
            if result == REBOOTS:
                import time  # noqa: PLC0415

                machine.allow(0)
                time.sleep(60)  # nothing of this system may start; systemd ends us with the rest of it
            return FAILED if result == UNRECORDED else DONE
        case "verify":
            from gitopsd.boot.verify import verify  # noqa: PLC0415

            return verify(machine)
        case "bless":
            return _bless(machine)
        case "emergency":
            from gitopsd.boot.verdict import emergency  # noqa: PLC0415

            emergency(machine)
            return DONE
        case _:
            from gitopsd.boot.verdict import end  # noqa: PLC0415

            end(machine)
            return DONE


def _bless(machine: "Machine") -> int:
    from pathlib import Path  # noqa: PLC0415

    from gitopsd.boot.verdict import bless  # noqa: PLC0415
    from gitopsd.config import load  # noqa: PLC0415

    problems = bless(machine, auto_pin=load(Path(machine.config)).boot.auto_pin)
    if problems:
        machine.notice.alert(*problems)
    return FAILED if problems else DONE


if TYPE_CHECKING:
    from gitopsd.boot.place import Machine

if __name__ == "__main__":
    main()
