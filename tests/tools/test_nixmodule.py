"""The NixOS modules, evaluated by real Nix with the real option types of nixpkgs' `lib`."""

import json
import os
import re
import shutil
import subprocess
import textwrap
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import nixmodule
import pytest
from nixmodule import COMPAT, ROOT, EvaluationError, evaluate, files
from nixmodule.__main__ import rendered

from gitopsd import config
from gitopsd.errors import ConfigError

NIX_FILES = [
    ROOT / "flake.nix",
    *sorted((ROOT / "packaging").glob("*.nix")),
    *sorted(nixmodule.HERE.glob("*.nix")),
    *sorted((ROOT / "tests/lab/nixos/lab").glob("*.nix")),
]
REMOTE = "git@example.org:rain/nix-config.git"
SMALLEST = f'networking.hostName = "malphas"; services.gitopsd.settings.config.repo_url = "{REMOTE}";'
PEOPLE = "users.users.rain.isNormalUser = true;"

# As interfaces.md has them, and as people have them in their files.
BLOCKS = """
  myModules.services.dotfiles.chezmoiSync = {
    enable = true;
    repoUrl = "git@example.org:rain/dotfiles.git";
    syncBeforeUpdate = true;
    autoCommit = true;
    autoPush = true;
  };
  myModules.services.autoUpgrade = {
    enable = true;
    mode = "local";
    preUpdateHooks = [ "logger about to upgrade" ];
    buildBeforeSwitch = true;
    validationChecks = [ "systemctl --quiet is-enabled sshd" ];
    onValidationFailure = "rollback";
  };
  myModules.services.system.autoUpgrade = {
    enable = true;
    configPath = "/home/rain/nix-config";
    branch = "main";
    preUpdateValidation = true;
    preUpdateHooks = [ "chezmoi-pre-update.service" "backup.service" ];
    hostCanCommitConfig = false;
  };
  myModules.system.boot.goldenGeneration = {
    enable = true;
    validateServices = [ "sshd.service" ];
    autoPinAfterBoot = true;
  };
"""


