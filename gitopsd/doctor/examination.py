"""The whole examination, in the order in which one thing depends on the other."""

import os
import pwd
from collections.abc import AsyncIterator
from pathlib import Path

from gitopsd.checkout.origin import origin_of
from gitopsd.config import Config, SystemConfig, load
from gitopsd.doctor import host
from gitopsd.doctor.finding import Finding, fault, ok, unknown
from gitopsd.doctor.homes import home
from gitopsd.doctor.remotes import remote
from gitopsd.errors import ConfigError, Failed
from gitopsd.tools.process import Processes


async def examine(config_file: Path, socket: str) -> AsyncIterator[Finding]:
    """Examine this host, as whoever runs us.

    Args:
        config_file: the configuration.
        socket: of the daemon.

    """
    root = os.geteuid() == 0
    config, finding = _configuration(config_file)
    yield finding
    processes = Processes(await host.daemons_path())
    async for each in host.programs(processes, config):
        yield each
    async for each in host.scanner(processes, config):
        yield each
    async for each in host.daemon(processes, socket):
        yield each
    for each in host.socket_rights(socket, config.control.group if config is not None else ""):
        yield each
    if root:
        for each in host.state(config):
            yield each
    else:
        yield unknown("state", f"only root can look into {host.STATE}")
    async for each in host.clock(processes):
        yield each
    if config is None:
        return
    async for each in host.timers(processes, config):
        yield each
    if config.config is not None:
        for each in host.system():
            yield each
        async for each in host.boot_units(processes):
            yield each
        system = config.config
        yield host.memory(system)
        if root:
            yield await host.builds(processes, system)
            yield await _source(processes, system)
        else:
            yield unknown("builds", "only root can try what the build user can do")
            yield unknown("config", "only root can ask its remote as root does")
    for section in config.dotfiles:
        if root or section.user == pwd.getpwuid(os.geteuid()).pw_name:
            async for each in home(processes, section):
                yield each
        else:
            yield unknown(f"dotfiles of {section.user}", f"only root and {section.user} can look at them")


async def _source(processes: Processes, system: SystemConfig) -> Finding:
    """Ask the remote that the daemon asks: where only a checkout is named, its `origin`."""
    try:
        url = system.repo_url or await origin_of(processes, system.checkout)
    except Failed as error:
        return fault("config", error.message, error.advice)
    return await remote(processes, "config", url, system.branch, ssh_key=system.ssh_key)


def _configuration(file: Path) -> tuple[Config | None, Finding]:
    try:
        config = load(file)
    except ConfigError as error:
        return None, fault("configuration", error.message, error.advice)
    return config, ok("configuration", f"{file} is right")
