"""Listening sockets that systemd has opened, and passes to this process at its start (``sd_listen_fds``)."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import MutableMapping, Sequence
from typing import Final

from attrs import frozen

from .listeners import ListenerError, place_of

FIRST_FD: Final = 3
LISTENERS: Final = "listeners"
"""Name (``FileDescriptorName=``) of sockets for clients. Without it systemd passes the name of the socket unit."""
ADMIN: Final = "admin"
"""Name of the socket of the admin listener."""
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@frozen(slots=True)
class PassedSocket:
    """A socket that systemd has passed.

    :param name: its ``FileDescriptorName=``.
    """

    name: str
    taken: socket.socket


@frozen(slots=True)
class PassedSockets:
    """The passed sockets by listener.

    :param clients: in the order of the listeners of the options; None: the listener opens its own.
    :param admin: empty: the admin listener opens its own, or is switched off.
    """

    clients: tuple[socket.socket | None, ...] = ()
    admin: tuple[socket.socket, ...] = ()

    @property
    def any(self) -> bool:
        """Whether systemd has passed a socket."""
        return bool(self.admin) or any(each is not None for each in self.clients)


NO_SOCKETS: Final = PassedSockets()


def take(environment: MutableMapping[str, str], pid: int, first: int = FIRST_FD) -> list[PassedSocket]:
    """Take the sockets that were passed to this process. Processes that it starts do not get them by themselves.

    :param environment: the variables ``LISTEN_…``, which are removed.
    :param pid: of this process. The variables of another one are not for it.
    :raise ListenerError: the variables, or a descriptor, are not what systemd passes.
    """
    given = {name: environment.pop(name, "") for name in _VARIABLES}
    if given["LISTEN_PID"] != str(pid):
        return []
    if not given["LISTEN_FDS"].isdecimal():
        raise ListenerError(f"LISTEN_FDS is not a number: {given['LISTEN_FDS']!r}")
    count = int(given["LISTEN_FDS"])
    names = given["LISTEN_FDNAMES"].split(":") if given["LISTEN_FDNAMES"] else [LISTENERS] * count
    if len(names) != count:
        raise ListenerError(f"LISTEN_FDS is {count}, and LISTEN_FDNAMES has {len(names)} names")
    passed = []
    for number, name in enumerate(names, first):
        try:
            os.set_inheritable(number, False)
            taken = socket.socket(fileno=number)
        except OSError as error:
            raise ListenerError(f"descriptor {number} from systemd is no socket: {error.strerror}") from None
        taken.setblocking(False)
        passed.append(PassedSocket(name, taken))
    return passed


def assigned(passed: Sequence[PassedSocket], listeners: Sequence[str], admin: str | None) -> PassedSockets:
    """Find the listener of each passed socket, by its name and its address.

    :param listeners: URLs of the listeners.
    :param admin: URL of the admin listener; None: it is switched off.
    :raise ListenerError: a socket belongs to no listener; the text names both sides.
    """
    clients: list[socket.socket | None] = [None] * len(listeners)
    found: list[socket.socket] = []
    for each in passed:
        where = _address(each)
        if each.name == ADMIN:
            if admin is None:
                raise ListenerError(
                    f"systemd passes a socket named admin ({where}), and admin.url is not set"
                )
            if found or not _is_at(each.taken, admin):
                raise ListenerError(
                    f"systemd passes a socket named admin at {where}, and admin.url is {admin}"
                )
            found.append(each.taken)
        elif each.name == LISTENERS or each.name.endswith(".socket"):
            index = next(
                (
                    index
                    for index, url in enumerate(listeners)
                    if clients[index] is None and _is_at(each.taken, url)
                ),
                None,
            )
            if index is None:
                raise ListenerError(
                    f"systemd passes a socket at {where}, and the listeners are {', '.join(listeners)}:"
                    " each ListenStream= must be the address of a listener"
                )
            clients[index] = each.taken
        else:
            raise ListenerError(
                f"systemd passes a socket named {each.name!r} ({where}): FileDescriptorName= must be"
                f" {LISTENERS} or {ADMIN}"
            )
    return PassedSockets(tuple(clients), tuple(found))


def _address(passed: PassedSocket) -> str:
    """Return where a socket listens, for messages.

    :raise ListenerError: it is not a listening socket of TCP.
    """
    taken = passed.taken
    if (
        taken.family not in (socket.AF_INET, socket.AF_INET6)
        or taken.type != socket.SOCK_STREAM
        or not taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    ):
        raise ListenerError(f"systemd passes a socket named {passed.name!r} that does not listen for TCP")
    host, port = taken.getsockname()[:2]
    return f"[{host}]:{port}" if taken.family == socket.AF_INET6 else f"{host}:{port}"


def _is_at(taken: socket.socket, url: str) -> bool:
    host, port = place_of(url)
    there, at = taken.getsockname()[:2]
    return port == at and ipaddress.ip_address(host) == ipaddress.ip_address(there.partition("%")[0])
