"""Builds the admin listener from the settings."""

from __future__ import annotations

import secrets
from typing import Any, Final

from ..arrival.front.trust import TrustedProxies
from ..arrival.listener_context import ListenerContext
from ..arrival.listeners import Listener, Listeners
from ..config import ArrivalSettings, Settings
from ..http.messages import Request, Response
from ..interfaces import IHandler
from ..keys.origin_secrets import OriginSecrets, read_secrets
from ..process.host import Host
from .admin_access import AdminAccess
from .audit_page import html
from .audit_page.build_audit_page import AuditPageService
from .metrics import Metrics

LIMITS: Final = ArrivalSettings(max_connections=100, body_memory_bytes=1 << 20, unknown_body_bytes=0)
"""Limits of the admin listener. Its pages take small forms: every body is read before its request is handed on."""


def access_for(settings: Settings, audit: AuditPageService | None) -> AdminAccess | None:
    """Return what decides who may read what; None: everybody who reaches the listener may.

    :param audit: the audit page, whose users may log in; None: it is switched off, and nobody can.
    :raise SecretError: a token is not usable.
    """
    admin = settings.admin
    if admin.access == "open":
        return None

    def read() -> OriginSecrets:
        return OriginSecrets.of(read_secrets(admin.scrape_token_files, (), {}), secrets.token_bytes(32))

    log_in = audit.page.log_in if audit is not None else _no_user
    return AdminAccess(log_in, read if admin.scrape_token_files else None)


async def _no_user(_request: Request) -> Response:
    return html.page(
        403, b"Nobody can log in: audit_page.enabled is false.\n", kind=b"text/plain; charset=utf-8"
    )


def admin_listener(
    settings: Settings, reactor: Any, host: Host, handler: IHandler, metrics: Metrics, trust: TrustedProxies
) -> Listeners:
    """Build the admin listener; nothing is bound.

    :raise ListenerError: its URL is not usable.
    :raise CertificateError: its certificate or key, or the CA of its clients, is not usable.
    """
    options = settings.admin
    context = ListenerContext(
        handler=handler, clock=reactor, limits=LIMITS, trust=trust, wall=host.wall, meter=metrics
    )
    listener = Listener(
        options.url,
        options.certificate_file,
        options.private_key_file,
        plain="serve",
        client_ca_file=options.client_ca_file,
        client_certificates="optional" if options.client_ca_file is not None else "off",
    )
    return Listeners([listener], context, settings.state_dir / "admin", options.reached_as)