@pytest.fixture
def _nix() -> None:
    if shutil.which("nix-instantiate") is None:
        reason = "needs nix: run it in the lab's image, with `make tools`"
        if os.environ.get("GITOPSD_LAB_REQUIRED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def _lib(_nix: None) -> None:
    # Not even where the lab is required: nobody has a nixpkgs that has not put one there.
    if reason := nixmodule.why_not():
        pytest.skip(reason)


def enabled(more: str = SMALLEST) -> str:
    return f"{{ services.gitopsd.enable = true; {more} }}"


def settings_of(evaluated: dict[str, Any]) -> config.Config:
    text, _, _ = files(evaluated)
    return config.parse(text.encode())


@pytest.mark.usefixtures("_nix")
@pytest.mark.parametrize("path", NIX_FILES, ids=lambda path: path.name)
def test_every_nix_file_parses(path: Path) -> None:
    subprocess.run(["nix-instantiate", "--parse", str(path)], check=True, capture_output=True)


@pytest.mark.usefixtures("_lib")
def test_a_module_that_is_not_enabled_adds_nothing() -> None:
    said = evaluate("{ }")
    assert (said["services"], said["timers"], said["etc"], said["tmpfiles"]) == ({}, {}, {}, [])


@pytest.mark.usefixtures("_lib")
def test_the_defaults_are_those_of_the_daemon() -> None:
    said = evaluate(enabled())
    assert said["failed"] == []
    smallest = f'host = "malphas"\n[config]\nrepo_url = "{REMOTE}"\n'
    assert settings_of(said) == config.parse(smallest.encode())


@pytest.mark.usefixtures("_lib")
def test_every_option_can_be_set_and_arrives() -> None:
    sample = sample_of(config.Config)
    text = json.dumps(sample).replace("''", "'''").replace("${", "''${")
    said = evaluate(f"{{ services.gitopsd = {{ enable = true; settings = builtins.fromJSON ''{text}''; }}; }}")
    assert said["etc"]["gitopsd/config.toml"]["source"]["value"] == sample


def sample_of(kind: Any) -> Any:
    """A value of the type that is no default."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return sample_of(next(arg for arg in args if arg is not type(None)))
    if origin is tuple:
        return [sample_of(args[0])]
    if origin is typing.Literal:
        return args[-1]
    if kind == config.Seconds:
        return "1h 30min"
    if kind == config.Size:
        return "1.5G"
    if kind == config.UnitName:
        return "getty@tty1.service"
    if isinstance(kind, type) and issubclass(kind, config.Section):
        return {field.name: sample_of(field.type) for field in msgspec.structs.fields(kind)}
    values: dict[Any, Any] = {str: "some ${text}", bool: False, int: 7, float: 0.5}
    return values[kind]


@pytest.mark.usefixtures("_lib")
def test_what_has_no_option_is_passed_on_for_the_daemon_to_judge() -> None:
    said = evaluate(enabled(f"{SMALLEST} services.gitopsd.settings.verify.sok = 3;"))
    with pytest.raises(ConfigError, match="verify.sok: found an unknown key, expected `soak`"):
        settings_of(said)


@pytest.mark.usefixtures("_lib")
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('verify.soak = "soon"', "verify.soak' is not of type"),
        ('verify.validate_units = [ "sshd" ]', "validate_units"),
        ('switch.mode = "reboot"', 'one of "switch", "boot"'),
        ("dotfiles = [ { user = 3; } ]", "user' is not of type"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_by_nix(wrong: str, said: str) -> None:
    with pytest.raises(EvaluationError, match=re.escape(said)):
        evaluate(enabled(f"{SMALLEST} services.gitopsd.settings.{wrong};"))


ASSERTIONS = [
    ('networking.hostName = "malphas";', "has nothing to do", "config.repo_url"),
    ("services.gitopsd.settings.config = { };", "no repo_url", "git remote get-url origin"),
    (f"{SMALLEST} services.gitopsd.settings.config.commit_local = true;", "there is none", "checkout ="),
    (f"{SMALLEST} system.autoUpgrade.enable = true;", "both switch", "system.autoUpgrade.enable = false"),
    ('services.gitopsd.settings.dotfiles = [ { repo_url = "x"; } ];', "whose are they", "login name"),
    ('services.gitopsd.settings.dotfiles = [ { user = "rain"; } ];', "no repo_url", "chezmoi source-path"),
]


@pytest.mark.usefixtures("_lib")
@pytest.mark.parametrize(("configuration", "what", "advice"), ASSERTIONS)
def test_what_cannot_work_is_refused_with_advice(configuration: str, what: str, advice: str) -> None:
    configuration = configuration if "hostName" in configuration else f'networking.hostName = "m"; {configuration}'
    (message,) = evaluate(enabled(configuration))["failed"]
    assert what in message
    assert advice in message


@pytest.mark.usefixtures("_lib")
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("", "validate_units is empty"),
        ("services.gitopsd.settings.boot.auto_pin = false;", "gitopsctl golden pin"),
        ('services.gitopsd.settings.dotfiles = [ { user = "rian"; repo_url = "x"; } ];', "rian"),
    ],
)
def test_what_may_be_a_mistake_is_warned_of(more: str, words: str) -> None:
    assert any(words in warning for warning in evaluate(enabled(SMALLEST + more))["warnings"])


@pytest.mark.usefixtures("_lib")
def test_the_page_of_the_options_has_those_that_nix_knows() -> None:
    told = evaluate('{ networking.hostName = "m"; }', COMPAT)["options"]
    written = re.findall(r"(?m)^\| `([\w.]+)` \| `?(.*?)`? \|", (ROOT / "docs/reference/module.md").read_text())
    known = {each["name"]: each["default"] for each in told if ".settings." not in each["name"]}
    assert {name for name, _ in written} == set(known)
    for name, default in written:
        assert default == known[name] or known[name] is None, name


@pytest.mark.usefixtures("_lib")
def test_what_the_pages_tell_people_to_write_evaluates() -> None:
    for page, number in (("install-on-nixos", 1), ("migration-guide", 1)):
        text = (ROOT / f"docs/how-to/{page}.md").read_text(encoding="utf-8")
        block = textwrap.dedent(re.findall(r"(?ms)^( *```nix\n.*?)^ *```", text)[number]).partition("\n")[2]
        said = evaluate(f'{{ networking.hostName = "malphas"; {PEOPLE} {block} }}')
        assert (said["failed"], said["warnings"]) == ([], []), block
        assert "gitopsd" in said["services"]


@pytest.mark.usefixtures("_lib")
def test_a_careful_configuration_has_no_warnings() -> None:
    more = f'{PEOPLE} services.gitopsd.settings.verify.validate_units = [ "sshd.service" ];'
    more += 'services.gitopsd.settings.dotfiles = [ { user = "rain"; repo_url = "x"; } ];'
    assert evaluate(enabled(SMALLEST + more))["warnings"] == []


@pytest.mark.usefixtures("_lib")
def test_a_switch_neither_restarts_nor_stops_the_daemon() -> None:
    said = evaluate(enabled())
    ours = {name: unit for name, unit in said["services"].items() if not name.startswith("systemd-")}
    assert {unit["restartIfChanged"] for unit in ours.values()} == {False}
    assert said["services"]["gitopsd"]["unitConfig"]["X-StopOnRemoval"] is False
    text = (ROOT / "units" / "gitopsd.service").read_text(encoding="utf-8")
    assert "X-RestartIfChanged=false" in text
    assert "X-StopOnRemoval=false" in text


@pytest.mark.usefixtures("_lib")
def test_every_unit_is_wanted_by_what_its_file_says() -> None:
    said = evaluate(enabled())
    for path in sorted((ROOT / "units").glob("*.*")):
        wanted = re.findall(r"(?m)^WantedBy=(.*)$", path.read_text(encoding="utf-8"))
        kind = next((kind for kind, suffix in nixmodule.KINDS.items() if path.suffix == f".{suffix}"), None)
        if kind is not None:
            assert said[kind][path.stem]["wantedBy"] == " ".join(wanted).split(), path.name


@pytest.mark.usefixtures("_lib")
def test_times_are_replaced_and_null_is_never() -> None:
    more = 'services.gitopsd.sync.onCalendar = "hourly"; services.gitopsd.upgrade.onCalendar = null;'
    said = evaluate(enabled(SMALLEST + more))
    assert said["timers"]["gitopsd-sync"]["timerConfig"]["OnCalendar"] == ["", "hourly"]
    assert said["timers"]["gitopsd-upgrade"]["enable"] is False


@pytest.mark.usefixtures("_lib")
def test_the_four_blocks_of_before_evaluate_unchanged() -> None:
    said = evaluate(f'{{ networking.hostName = "malphas"; {PEOPLE} {BLOCKS} }}', COMPAT)
    assert said["failed"] == []
    assert said["warnings"] == []
    settings = said["etc"]["gitopsd/config.toml"]["source"]["value"]
    (person,) = settings["dotfiles"]
    assert (person["user"], person["repo_url"]) == ("rain", "git@example.org:rain/dotfiles.git")
    assert settings["config"]["checkout"] == "/home/rain/nix-config"
    assert settings["config"]["branch"] == "main"
    assert settings["verify"]["validate_units"] == ["sshd.service"]
    assert settings["verify"]["on_validation_failure"] == "rollback"
    assert settings["boot"]["auto_pin"] is True
    understood = settings_of(said).config  # by the daemon, too
    assert understood is not None
    assert [hook.unit for hook in understood.pre_update_hooks] == ["backup.service", "auto-upgrade-hook-1.service"]
    assert not understood.commit_local
    assert said["services"]["auto-upgrade"]["serviceConfig"]["Type"] == "oneshot"
    assert said["services"]["chezmoi-pre-update"]["serviceConfig"]["ExecStart"].endswith(
        "gitopsctl sync --requested-by chezmoi-pre-update"
    )
    assert said["timers"]["auto-upgrade"]["wantedBy"] == ["timers.target"]
    assert said["timers"]["gitopsd-upgrade"]["enable"] is False


@pytest.mark.usefixtures("_lib")
def test_a_host_that_may_commit_the_configuration_publishes_its_checkout() -> None:
    blocks = BLOCKS.replace("hostCanCommitConfig = false", "hostCanCommitConfig = true")
    understood = settings_of(evaluate(f'{{ networking.hostName = "malphas"; {PEOPLE} {blocks} }}', COMPAT)).config
    assert understood is not None
    assert understood.commit_local


@pytest.mark.usefixtures("_lib")
def test_a_hook_that_would_wait_for_its_own_upgrade_is_left_out() -> None:
    said = evaluate(f'{{ networking.hostName = "malphas"; {PEOPLE} {BLOCKS} }}', COMPAT)
    hooks = said["etc"]["gitopsd/config.toml"]["source"]["value"]["config"]["pre_update_hooks"]
    assert "chezmoi-pre-update.service" not in json.dumps(hooks)
    assert "backup.service" in json.dumps(hooks)
    assert "auto-upgrade-hook-1.service" in json.dumps(hooks)
    assert said["services"]["auto-upgrade-hook-1"]["script"] == "logger about to upgrade"


@pytest.mark.usefixtures("_lib")
def test_none_of_the_blocks_is_none_of_ours() -> None:
    assert evaluate('{ networking.hostName = "malphas"; }', COMPAT)["services"] == {}


@pytest.mark.usefixtures("_lib")
@pytest.mark.parametrize(
    ("block", "what"),
    [
        ("services.dotfiles.chezmoiSync.enable = true;", "no repoUrl"),
        ('services.dotfiles.chezmoiSync = { enable = true; repoUrl = "x"; };', "2 normal users"),
        ("services.autoUpgrade.buildBeforeSwitch = false;", "never switches to what it has not built"),
        ("services.autoUpgrade.enable = true;", "nowhere to fetch"),
    ],
)
def test_a_block_that_cannot_work_is_refused_with_advice(block: str, what: str) -> None:
    people = "users.users = { rain.isNormalUser = true; olga.isNormalUser = true; };"
    more = f"myModules.system.boot.goldenGeneration.enable = true; myModules.{block}"
    said = evaluate(f'{{ networking.hostName = "malphas"; {people} {more} }}', COMPAT)
    assert any(what in message and "\n" in message for message in said["failed"]), said["failed"]


@pytest.mark.usefixtures("_lib")
def test_what_the_machines_of_the_lab_are_made_of_is_what_the_modules_render() -> None:
    stale = "stale: lab run -- env PYTHONPATH=tests python3 -m nixmodule >tests/nixmodule/rendered.json"
    assert nixmodule.RENDERED.read_text(encoding="utf-8") == rendered(), stale


@pytest.mark.usefixtures("_lib")
def test_the_build_user_is_declared_where_a_configuration_is_built_and_nobody_else_is_named() -> None:
    own = "gitopsd-build"
    assert own in evaluate(f"{{ services.gitopsd.enable = true; {SMALLEST} }}")["users"]
    named = 'services.gitopsd.settings.config.build_user = "builder";'
    assert own not in evaluate(f"{{ services.gitopsd.enable = true; {SMALLEST} {named} }}")["users"]
    dotfiles = 'services.gitopsd.settings.dotfiles = [ { user = "rain"; repo_url = "x"; } ];'
    none = f'{{ networking.hostName = "malphas"; services.gitopsd.enable = true; {PEOPLE} {dotfiles} }}'
    assert evaluate(none)["users"] == ["rain"]


@pytest.mark.usefixtures("_lib")
def test_a_line_of_services_gitopsd_wins_over_a_block() -> None:
    more = 'services.gitopsd.settings.config.branch = "stable"; services.gitopsd.settings.switch.mode = "boot";'
    said = evaluate(f'{{ networking.hostName = "malphas"; {PEOPLE} {BLOCKS} {more} }}', COMPAT)
    settings = said["etc"]["gitopsd/config.toml"]["source"]["value"]
    assert (settings["config"]["branch"], settings["switch"]["mode"]) == ("stable", "boot")


@pytest.fixture(scope="session")
def flake(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs `nix` on this flake, with a stand-in for nixpkgs: its lib, and empty packages."""
    if reason := nixmodule.why_not():
        pytest.skip(reason)
    temporary = tmp_path_factory.mktemp("flake")
    shutil.copytree(ROOT, temporary / "source", ignore=shutil.ignore_patterns(".*", "__pycache__", "site", "build"))
    nixpkgs = nixmodule.nixpkgs(temporary / "nixpkgs")
    instead = ["--no-write-lock-file", "--override-input", "nixpkgs", f"path:{nixpkgs}"]

    def run(*words: str) -> str:
        argv = ["nix", "--extra-experimental-features", "nix-command flakes", *words, *instead]
        done = subprocess.run(argv, cwd=temporary / "source", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_flake_is_what_nix_wants_of_a_flake(flake: Callable[..., str]) -> None:
    flake("flake", "check", "--no-build", "--all-systems", "path:.")
    shown = json.loads(flake("flake", "show", "--json", "--all-systems", "path:."))
    shown = shown.get("inventory", shown)  # the latest nix has more to say around it
    text = json.dumps(shown)
    for name in ("devShells", "formatter", "nixosModules", "overlays", "packages", "checks"):
        assert name in shown, name
    for name in ("compat", "asyncvarlink", "vm", "nix", "package", "aarch64-linux"):
        assert f'"{name}"' in text, name


def test_the_package_installs_units_that_name_its_own_programs_and_all_that_belongs_to_it(
    flake: Callable[..., str],
) -> None:
    out = Path(flake("build", "--no-link", "--print-out-paths", "path:.#default").strip())
    units = sorted((out / "lib/systemd/system").iterdir())
    assert {unit.name for unit in units} == {unit.name for unit in (ROOT / "units").glob("*.*")}
    for unit in units:
        for command in re.findall(r"(?m)^Exec\w+=(\S+)", unit.read_text(encoding="utf-8")):
            assert command.startswith("/nix/store/"), (unit.name, command)
    installed = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert {
        "lib/systemd/catalog/gitopsd.catalog",
        "share/gitopsd/alerts.yml",
        "share/gitopsd/dashboard.json",
        "share/completions/gitopsctl.bash",
        "share/completions/_gitopsctl",
        "share/completions/gitopsctl.fish",
        "share/man/man1/gitopsctl.1",
        "share/man/man8/gitopsd.8",
    } <= installed


@pytest.mark.usefixtures("_lib")
@pytest.mark.parametrize("node", ["malphas", "griefling"])
def test_the_machines_of_the_vm_test_can_be_configured(node: str) -> None:
    modules = f"{{ default = {nixmodule.MODULE}; compat = {COMPAT}; }}"
    vm = f"import {ROOT}/packaging/vm-test.nix {{ self.nixosModules = {modules}; }}"
    said = evaluate(f'{{ imports = [ ({vm}).nodes.{node} ]; networking.hostName = "{node}"; }}', module=None)
    assert said["failed"] == []
    assert "gitopsd" in said["services"]


def test_the_script_of_the_vm_test_is_python(flake: Callable[..., str]) -> None:
    script = flake("eval", "--raw", "path:.#checks.x86_64-linux.vm.testScript")
    compile(script, "testScript", "exec")
    assert "show-boot-status" in script
