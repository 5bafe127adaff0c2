"""What is found out about a toplevel before the switch, on small trees of files."""

import json
from pathlib import Path

import pytest

from gitopsd.checks import comparison, space, toplevel
from gitopsd.types import StorePath, Verdict

HASH = "0" * 32


def system(root: Path, name: str, **files: str) -> StorePath:
    """A directory that looks like a toplevel; `files` are by path, with `__` for a slash and `_` for a hyphen."""
    made = root / name
    for path, text in files.items():
        file = made / path.replace("__", "/").replace("_", "-")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    made.mkdir(exist_ok=True)
    return StorePath(str(made))


WHOLE = {"nixos_version": "26.05", "bin__switch_to_configuration": "", "init": "", "etc__hostname": "malphas\n"}


def test_a_nixos_system_is_one(tmp_path: Path) -> None:
    assert toplevel.is_nixos(system(tmp_path, "new", **WHOLE), "x").verdict is Verdict.passed


def test_a_package_is_no_nixos_system_and_the_advice_names_what_was_built(tmp_path: Path) -> None:
    check = toplevel.is_nixos(system(tmp_path, "hello", bin__hello=""), 'nixosConfigurations."malphas"')
    assert check.verdict is Verdict.failed
    assert "nixos-version" in check.said
    assert 'nixosConfigurations."malphas"' in check.advice


@pytest.mark.parametrize(
    ("theirs", "host", "running", "verdict"),
    [
        ("malphas", "malphas", "malphas", Verdict.passed),
        ("malphas", "the-desktop", "malphas", Verdict.passed),  # the name in the flake is another one
        ("renamed", "renamed", "malphas", Verdict.passed),
        ("griefling", "malphas", "malphas", Verdict.failed),
        ("", "malphas", "malphas", Verdict.noted),
    ],
)
def test_a_system_is_for_this_host_if_it_has_its_name(
    tmp_path: Path, theirs: str, host: str, running: str, verdict: Verdict
) -> None:
    new = system(tmp_path, "new", **({"etc__hostname": f"{theirs}\n"} if theirs else {}))
    old = Path(system(tmp_path, "old", etc__hostname=f"{running}\n"))
    check = toplevel.is_for(new, host, old)
    assert check.verdict is verdict
    if verdict is Verdict.failed:
        assert "griefling" in check.said
        assert "malphas" in check.said


def test_an_instance_of_a_template_exists_if_the_template_does(tmp_path: Path) -> None:
    new = system(tmp_path, "new")
    directory = Path(new, "etc/systemd/system")
    directory.mkdir(parents=True)
    (directory / "getty@.service").touch()
    assert toplevel.has_units(new, ["getty@tty1.service"]).verdict is Verdict.passed
    check = toplevel.has_units(new, ["getty@tty1.service", "sshd.service"])
    assert check.verdict is Verdict.failed
    assert check.said.startswith("sshd.service not in ")


def test_an_instance_may_have_dots_and_what_generators_make_needs_no_file(tmp_path: Path) -> None:
    directory = Path(new := system(tmp_path, "new"), "etc/systemd/system")
    directory.mkdir(parents=True)
    (directory / "wg-quick@.service").touch()
    units = ["wg-quick@wg0.100.service", "wg-quick@a@b.service", "-.mount", "srv-my\\x2ddisk.mount", "dev-sda1.device"]
    assert toplevel.has_units(new, units).verdict is Verdict.passed
    assert toplevel.has_units(new, ["other@wg0.100.service"]).verdict is Verdict.failed


def test_a_unit_that_can_never_be_active_is_not_waited_for(tmp_path: Path) -> None:
    directory = Path(new := system(tmp_path, "new"), "etc/systemd/system")
    (directory / "stays.service.d").mkdir(parents=True)
    (directory / "masked.service").symlink_to("/dev/null")
    for name in ("once.service", "stays.service"):
        (directory / name).write_text("[Service]\nType=oneshot\nExecStart=true\n")
    (directory / "stays.service.d/more.conf").write_text("[Service]\nRemainAfterExit=yes\n")
    (directory / "once.timer").write_text("[Timer]\nOnCalendar=daily\n")
    assert toplevel.has_units(new, ["stays.service", "once.timer"]).verdict is Verdict.passed
    said = toplevel.has_units(new, ["once.service", "masked.service"]).said
    assert "masked.service masked: verify would wait for it in vain" in said
    assert "once.service a oneshot without `RemainAfterExit=`, which is never active" in said


def test_a_full_store_prevents_a_build_and_rejects_nothing(tmp_path: Path) -> None:
    assert space.in_store(0, tmp_path).verdict is Verdict.passed
    assert space.in_store(2**62, tmp_path).verdict is Verdict.prevented
    assert space.in_store(1, tmp_path / "nowhere").verdict is Verdict.noted


def test_what_the_boot_loader_has_already_needs_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, boot = tmp_path / "store", tmp_path / "boot"
    kernel = store / f"{HASH}-linux-6.18" / "bzImage"
    kernel.parent.mkdir(parents=True)
    kernel.write_bytes(bytes(40 * 1024**2))
    monkeypatch.setattr(space, "STORE", store)
    new = Path(system(tmp_path, "new"))
    (new / "kernel").symlink_to(kernel)
    (boot / "EFI/nixos").mkdir(parents=True)
    assert "40 MiB are needed" in space.on_boot(StorePath(str(new)), 0, boot).said
    assert space.on_boot(StorePath(str(new)), 2**62, boot).verdict is Verdict.prevented
    (boot / "EFI/nixos" / f"{HASH}-linux-6.18-bzImage.efi").touch()
    assert "0 MiB are needed" in space.on_boot(StorePath(str(new)), 0, boot).said


def test_inhibitors_of_one_side_only_do_not_count(tmp_path: Path) -> None:
    old = Path(system(tmp_path, "old", switch_inhibitors=json.dumps({"dbus": "broker", "gone": "1", "same": "1"})))
    new = system(tmp_path, "new", switch_inhibitors=json.dumps({"dbus": "dbus", "came": "1", "same": "1"}))
    assert comparison.inhibitors(new, old) == ("dbus",)
    assert comparison.inhibitors(system(tmp_path, "before-there-were-any"), old) == ()


@pytest.mark.parametrize("text", ["[]", "not json"])
def test_inhibitors_that_cannot_be_read_are_an_error_and_not_an_absence(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|Expecting"):
        comparison.inhibitors(system(tmp_path, "new", switch_inhibitors=text), Path(system(tmp_path, "old")))


def test_an_inhibited_system_is_for_the_next_boot_only() -> None:
    assert comparison.may_switch((), "switch").verdict is Verdict.passed
    assert comparison.may_switch(("dbus",), "boot").verdict is Verdict.noted
    check = comparison.may_switch(("dbus",), "switch")
    assert check.verdict is Verdict.failed
    assert "retry" in check.advice


def test_a_new_kernel_and_new_parameters_need_a_reboot(tmp_path: Path) -> None:
    for name, version in (("old", "6.17"), ("new", "6.18")):
        (tmp_path / version).mkdir()
        Path(system(tmp_path, name, kernel_params=version), "kernel").symlink_to(tmp_path / version)
        Path(tmp_path, name, "initrd").symlink_to(tmp_path)
    new = StorePath(str(tmp_path / "new"))
    assert comparison.needs_reboot(new, tmp_path / "old") == ("kernel", "kernel parameters")
    assert comparison.needs_reboot(new, tmp_path / "new") == ()
    assert comparison.needs_reboot(new, tmp_path / "never booted") == ()
