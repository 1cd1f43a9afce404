"""The simulated system: virtual time, a network, machines with clocks and disks, and processes of the proxy on them."""

from typing import TYPE_CHECKING, Any

from .link import Link
from .machine import Host, Machine, WallClock
from .network import Network
from .options import contract_of, settings_of
from .process import Process
from .world import Entry, Simulation, TimeStands, Trouble

if TYPE_CHECKING:
    from .redis import Redis

__all__ = [
    "Entry",
    "Host",
    "Link",
    "Machine",
    "Network",
    "Process",
    "Redis",
    "Simulation",
    "TimeStands",
    "Trouble",
    "WallClock",
    "contract_of",
    "settings_of",
]


def __getattr__(name: str) -> Any:
    """Import Redis late: fakeredis takes a while to import, and a single process does not need it."""
    if name != "Redis":
        raise AttributeError(name)
    from .redis import Redis

    return Redis
