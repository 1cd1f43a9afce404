"""Applies changed options to a running service: its parts, its listeners and its status page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen
from twisted.logger import Logger

from ..arrival.authority import PublicHosts
from ..arrival.descriptors import open_files, within_descriptors
from ..arrival.front.trust import TrustedProxies
from ..arrival.listeners import Listeners
from ..arrival.tls.certificates import CertificateError
from ..config import Settings
from ..control.messages import ControlError
from ..keys.origin_secrets import SecretError
from ..record.sinks.build_sinks import SinkError
from ..watch.admin_access import AdminAccess
from ..watch.build_admin import LIMITS
from ..watch.status.build_status import Status
from .parts_reload import PartsReload

_log = Logger()


def trust_of(settings: Settings) -> TrustedProxies:
    """Return the trusted proxies and the fields in which they are believed."""
    return TrustedProxies(
        settings.trusted_proxies, settings.front.forwarded_header, settings.front.scheme_field
    )


@frozen(slots=True, kw_only=True)
class ServiceReload:
    """What a reload changes. Ports, connections, what is remembered, and requests in flight stay as they are.

    :param admin: the admin listener; None if this process has none.
    :param access: who may read what of the admin listener; None: everybody.
    :param use: called with options once they are in force.
    """

    parts: PartsReload
    listeners: Listeners
    admin: Listeners | None
    access: AdminAccess | None
    status: Status
    use: Callable[[Settings], None]

    async def apply(self, settings: Settings, prepared: Callable[[], Awaitable[None]]) -> None:
        """Apply other options to all parts of this process, or to none.

        :param prepared: waited for once nothing can fail any more, and before anything has changed.
        :raise ControlError: they cannot be applied; nothing has changed.
        """
        try:
            commit = self.prepare(settings)
        except (SecretError, SinkError) as error:
            raise ControlError(str(error)) from None
        await prepared()
        commit()

    def read_again(self, settings: Settings) -> None:
        """Read certificates and secrets again; an unusable one does not replace the one in use, and is logged.

        :param settings: in force.
        """
        try:
            commit = self.prepare(settings)
        except SecretError as error:
            _log.error("[origin] secrets not reloaded, old ones kept: {why}", why=str(error))
        except SinkError as error:
            _log.error("audit sinks not reloaded, old ones kept: {why}", why=str(error))
        else:
            commit()
            return
        self.read_certificates()

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """Do what can fail, and change nothing.

        :return: applies the options; it does not fail.
        :raise SecretError: a secret of [origin] is not usable.
        :raise SinkError: an audit sink cannot be made.
        """
        apply_to_parts = self.parts.prepare(settings)

        def commit() -> None:
            limits, trust = within_descriptors(settings.arrival, open_files()), trust_of(settings)
            apply_to_parts()
            # Last: what listeners remember of earlier answers is forgotten once the chain has changed.
            hosts = PublicHosts.of(settings.public_hosts)
            self.listeners.apply(limits, trust, hosts, settings.cache.shortcuts)
            if self.admin is not None:
                self.admin.apply(LIMITS, trust, PublicHosts(), 0)
            self.status.reload(settings)
            self.use(settings)
            self.read_certificates()
            if settings.origin.enabled:
                _log.info("[origin] secrets reloaded")

        return commit

    def read_certificates(self) -> None:
        """Read certificates and the secrets of [admin] again; an unusable one replaces none, and is logged."""
        try:
            if self.access is not None:
                self.access.reload()
                _log.info("[admin] secrets reloaded")
        except SecretError as error:
            _log.error("[admin] secrets not reloaded, old ones kept: {why}", why=str(error))
        for what, each in (("clients", self.listeners), ("the admin page", self.admin)):
            if each is None:
                continue
            try:
                each.reload()
            except CertificateError as error:
                _log.error(
                    "certificates for {what} not reloaded, old ones kept: {why}", what=what, why=str(error)
                )
            else:
                _log.info("certificates reloaded for {what}", what=what)
