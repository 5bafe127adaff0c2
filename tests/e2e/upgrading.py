"""What the tests of upgrades ask of a host."""

import json
from typing import Any

from e2e.scene import Scene, set_up
from lab import Host, Lab

Json = dict[str, Any]


def ended(host: Host) -> Json:
    """The newest upgrade with its steps and facts."""
    number = json.loads(host.run(["gitopsctl", "status", "--json"]).stdout)["last_upgrade"]["id"]
    answer: Json = json.loads(host.run(["gitopsctl", "show", str(number), "--json"]).stdout)
    return answer


def verdicts(detail: Json) -> dict[str, str]:
    """Check → verdict."""
    return {check["name"]: check["verdict"] for check in detail["facts"]["review"]["checks"]}


def rejected(host: Host) -> list[Json]:
    """What is not tried again."""
    found: list[Json] = json.loads(host.run(["gitopsctl", "status", "--json"]).stdout)["rejected"]
    return found


def refused(host: Host, *, outcome: str) -> Json:
    """Ask for an upgrade that must end so, and leave the machine as it was."""
    before = (host.current_system(), host.boot_default(), host.generations())
    said = host.run(["gitopsctl", "upgrade"], check=False, timeout=120)
    assert said.returncode == 1, said.stdout
    assert "=== Build Validation FAILED ===" in said.stdout
    assert "Deployment aborted" in said.stdout
    detail = ended(host)
    assert detail["summary"]["outcome"] == outcome, detail["summary"]
    assert (host.current_system(), host.boot_default(), host.generations()) == before
    assert host.failed_units() == []
    assert roots(host) == []
    return detail


def roots(host: Host) -> list[str]:
    """What is kept from the garbage collector although it is not deployed."""
    return host.sh("ls /var/lib/gitopsd/roots").stdout.split()


def deploys(host: Host) -> None:
    """An upgrade succeeds."""
    assert "=== Deployment Successful ===" in host.run(["gitopsctl", "upgrade"], timeout=120).stdout


def one(lab: Lab, more: str = "") -> tuple[Scene, Host]:
    """A host in step with its forge."""
    scene = set_up(lab, "malphas", soak="1s", more=more, homes=False)
    return scene, scene.hosts["malphas"]


def reconfigure(host: Host, verify: str = "", *, more: str = "") -> None:
    """Add to the `[verify]` section and at the end by hand, as a person does who edits the file."""
    pristine = host.sh("cat /etc/static/gitopsd/config.toml").stdout
    text = pristine.replace("[verify]\n", f"[verify]\n{verify}\n") + more
    host.sh("rm /etc/gitopsd/config.toml")
    host.write("/etc/gitopsd/config.toml", text)
    host.run(["systemctl", "reload", "gitopsd.service"])
