"""Decide whether a request whose head was parsed may enter the chain."""

from __future__ import annotations

from ..http.errors import Refused
from ..http.messages import Client
from .line import RequestLine
from .listener_context import ListenerContext
from .plain import PlainPolicy


def admit(context: ListenerContext, plain: PlainPolicy | None, line: RequestLine, client: Client) -> None:
    """Raise if this request must not enter the chain; return if it may.

    :param plain: policy of the listener without TLS; None on a TLS listener.
    :raise ProxyError: 403 or 308 from the plain policy; 421 for another scheme or host; 503 if memory is used up.
    """
    if plain is not None and (refusal := plain.judge(line, client)) is not None:
        raise refusal
    if line.scheme == b"https" and client.scheme != "https":
        # RFC 9110 §7.4: a request for an https URI must have arrived over https.
        raise Refused("The request is for an https URL, but came over plain HTTP.", status=421)
    if not context.public_hosts.serve(client.host):
        # RFC 9110 §15.5.20: 421 means "not this server"; 400 would say that the request is malformed.
        raise Refused("This host is not served here; check the host name in the URL.", status=421)
    context.budget.admit()
