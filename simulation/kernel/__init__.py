"""The simulated system: virtual time, a network, machines with clocks and disks, and processes of the proxy on them."""

from .machine import Host, Machine, WallClock
from .network import Link, Network
from .options import contract_of, settings_of
from .process import Process
from .world import Entry, Simulation, Trouble

__all__ = [
    "Entry",
    "Host",
    "Link",
    "Machine",
    "Network",
    "Process",
    "Simulation",
    "Trouble",
    "WallClock",
    "contract_of",
    "settings_of",
]
