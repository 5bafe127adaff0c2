"""The whole file."""

import socket

import msgspec

from gitopsd.config.daemon import (
    ControlConfig,
    FilesConfig,
    HistoryConfig,
    MetricsConfig,
    NotifyConfig,
    RetryConfig,
    TimeoutConfig,
)
from gitopsd.config.dotfiles import DotfilesConfig
from gitopsd.config.kinds import Section
from gitopsd.config.proof import BootConfig, SpaceConfig, VerifyConfig
from gitopsd.config.system import RebootConfig, SwitchConfig, SystemConfig


class Config(Section, frozen=True, kw_only=True):
    """The whole file.

    Args:
        host: the name of this host under `nixosConfigurations`; default is the hostname.

    """

    host: str = msgspec.field(default_factory=socket.gethostname)
    dotfiles: tuple[DotfilesConfig, ...] = ()
    config: SystemConfig | None = None
    switch: SwitchConfig = SwitchConfig()
    verify: VerifyConfig = VerifyConfig()
    boot: BootConfig = BootConfig()
    space: SpaceConfig = SpaceConfig()
    retry: RetryConfig = RetryConfig()
    timeouts: TimeoutConfig = TimeoutConfig()
    reboot: RebootConfig = RebootConfig()
    control: ControlConfig = ControlConfig()
    history: HistoryConfig = HistoryConfig()
    files: FilesConfig = FilesConfig()
    metrics: MetricsConfig = MetricsConfig()
    notify: NotifyConfig = NotifyConfig()
