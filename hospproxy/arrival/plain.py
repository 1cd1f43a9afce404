"""Serves, redirects or refuses requests on a listener without TLS, while clients migrate to HTTPS."""

from __future__ import annotations

import enum

from attrs import frozen

from ..http.errors import Refused
from ..http.messages import Client
from .authority import without_port
from .line import RequestLine


class PlainHttpMode(enum.Enum):
    """The policies. None of them makes an exception for loopback."""

    REJECT = "reject"
    REDIRECT = "redirect"
    SERVE = "serve"


@frozen(slots=True)
class PlainPolicy:
    """The policy of one plain listener.

    :param policy: what to do with a request.
    :param https_port: port where the same host is served with TLS; for redirects.
    """

    policy: PlainHttpMode = PlainHttpMode.REJECT
    https_port: int = 443

    def judge(self, line: RequestLine, client: Client) -> Refused | None:
        """Return the refusal or redirect for a request, or None to accept it.

        REDIRECT accepts requests that a trusted proxy reports as https: redirecting those would loop. Only GET and
        HEAD are redirected. With any other method the secret has been sent in plain text already; a 403 makes
        somebody fix the client.
        """
        if self.policy is PlainHttpMode.SERVE or (
            self.policy is PlainHttpMode.REDIRECT and client.scheme == "https"
        ):
            return None
        if self.policy is PlainHttpMode.REDIRECT and line.method in (b"GET", b"HEAD") and client.host:
            return Refused(
                "This is served over HTTPS only.",
                status=308,
                headers=((b"location", self._location(line, client)),),
            )
        return Refused("This is served over HTTPS only.", status=403)

    def _location(self, line: RequestLine, client: Client) -> bytes:
        port = "" if self.https_port == 443 else f":{self.https_port}"
        query = b"" if line.query is None else b"?" + line.query
        return b"https://%s%s%s%s" % (
            without_port(client.host).encode("ascii"),
            port.encode("ascii"),
            line.path,
            query,
        )
