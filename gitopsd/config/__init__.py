"""`/etc/gitopsd/config.toml`: TOML, decoded into frozen types; all faults are reported at once.

The docstrings of the sections are the reference of the options.
"""

from gitopsd.config.consistency import cross_check, loopback
from gitopsd.config.daemon import (
    ControlConfig,
    FilesConfig,
    HistoryConfig,
    MetricsConfig,
    NotifyConfig,
    RetryConfig,
    RetrySection,
    TimeoutConfig,
)
from gitopsd.config.dotfiles import DotfilesConfig, MergeConfig
from gitopsd.config.faults import Fault, as_expected, as_found, unknown_key
from gitopsd.config.kinds import UNIT, UNITS, Seconds, Section, Size, UnitName, duration, size
from gitopsd.config.proof import BootConfig, ProbeConfig, SpaceConfig, VerifyConfig
from gitopsd.config.reading import DEFAULT_PATH, load, parse
from gitopsd.config.system import HookConfig, RebootConfig, SignaturesConfig, SwitchConfig, SystemConfig
from gitopsd.config.whole import Config

__all__ = [
    "DEFAULT_PATH",
    "UNIT",
    "UNITS",
    "BootConfig",
    "Config",
    "ControlConfig",
    "DotfilesConfig",
    "Fault",
    "FilesConfig",
    "HistoryConfig",
    "HookConfig",
    "MergeConfig",
    "MetricsConfig",
    "NotifyConfig",
    "ProbeConfig",
    "RebootConfig",
    "RetryConfig",
    "RetrySection",
    "Seconds",
    "Section",
    "SignaturesConfig",
    "Size",
    "SpaceConfig",
    "SwitchConfig",
    "SystemConfig",
    "TimeoutConfig",
    "UnitName",
    "VerifyConfig",
    "as_expected",
    "as_found",
    "cross_check",
    "duration",
    "load",
    "loopback",
    "parse",
    "size",
    "unknown_key",
]
