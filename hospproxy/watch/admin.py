"""The admin listener: health and metrics for operators, the audit page for auditors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from ..arrival.authority import PublicHosts
from ..contract import page as contract_page
from ..contract.contract import Contract
from ..contract.page import ContractPage
from ..http.errors import ProxyError, reason
from ..http.messages import Headers, Request, Response
from ..interfaces import IHandler
from . import merge
from .admin_access import HEALTH_CHECKS, AdminAccess
from .audit_page import html, routes
from .audit_page.page import AuditPage
from .health import Health
from .merge import Overview, Snapshot
from .metrics import CONTENT_TYPE, Metrics
from .reload_page import PATH as RELOAD
from .reload_page import ReloadPage
from .status import status_page
from .status.status_page import StatusPage

_NONE = Headers()
_OF_ALL = (b"/", b"/ready", b"/metrics")
"""Paths whose responses cover all workers."""


@implementer(IHandler)
class Admin:
    """Serves ``/live`` and ``/ready`` to anybody, ``/audit`` with credentials, and the rest as ``admin.access`` says.

    :param audit: the audit page; None: it is switched off.
    :param hosts: host names to accept, besides localhost and loopback addresses.
    :param gather: takes this worker's snapshot and returns those of all workers; None: there are no others.
    :param status: the status page; None: it is switched off.
    :param access: decides who may read more than the health checks; None: everybody.
    :param contract: the one in force, which is served too; None: it is not.
    :param reload: applies the edited options file; None: it is not served.
    """

    _log = Logger()

    def __init__(
        self,
        health: Health,
        metrics: Metrics,
        audit: AuditPage | None = None,
        hosts: Iterable[str] = (),
        gather: Callable[[Snapshot], Awaitable[Overview]] | None = None,
        status: StatusPage | None = None,
        access: AdminAccess | None = None,
        reload: ReloadPage | None = None,
        contract: Contract | None = None,
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._audit = audit
        self._gather = gather
        self._status = status
        self._access = access
        self._reload = reload
        self._hosts = PublicHosts.of(hosts)
        self._pages = {
            b"/": self._index,
            b"/style.css": lambda _overview: html.style(),
            b"/live": lambda _overview: self._live(),
            b"/ready": self._ready,
            b"/metrics": self._numbers,
        }
        self._contract = ContractPage(contract) if contract is not None else None

    def handle(self, request: Request) -> Deferred[Response]:
        if not self._is_ours(request):
            # Otherwise a web page whose host name resolves to 127.0.0.1 could read this (DNS rebinding).
            return succeed(_error(421, "This listener accepts only localhost and the names in admin.hosts."))
        if self._audit is not None and routes.is_below(request.path):
            # Do not catch failures of the audit page here: it must give no response without a record.
            return Deferred.fromCoroutine(self._audit.answer(request))
        if self._access is not None and not self._access.is_open(request):
            # As for the audit page: a wrong log-in that cannot be recorded gets no response.
            return Deferred.fromCoroutine(self._after_log_in(request, self._access))
        return self._given(request)

    async def _after_log_in(self, request: Request, access: AdminAccess) -> Response:
        refusal = await access.refusal(request)
        return refusal if refusal is not None else await self._given(request)

    def _given(self, request: Request) -> Deferred[Response]:
        if self._reload is not None and request.path == RELOAD:
            return Deferred.fromCoroutine(self._reload.answer(request, logged_in=self._access is not None))
        if self._gather is not None and request.path in _OF_ALL:
            return Deferred.fromCoroutine(self._of_all(request, self._gather))
        try:
            answer = self._answer(request, None)
        except Exception:
            answer = self._failed(request)
        return succeed(answer)

    async def _of_all(self, request: Request, gather: Callable[[Snapshot], Awaitable[Overview]]) -> Response:
        try:
            overview = await gather(self._metrics.snapshot(self._health.reasons()))
            return self._answer(request, overview)
        except CancelledError:
            raise  # the client is gone
        except Exception:
            return self._failed(request)

    def _failed(self, request: Request) -> Response:
        self._log.failure("admin page {path} failed (a bug)", path=request.path.decode("latin-1"))
        return _error(500)

    def refuse(self, request: Request, error: ProxyError) -> Deferred[Response]:  # noqa: ARG002
        return succeed(_error(error.status, error.detail, error.headers))

    def body_limit(self, method: str, path: bytes) -> int:  # noqa: ARG002
        return 1024  # no page takes a body, but some clients send one

    def _answer(self, request: Request, overview: Overview | None) -> Response:
        if self._contract is not None and request.path in contract_page.PATHS:
            return self._contract.answer(request)
        page = self._pages.get(request.path)
        status = self._status if request.path in status_page.PATHS else None
        if page is None and status is None:
            return _error(404)
        if request.method not in ("GET", "HEAD"):
            return _error(405, headers=Headers(((b"allow", b"GET, HEAD"),)))
        if status is not None:
            return status.answer(request)
        assert page is not None
        if (
            self._access is not None
            and request.path in HEALTH_CHECKS
            and not self._access.is_program(request)
        ):
            return _bare(request.path, page(overview).status)
        return page(overview)

    def _is_ours(self, request: Request) -> bool:
        host = request.client.host
        if is_loopback(host) or (bool(self._hosts.names) and self._hosts.serve(host)):
            return True
        # An address is not a name that DNS rebinding can redirect. Where nobody needs credentials, only the health
        # checks are open to every address: a kubelet asks them so.
        return is_address(host) and (self._access is not None or request.path in HEALTH_CHECKS)

    def _reasons(self, overview: Overview | None) -> dict[str, str]:
        return dict(self._health.reasons()) if overview is None else merge.reasons(overview)

    def _index(self, overview: Overview | None) -> Response:
        missing = merge.missing(overview) if overview is not None else {}
        values = {
            "audit": self._audit is not None,
            "status": self._status is not None,
            "reasons": self._reasons(overview),
            "missing": missing,
            "contract": self._contract is not None,
        }
        return html.page(200, html.render("index.html", values))

    def _live(self) -> Response:
        return _json(200, {"live": True})

    def _ready(self, overview: Overview | None) -> Response:
        reasons = self._reasons(overview)
        said: dict[str, Any] = {"ready": not reasons, "reasons": reasons}
        if overview is not None:
            said["missing"] = merge.missing(overview)
        return _json(503 if reasons else 200, said)

    def _numbers(self, overview: Overview | None) -> Response:
        text = self._metrics.render() if overview is None else merge.merged(overview)
        return _page(200, CONTENT_TYPE, text)


def is_loopback(host: str) -> bool:
    """Whether an authority is localhost or a loopback address.

    :param host: a Host field's value. "" (HTTP/1.0 without the field) passes, since every browser sends the field.
    """
    name = _without_port(host)
    if name.lower().rstrip(".") in ("", "localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def is_address(host: str) -> bool:
    """Whether an authority is an IP address, with or without a port."""
    try:
        ip_address(_without_port(host))
    except ValueError:
        return False
    return True


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        name = host
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name


def _bare(path: bytes, status: int) -> Response:
    """Say no more than the status does: the client has not logged in."""
    return _json(status, {path[1:].decode(): status == 200})


def _page(status: int, content_type: bytes, body: bytes, more: Headers = _NONE) -> Response:
    pairs = (
        (b"content-type", content_type),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'"),
    )
    return Response(status, Headers((*pairs, *more.pairs)), body)


def _json(status: int, document: Any, more: Headers = _NONE) -> Response:
    return _page(status, b"application/json", msgspec.json.encode(document) + b"\n", more)


def _error(status: int, detail: str = "", headers: Headers = _NONE) -> Response:
    return _json(status, {"status": status, "error": reason(status), "detail": detail}, headers)
