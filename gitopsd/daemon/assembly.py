"""From a configuration to what the loop runs: the one place that knows every step, port and tool."""

from functools import partial
from pathlib import Path

import msgspec

from gitopsd.boot.place import Machine
from gitopsd.checkout.follow import Following
from gitopsd.checkout.origin import origin_of
from gitopsd.checkout.publish import Publishing
from gitopsd.checks.inspection import Inspection, Wanted
from gitopsd.choices.person import PersonChoices
from gitopsd.choices.turn import InTurn, Turn
from gitopsd.config import Config, DotfilesConfig, SystemConfig, load
from gitopsd.daemon.herald import Receiver, as_json
from gitopsd.daemon.reboots import Reboots
from gitopsd.daemon.step_set import StepSet
from gitopsd.dotfiles.person import PersonDotfiles
from gitopsd.errors import Absent, ConfigError
from gitopsd.machine import State
from gitopsd.ports import Checkout, Choices, Clock, Dotfiles, PublishedCheckout, Store, Successor
from gitopsd.steps import Step
from gitopsd.steps.build import build
from gitopsd.steps.capture import capture
from gitopsd.steps.fetch import fetch
from gitopsd.steps.hooks import HookPlan
from gitopsd.steps.instruments import Instruments
from gitopsd.steps.pull import pull
from gitopsd.steps.push import push
from gitopsd.steps.rollback import rollback
from gitopsd.steps.switch import switch
from gitopsd.steps.verify import verify
from gitopsd.tools.activation import Activation
from gitopsd.tools.golden import GoldenGeneration
from gitopsd.tools.hook_units import HookUnits
from gitopsd.tools.mirror import Mirror
from gitopsd.tools.nix import Nix
from gitopsd.tools.nix_source import Recipe
from gitopsd.tools.nix_user import WORKSHOP
from gitopsd.tools.own_unit import EARLIER_WATCH
from gitopsd.tools.probe import Probes
from gitopsd.tools.process import Processes
from gitopsd.tools.receivers import Command, StartUnit, Webhook
from gitopsd.tools.signatures import Signatures
from gitopsd.tools.systemd import Systemd

