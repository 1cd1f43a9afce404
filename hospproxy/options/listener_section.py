"""The section [[listeners]]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen
from attrs.converters import optional

from .addresses import Address, parse_address
from .fields import Network, address, choice, networks, path, switch


@frozen(slots=True, kw_only=True)
class ListenerSettings:
    """A port that clients use. `[[listeners]]` may stand several times."""

    url: str = field(
        default="https://127.0.0.1:8443",
        metadata=address(
            "Where to listen: an IP address of this host or localhost, and a port.", "https", "http"
        ),
    )
    certificate_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path(
            "Certificate chain (PEM). Without one a self-signed certificate is made in `state_dir`."
        ),
    )
    private_key_file: Path | None = field(
        default=None, converter=optional(Path), metadata=path("Private key of the certificate (PEM).")
    )
    plain: str = field(
        default="reject",
        metadata=choice(
            "What an `http://` listener does: answer 403, redirect GET and HEAD to HTTPS, or serve.",
            "reject",
            "redirect",
            "serve",
        ),
    )
    proxy_protocol: bool = field(
        default=False,
        metadata=switch(
            "Whether every connection begins with a PROXY header (version 1 or 2, before TLS), as some balancers send"
            " it."
        ),
    )
    proxy_protocol_from: tuple[Network, ...] = field(
        default=(),
        metadata=networks(
            "With `proxy_protocol`: who may connect; anybody else is closed at once. Empty: `trusted_proxies`."
        ),
    )

    @property
    def address(self) -> Address:
        return parse_address(self.url)
