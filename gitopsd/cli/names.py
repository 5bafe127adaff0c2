"""The command names of before, as thin entries of `gitopsctl`: people and scripts already use them.

Each takes the arguments of the verb that it stands for.
"""

from __future__ import annotations

from gitopsd.cli.__main__ import main

VERBS = {
    "chezmoi-sync": ("sync",),
    "chezmoi-status": ("dotfiles", "status"),
    "chezmoi-show-conflicts": ("dotfiles", "conflicts"),
    "show-boot-status": ("boot", "status"),
    "pin-golden": ("golden", "pin"),
    "show-golden": ("golden", "show"),
    "rollback-to-golden": ("rollback", "golden"),
    "reset-boot-failures": ("boot", "reset"),
}


def chezmoi_sync() -> None:
    """Bring dotfiles in step."""
    main(VERBS["chezmoi-sync"])


def chezmoi_status() -> None:
    """Show how dotfiles stand."""
    main(VERBS["chezmoi-status"])


def chezmoi_show_conflicts() -> None:
    """Show what is parked, with both sides."""
    main(VERBS["chezmoi-show-conflicts"])


def show_boot_status() -> None:
    """Show the assessment of this boot."""
    main(VERBS["show-boot-status"])


def pin_golden() -> None:
    """Make the running system the golden one."""
    main(VERBS["pin-golden"])


def show_golden() -> None:
    """Show the golden generation."""
    main(VERBS["show-golden"])


def rollback_to_golden() -> None:
    """Go back to the golden generation."""
    main(VERBS["rollback-to-golden"])


def reset_boot_failures() -> None:
    """Forget the bad boots of this generation."""
    main(VERBS["reset-boot-failures"])
