"""The unit of a rehearsal: our own unit in its sandbox, without all that would disturb the one that runs."""

REHEARSAL_LIMIT = 60.0  # seconds

# What a rehearsal must not do: be restarted, be watched, tell others of its failure, run what comes before and after.
_DROPPED = (
    *("Type", "Restart", "RestartSec", "WatchdogSec", "OnFailure", "OnSuccess", "Sockets", "TimeoutStartSec"),
    *("RuntimeMaxSec", "RuntimeRandomizedExtraSec", "RestartMode"),
    *("ExecStartPre", "ExecStartPost", "ExecStop", "ExecStopPost", "ExecReload", "ExecCondition", "NotifyAccess"),
    *("RemainAfterExit", "StandardError", "RuntimeDirectoryPreserve", "FileDescriptorStoreMax"),
)


def rehearsal(unit: str, *, errors_to: str) -> str:
    """The unit's text as that of its rehearsal (systemd.service(5), systemd.syntax(7)).

    Args:
        unit: the text of the unit file.
        errors_to: the file that takes what it says is wrong.

    """
    lines, section = [], ""
    for line in unit.replace("\\\n", " ").splitlines():
        if line.strip().startswith("["):
            section = line.strip()
        key = line.partition("=")[0].strip()
        if section == "[Install]" or key in _DROPPED:
            continue
        lines.append(f"{line.rstrip()} --rehearse" if key == "ExecStart" and line.partition("=")[2].strip() else line)
    return "\n".join(
        [
            *lines,
            "[Service]",
            "Type=oneshot",
            "RemainAfterExit=yes",
            f"TimeoutStartSec={REHEARSAL_LIMIT:g}",
            f"StandardError=truncate:{errors_to}",
            # Ours lives in the same directory.
            "RuntimeDirectoryPreserve=yes",
            "",
        ]
    )
