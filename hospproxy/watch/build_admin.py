"""Builds the admin listener from the settings."""

from __future__ import annotations

from typing import Any, Final

from ..arrival.front.trust import TrustedProxies
from ..arrival.listener_context import ListenerContext
from ..arrival.listeners import Listener, Listeners
from ..config import ArrivalSettings, Settings
from ..host import Host
from ..interfaces import IHandler
from .metrics import Metrics

LIMITS: Final = ArrivalSettings(max_connections=100, body_memory_bytes=1 << 20, unknown_body_bytes=0)
"""Limits of the admin listener. Its pages take small forms: every body is read before its request is handed on."""


def admin_listener(
    settings: Settings, reactor: Any, host: Host, handler: IHandler, metrics: Metrics, trust: TrustedProxies
) -> Listeners:
    """Build the admin listener; nothing is bound.

    :raise ListenerError: its URL is not usable.
    :raise CertificateError: its certificate or key is not usable.
    """
    options = settings.admin
    house = ListenerContext(
        handler=handler, clock=reactor, limits=LIMITS, trust=trust, wall=host.wall, meter=metrics
    )
    listener = Listener(options.url, options.certificate_file, options.private_key_file, plain="serve")
    return Listeners([listener], house, settings.state_dir / "admin", options.reached_as)
