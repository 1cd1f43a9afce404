"""What a listener without TLS does with a request: the policy of a migration from plain HTTP."""

from __future__ import annotations

import enum

from attrs import frozen

from ..errors import Refused
from ..messages import Client
from .authority import without_port
from .line import RequestLine


class Plain(enum.Enum):
    """The policies. Loopback is no exception to any of them."""

    REJECT = "reject"
    REDIRECT = "redirect"
    SERVE = "serve"


@frozen(slots=True)
class PlainPolicy:
    """The policy of one plain listener.

    :param policy: what to do.
    :param https_port: where the same host is served with TLS; for redirections.
    """

    policy: Plain = Plain.REJECT
    https_port: int = 443

    def judge(self, line: RequestLine, client: Client) -> Refused | None:
        """The answer that arrival gives itself, or None to let the request in.

        REDIRECT lets in what a listed proxy says came by https: redirecting that would go round in circles.
        Only GET and HEAD are redirected: with anything else the secret is out already, and 403 makes somebody
        mend the client.
        """
        if self.policy is Plain.SERVE or (self.policy is Plain.REDIRECT and client.scheme == "https"):
            return None
        if self.policy is Plain.REDIRECT and line.method in (b"GET", b"HEAD") and client.host:
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
