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
from gitopsd.config import Config, DotfilesConfig, SystemConfig
from gitopsd.daemon.herald import Receiver, as_json
from gitopsd.daemon.reboots import Reboots
from gitopsd.daemon.step_set import StepSet
from gitopsd.dotfiles.person import PersonDotfiles
from gitopsd.errors import Failed
from gitopsd.machine import State
from gitopsd.ports import Checkout, Choices, Clock, Dotfiles, PublishedCheckout, Store, Successor
from gitopsd.steps.build import build
from gitopsd.steps.capture import capture
from gitopsd.steps.fetch import fetch
from gitopsd.steps.hooks import HookPlan
from gitopsd.steps.proof import Instruments
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
from gitopsd.tools.probe import Probes
from gitopsd.tools.process import Processes
from gitopsd.tools.receivers import Command, StartUnit, Webhook
from gitopsd.tools.signatures import Signatures
from gitopsd.tools.systemd import Systemd

ROOTS = "roots"  # below the state directory: links that keep builds from the garbage collector
BOOT = "boot"  # below it as well: the record of boots, see `gitopsd.boot`
_SLACK = 120.0  # seconds beside the limits that a step's parts have themselves


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What stays the same when the configuration is read again.

    Args:
        state_dir: the daemon's state directory.
        store: the durable record.
        systemd: the connection to PID 1.
        processes: the spawner.
        clock: time.
        successor: the next version of the daemon.
        turns: by user, what the cycle's steps and a person's choices take turns with; also over a reload.

    """

    state_dir: Path
    store: Store
    systemd: Systemd
    processes: Processes
    clock: Clock
    successor: Successor
    turns: dict[str, Turn] = msgspec.field(default_factory=dict)


def assemble(config: Config, around: Surroundings) -> tuple[StepSet, tuple[str, ...]]:
    """Build the steps.

    Args:
        config: the configuration.
        around: the rest of the process.

    Returns:
        The steps, and what of the configuration cannot be used on this host, one sentence each: it is left out, and
        everything else goes on.

    """
    people, problems = _people(config, around)
    mirror_path = around.state_dir / "config.git"
    system = config.config if config.config is not None else SystemConfig(repo_url="")
    recipe = Recipe(
        host=config.host,
        directory=system.directory,
        file="" if system.flake else system.file,
        attribute=system.attr,
    )
    nix = Nix(
        around.processes,
        mirror=mirror_path,
        roots=around.state_dir / ROOTS,
        workshop=WORKSHOP,
        user=system.build_user,
        recipe=recipe,
        timeout=system.build_timeout,
        memory_max=system.memory_max,
    )
    publishing = _publishing(system, config.host, around)
    testing = f"testing-{config.host}" if system.testing else ""
    mirror = Mirror(
        around.processes,
        mirror_path,
        url=system.repo_url,
        branch=system.branch,
        testing=testing,
        ssh_key=system.ssh_key,
        origin=partial(origin_of, around.processes, system.checkout),
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
    source = mirror if config.config is not None else None
    activator = Activation(around.systemd, nix, around.clock, timeout=config.switch.timeout)
    units, clock = around.systemd, around.clock
    golden = GoldenGeneration(
        Machine(str(around.state_dir / BOOT)), activator, around.processes, max_attempts=config.boot.max_attempts
    )
    through = Instruments(units=units, prober=Probes(around.processes), source=mirror, clock=clock)
    limits = config.timeouts
    proving = config.verify.deadline + config.verify.soak + config.verify.reach_within + _SLACK
    hooks = HookPlan(
        hooks=HookUnits(around.systemd, around.processes, clock),
        clock=clock,
        pre=system.pre_update_hooks,
        post=system.post_update_hooks,
    )
    before, after = hooks.longest(hooks.pre), hooks.longest(hooks.post)
    building = system.build_timeout * config.retry.build.attempts + wanted.longest() + before
    steps = StepSet(
        activator=activator,
        reboots=Reboots(config.reboot, around.systemd, around.clock),
        golden=golden,
        offline_after=config.notify.offline_after,
        source=source,
        users=tuple(person.user for person in people),
        choices={section.user: _choices(section, config.host, around) for section in config.dotfiles},
        steps={
            State.fetch: partial(fetch, people=people, source=source, checkout=publishing),
            State.capture: partial(capture, people=people, checkout=publishing),
            State.push: partial(push, people=people, host=config.host, checkout=publishing),
            State.pull: partial(
                pull,
                people=people,
                source=source,
                signatures=_signatures(system, mirror_path, around),
                activator=activator,
                store=around.store,
                clock=clock,
                mode=config.switch.mode,
                testing_branch=testing,
                checkout=publishing or _checkout(system, around),
            ),
            State.build: partial(
                build,
                builder=nix,
                inspector=Inspection(around.processes, wanted),
                source=mirror,
                activator=activator,
                mode=config.switch.mode,
                hooks=hooks,
            ),
            State.switch: partial(
                switch,
                activator=activator,
                builder=nix,
                units=units,
                clock=clock,
                successor=around.successor,
                validate_units=config.verify.validate_units,
                mode=config.switch.mode,
            ),
            State.verify: partial(
                verify,
                activator=activator,
                builder=nix,
                through=through,
                wanted=config.verify,
                successor=around.successor,
                hooks=hooks,
            ),
            State.rollback: partial(
                rollback, activator=activator, builder=nix, golden=golden, through=through, wanted=config.verify
            ),
        },
        limits={
            State.fetch: limits.fetch,
            State.capture: limits.capture,
            State.push: limits.push,
            State.pull: limits.pull,
            State.build: building + _SLACK,
            State.switch: config.switch.timeout + _SLACK,
            State.verify: proving + config.switch.timeout + after,
            State.rollback: proving + 2 * config.switch.timeout,
        },
        retry={
            State.fetch: config.retry.fetch,
            State.capture: config.retry.capture,
            State.push: config.retry.push,
            State.pull: config.retry.pull,
            State.build: config.retry.build,
        },
    )
    return steps, problems


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


def _people(config: Config, around: Surroundings) -> tuple[tuple[Dotfiles, ...], tuple[str, ...]]:
    people: list[Dotfiles] = []
    problems = []
    for section in config.dotfiles:
        try:
            dotfiles = PersonDotfiles(around.processes, section, host=config.host)
            people.append(InTurn(dotfiles, around.turns.setdefault(section.user, Turn())))
        except Failed as error:
            problems.append(error.explained())
    return tuple(people), tuple(problems)


def _signatures(system: SystemConfig, mirror: Path, around: Surroundings) -> Signatures | None:
    wanted = system.signatures
    if wanted is None:
        return None
    return Signatures(
        around.processes,
        mirror,
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
