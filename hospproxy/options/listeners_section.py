"""The sections [[listeners]] and [[listeners.certificates]]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from attrs import field, frozen
from attrs.converters import optional

from .addresses import Address, parse_address
from .fields import Network, address, choice, names, networks, path, switch, whole


@frozen(slots=True, kw_only=True)
class CertificateSettings:
    """A further certificate of a listener, used for the host names it contains. May be repeated."""

    LIVE: ClassVar = names("")
    RESTART: ClassVar = names("certificate_file private_key_file")

    certificate_file: Path | None = field(
        default=None, converter=optional(Path), metadata=path("Certificate chain (PEM).")
    )
    private_key_file: Path | None = field(
        default=None, converter=optional(Path), metadata=path("Private key of the certificate (PEM).")
    )


@frozen(slots=True, kw_only=True)
class ListenerSettings:
    """A port that clients connect to. `[[listeners]]` may be repeated."""

    LIVE: ClassVar = names("")
    RESTART: ClassVar = names(
        "url certificate_file private_key_file client_certificates client_ca_file hsts_s plain "
        "proxy_protocol proxy_protocol_from"
    )

    url: str = field(
        default="https://127.0.0.1:8443",
        metadata=address(
            "Where to listen: an IP address of this machine, or localhost, and a port.", "https", "http"
        ),
    )
    certificate_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("Certificate chain (PEM). Default: a self-signed certificate, created in `state_dir`."),
    )
    private_key_file: Path | None = field(
        default=None, converter=optional(Path), metadata=path("Private key of the certificate (PEM).")
    )
    certificates: tuple[CertificateSettings, ...] = ()
    client_certificates: str = field(
        default="off",
        metadata=choice(
            "Client certificates: not requested, requested, or required (a client without one is rejected).",
            "off",
            "optional",
            "required",
        ),
    )
    client_ca_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("CA certificates (PEM) that sign client certificates."),
    )
    hsts_s: int = field(
        default=0,
        metadata=whole(
            "seconds",
            0,
            63_072_000,
            "`max-age` of `Strict-Transport-Security`: how long browsers use HTTPS only. 0: the header is"
            " not sent.",
        ),
    )
    plain: str = field(
        default="reject",
        metadata=choice(
            "What an `http://` listener does: respond with 403, redirect GET and HEAD to HTTPS, or serve"
            " requests.",
            "reject",
            "redirect",
            "serve",
        ),
    )

    proxy_protocol: bool = field(
        default=False,
        metadata=switch(
            "Expect every connection to begin with a PROXY header (version 1 or 2, before TLS), as some"
            " load balancers send it."
        ),
    )
    proxy_protocol_from: tuple[Network, ...] = field(
        default=(),
        metadata=networks(
            "With `proxy_protocol`: addresses that may connect; other connections are closed at once."
            " Empty: `trusted_proxies`."
        ),
    )

    @property
    def address(self) -> Address:
        return parse_address(self.url)