ROOTS = "roots"  # below the state directory: links that keep builds from the garbage collector
_MIRROR = "config.git"  # likewise: the repository of the configuration
BOOT = "boot"  # below it as well: the record of boots, see `gitopsd.boot`
_SLACK = 120.0  # seconds beside the limits that a step's parts have themselves


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What stays the same when the configuration is read again.

    Args:
        config: our configuration file.
        state_dir: the daemon's state directory.
        store: the durable record.
        systemd: the connection to PID 1.
        processes: the spawner.
        clock: time.
        successor: the next version of the daemon.
        turns: by user, what the cycle's steps and a person's choices take turns with; also over a reload.

    """

    config: Path
    state_dir: Path
    store: Store
    systemd: Systemd
    processes: Processes
    clock: Clock
    successor: Successor
    turns: dict[str, Turn] = msgspec.field(default_factory=dict)


def assemble(config: Config, around: Surroundings) -> StepSet:
    """Build the steps.

    Args:
        config: the configuration.
        around: the rest of the process.

    """
    people = _people(config, around)
    tools = _tools(config, around)
    return StepSet(
        activator=tools.activator,
        reboots=Reboots(config.reboot, around.systemd, around.clock),
        golden=tools.golden,
        offline_after=config.notify.offline_after,
        source=tools.source,
        users=tuple(person.user for person in people),
        choices={section.user: _choices(section, config.host, around) for section in config.dotfiles},
        steps=_steps(config, around, people, tools),
        limits=_limits(config, tools),
        retry={
            State.fetch: config.retry.fetch,
            State.capture: config.retry.capture,
            State.push: config.retry.push,
            State.pull: config.retry.pull,
            State.build: config.retry.build,
        },
    )


class _Tools(msgspec.Struct, frozen=True, kw_only=True):
    """What the steps of the system half share.

    Args:
        system: the section of the configuration; empty where no configuration is followed.
        mirror: of its repository.
        source: the same; None where no configuration is followed.
        testing: the host's testing branch; empty if none is followed.
        publishing: what publishes the edits of a checkout; None if nothing does.
        nix: builds.
        inspection: checks what was built.
        checking: seconds that the checks may take.
        activator: activates.
        golden: the generation that has booted well.
        through: what a proof looks through.
        hooks: what is started around an update.

    """

    system: SystemConfig
    mirror: Mirror
    source: Mirror | None
    testing: str
    publishing: PublishedCheckout | None
    nix: Nix
    inspection: Inspection
    checking: float
    activator: Activation
    golden: GoldenGeneration
    through: Instruments
    hooks: HookPlan


def _tools(config: Config, around: Surroundings) -> _Tools:
    system = config.config if config.config is not None else SystemConfig(repo_url="")
    recipe = Recipe(
        host=config.host,
        directory=system.directory,
        file="" if system.flake else system.file,
        attribute=system.attr,
    )
    wanted = Wanted(
        host=config.host,
        origin=recipe.origin,
        units=config.verify.validate_units,
        mode=config.switch.mode,
        space=config.space,
        commands=config.verify.validation_checks,
        limit=config.verify.validation_timeout,
    )
    testing = f"testing-{config.host}" if system.testing else ""
    mirror, nix = _mirror(system, testing, around), _nix(system, recipe, around)
    activator = Activation(around.systemd, nix, around.clock, timeout=config.switch.timeout)
    machine, attempts = Machine(str(around.state_dir / BOOT)), config.boot.max_attempts
    return _Tools(
        system=system,
        mirror=mirror,
        source=mirror if config.config is not None else None,
        testing=testing,
        publishing=_publishing(system, config.host, around),
        nix=nix,
        inspection=Inspection(around.processes, wanted),
        checking=wanted.longest(),
        activator=activator,
        golden=GoldenGeneration(machine, activator, around.processes, max_attempts=attempts),
        through=Instruments(
            units=around.systemd,
            prober=Probes(around.processes),
            source=mirror,
            ahead=partial(_ask_ahead, config.config, around),
            clock=around.clock,
        ),
        hooks=HookPlan(
            hooks=HookUnits(around.systemd, around.processes, around.clock),
            clock=around.clock,
            pre=system.pre_update_hooks,
            post=system.post_update_hooks,
        ),
    )


def _steps(config: Config, around: Surroundings, people: tuple[Dotfiles, ...], tools: _Tools) -> dict[State, Step]:
    return {
        State.fetch: partial(fetch, people=people, source=tools.source, checkout=tools.publishing),
        State.capture: partial(capture, people=people, checkout=tools.publishing),
        State.push: partial(push, people=people, host=config.host, checkout=tools.publishing),
        State.pull: partial(
            pull,
            people=people,
            source=tools.source,
            signatures=_signatures(tools.system, around),
            activator=tools.activator,
            store=around.store,
            clock=around.clock,
            mode=config.switch.mode,
            testing_branch=tools.testing,
            checkout=tools.publishing or _checkout(tools.system, around),
        ),
        State.build: partial(
            build,
            builder=tools.nix,
            inspector=tools.inspection,
            source=tools.mirror,
            activator=tools.activator,
            mode=config.switch.mode,
            hooks=tools.hooks,
        ),
        State.switch: partial(
            switch,
            activator=tools.activator,
            builder=tools.nix,
            units=around.systemd,
            clock=around.clock,
            successor=around.successor,
            validate_units=config.verify.validate_units,
            mode=config.switch.mode,
        ),
        State.verify: partial(
            verify,
            activator=tools.activator,
            builder=tools.nix,
            through=tools.through,
            wanted=config.verify,
            successor=around.successor,
            hooks=tools.hooks,
        ),
        State.rollback: partial(
            rollback,
            activator=tools.activator,
            builder=tools.nix,
            golden=tools.golden,
            through=tools.through,
            wanted=config.verify,
        ),
    }


def _limits(config: Config, tools: _Tools) -> dict[State, float]:
    """Seconds that each step may take: what its parts may take themselves, and some slack."""
    limits, hooks = config.timeouts, tools.hooks
    # Probes are asked a last time before the deadline, and at the end.
    asking = 2 * sum(probe.timeout for probe in config.verify.probes)
    proving = config.verify.deadline + config.verify.soak + asking + 2 * config.verify.reach_within + _SLACK
    before, after = hooks.longest(hooks.pre), hooks.longest(hooks.post)
    building = tools.system.build_timeout * config.retry.build.attempts + tools.checking + before
    return {
        State.fetch: limits.fetch,
        State.capture: limits.capture,
        State.push: limits.push,
        State.pull: limits.pull,
        State.build: building + _SLACK,
        State.switch: EARLIER_WATCH + config.switch.timeout + _SLACK,
        State.verify: proving + config.switch.timeout + after,
        State.rollback: proving + 4 * config.switch.timeout,  # two activations, each may wait for its turn
    }


def receivers(config: Config, around: Surroundings) -> dict[str, Receiver]:
    """Whom `[notify]` names: by the name of the option, what takes an announcement."""
    notify = config.notify
    found: dict[str, Receiver] = {}
    if notify.command:
        command = Command(around.processes, notify.command, notify.timeout)
        found["command"] = lambda announcement: command.send(as_json(announcement))
    if notify.webhook:
        webhook = Webhook(notify.webhook, notify.timeout)
        found["webhook"] = lambda announcement: webhook.send(as_json(announcement))
    if notify.unit:
        unit = StartUnit(around.systemd.start_unit, notify.unit)
        found["unit"] = lambda announcement: unit.send(announcement.event)
    return found


def _people(config: Config, around: Surroundings) -> tuple[Dotfiles, ...]:
    return tuple(
        InTurn(
            PersonDotfiles(around.processes, section, host=config.host),
            around.turns.setdefault(section.user, Turn()),
        )
        for section in config.dotfiles
    )


def _mirror(system: SystemConfig, testing: str, around: Surroundings) -> Mirror:
    return Mirror(
        around.processes,
        around.state_dir / _MIRROR,
        url=system.repo_url,
        branch=system.branch,
        testing=testing,
        ssh_key=system.ssh_key,
        origin=partial(origin_of, around.processes, system.checkout),
    )


async def _ask_ahead(now: SystemConfig | None, around: Surroundings) -> None:
    """Ask the remote that our configuration file names, if another one is in force. A file with faults names none."""
    try:
        named = load(around.config).config
    except ConfigError:
        return
    if now is None or (named is not None and _remote(named) == _remote(now)):
        return
    if named is None:
        raise Absent(
            "it has no section [config]",
            meaning="nothing that is pushed would be deployed here any more",
            advice="give it the section back; a host that is to follow no repository is switched by hand",
        )
    await _mirror(named, "", around).reach()


def _remote(system: SystemConfig) -> tuple[str, ...]:
    return system.repo_url, system.branch, system.ssh_key, system.checkout


def _nix(system: SystemConfig, recipe: Recipe, around: Surroundings) -> Nix:
    return Nix(
        around.processes,
        mirror=around.state_dir / _MIRROR,
        roots=around.state_dir / ROOTS,
        workshop=WORKSHOP,
        user=system.build_user,
        recipe=recipe,
        timeout=system.build_timeout,
        memory_max=system.memory_max,
    )


def _signatures(system: SystemConfig, around: Surroundings) -> Signatures | None:
    wanted = system.signatures
    if wanted is None:
        return None
    return Signatures(
        around.processes,
        around.state_dir / _MIRROR,
        home=around.state_dir / "gnupg",
        allowed_signers=wanted.ssh_allowed_signers,
        gpg_keyring=wanted.gpg_keyring,
        gpg_fingerprints=wanted.gpg_fingerprints,
    )


def _publishing(system: SystemConfig, host: str, around: Surroundings) -> PublishedCheckout | None:
    if not system.commit_local:
        return None
    return Publishing(
        around.processes,
        system.checkout,
        repo_url=system.repo_url,
        branch=system.branch,
        host=host,
        ssh_key=system.ssh_key,
        flake=system.directory if system.update_inputs else None,
    )


def _checkout(system: SystemConfig, around: Surroundings) -> Checkout | None:
    if not system.checkout:
        return None
    return Following(around.processes, system.checkout, branch=system.branch, ssh_key=system.ssh_key)


def _choices(section: DotfilesConfig, host: str, around: Surroundings) -> Choices:
    turn = around.turns.setdefault(section.user, Turn())
    return PersonChoices(around.processes, section, host=host, turn=turn, now=around.clock.now)
