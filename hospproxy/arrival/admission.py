"""Whether a request that was understood may come in at all."""

from __future__ import annotations

from ..errors import Refused
from ..messages import Client
from .house import House
from .line import RequestLine
from .plain import PlainPolicy


def admit(house: House, plain: PlainPolicy | None, line: RequestLine, client: Client) -> None:
    """Let a request in, or say why not.

    :param plain: the policy of its listener; None where the listener speaks TLS.
    :raise ProxyError: the plain port's 403 or 308, 421 for what is not ours to answer, 503.
    """
    if plain is not None and (refusal := plain.judge(line, client)) is not None:
        raise refusal
    if line.scheme == b"https" and client.scheme != "https":
        # RFC 9110 §7.4: what is asked for as https must have come by https.
        raise Refused("An https address was asked for over plain HTTP.", status=421)
    if not house.public_hosts.serve(client.host):
        # RFC 9110 §15.5.20: 421 says "not this server"; 400 would say that the request is malformed.
        raise Refused("This host is not served here.", status=421)
    house.budget.admit()
