"""The sections [[listeners]] and [[listeners.certificates]]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen
from attrs.converters import optional

from .addresses import Address, parse_address
from .fields import Network, address, choice, networks, path, switch, whole


@frozen(slots=True, kw_only=True)
class CertificateSettings:
    """A further certificate of a listener, for the names that stand in it. It may stand several times."""

    certificate_file: Path | None = field(
        default=None, converter=optional(Path), metadata=path("Certificate chain (PEM).")
    )
    private_key_file: Path | None = field(
        default=None, converter=optional(Path), metadata=path("Private key of the certificate (PEM).")
    )


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
    certificates: tuple[CertificateSettings, ...] = ()
    client_certificates: str = field(
        default="off",
        metadata=choice(
            "Whether clients are asked for a certificate, and turned away without one.",
            "off",
            "optional",
            "required",
        ),
    )
    client_ca_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("Certificates (PEM) of the authorities that vouch for clients."),
    )
    hsts_s: int = field(
        default=0,
        metadata=whole(
            "seconds",
            0,
            63_072_000,
            "Strict-Transport-Security: how long browsers shall come by HTTPS only; 0 to say nothing of it.",
        ),
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
