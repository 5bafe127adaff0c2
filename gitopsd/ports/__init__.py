"""What the steps and the socket need from the rest, named by role.

Steps know these protocols and nothing of the programs behind them. Each method says which errors of `errors` it
raises; `Transient` may come from every method that talks to the world.
"""

from gitopsd.ports.building import Builder, Inspector
from gitopsd.ports.configuration import Checkout, ConfigSource, PublishedCheckout, Signatures
from gitopsd.ports.dotfiles import Choices, Dotfiles, Gate
from gitopsd.ports.record import Herald, Meter, Store
from gitopsd.ports.running import Clock, Reporter
from gitopsd.ports.supervisor import Supervisor
from gitopsd.ports.system import Activator, Golden, Hooks, Power, Prober, Units, Watch
from gitopsd.ports.takeover import Activates, OwnLife, Successor

__all__ = [
    "Activates",
    "Activator",
    "Builder",
    "Checkout",
    "Choices",
    "Clock",
    "ConfigSource",
    "Dotfiles",
    "Gate",
    "Golden",
    "Herald",
    "Hooks",
    "Inspector",
    "Meter",
    "OwnLife",
    "Power",
    "Prober",
    "PublishedCheckout",
    "Reporter",
    "Signatures",
    "Store",
    "Successor",
    "Supervisor",
    "Units",
    "Watch",
]
