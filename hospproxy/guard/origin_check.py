"""Check that a request came the required way: through the gateway in front, and from the client over HTTPS."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve
from zope.interface import implementer

from ..arrival.authority import without_port
from ..exchange.exchange import Exchange
from ..exchange.words import EntranceRule
from ..http.errors import Refused
from ..http.messages import Request, Response
from ..http.repeat import Repeat
from ..interfaces import IMeter, IProcessor, ProceedTo
from ..keys.origin_secrets import OriginSecrets

HTTPS_ONLY = "This is served over HTTPS only."


@implementer(IProcessor)
class OriginCheck:
    """Refuses requests that came another way, before any other work is done for them.

    :param header: lower-cased name of the field with the gateway's secret.
    :param read: reads the valid secrets; None if no secret is required.
    :param https: "off", "reject" or "redirect": what to do with requests that clients sent over plain HTTP.
    :param public_hosts: the authorities that are served, as in the options.
    :raise SecretError: a secret is not usable.
    """

    def __init__(
        self,
        header: bytes,
        read: Callable[[], OriginSecrets] | None,
        https: str,
        public_hosts: tuple[str, ...],
        meter: IMeter,
    ) -> None:
        self._header = header
        self._read = read
        self._secrets = read() if read is not None else None
        self._https = https
        self._public_hosts = public_hosts
        self._meter = meter

    def reload(self) -> None:
        """Read the secrets again. If one is not usable, nothing changes.

        :raise SecretError: a secret is not usable.
        """
        if self._read is not None:
            self._secrets = self._read()

    async def process(self, exchange: Exchange, proceed: ProceedTo[Exchange]) -> Response:
        """Remove the gateway's secret from the request; refuse it if it did not come the required way.

        :raise Refused: 403 or 308.
        """
        request = exchange.request
        if self._secrets is not None:
            given = request.headers.all(self._header)
            # Remove the secret before any other processor sees the request, in every case.
            exchange = evolve(
                exchange, request=evolve(request, headers=request.headers.without(self._header))
            )
            if len(given) != 1 or not self._secrets.know(given[0]):
                self._hit(exchange, "origin:wrong" if given else "origin:missing")
                raise Refused("This service must be reached through its gateway.", status=403)
        if self._https != "off" and request.client.scheme != "https":
            self._hit(exchange, "https:required")
            raise self._https_only(request)
        return await proceed(exchange)

    def repeat(self, _exchange: Exchange, _response: Response) -> Repeat:
        """An equal request passes until the secrets are read again."""
        secrets = self._secrets
        return Repeat(lambda _now: self._secrets is secrets)

    def _hit(self, exchange: Exchange, rule: EntranceRule) -> None:
        exchange.trace.rule_hits.append(rule)
        self._meter.count("entrance_refused_total", rule=rule)

    def _https_only(self, request: Request) -> Refused:
        """Return the refusal of a request that came without HTTPS: a redirect (308) or a 403.

        Only GET and HEAD are redirected, as on plain listeners: with any other method the secret was sent in plain
        text already.
        """
        host = request.client.host
        if self._https != "redirect" or request.method not in ("GET", "HEAD") or not host:
            return Refused(HTTPS_ONLY, status=403)
        query = b"" if request.query is None else b"?" + request.query
        location = b"https://" + self._public_host(host).encode("ascii") + request.path + query
        return Refused(HTTPS_ONLY, status=308, headers=((b"location", location),))

    def _public_host(self, host: str) -> str:
        """Return the HTTPS authority of the same host: with the port in the options, otherwise without one (443).

        The port in the plain request belongs to the gateway's plain listener, so it is not used.
        """
        name = without_port(host)
        ports = [each for each in self._public_hosts if each != name and without_port(each) == name]
        return ports[0] if len(ports) == 1 else name
