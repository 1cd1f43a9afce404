"""The section [admin]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen
from attrs.converters import optional

from .addresses import Address, parse_address
from .fields import address, hosts, path, switch


@frozen(slots=True, kw_only=True)
class AdminSettings:
    """Health, metrics and the audit page."""

    enabled: bool = field(
        default=True, metadata=switch("Whether `/live`, `/ready`, `/metrics` and `/audit` are served.")
    )
    url: str = field(
        default="https://127.0.0.1:9443",
        metadata=address(
            "Where. Health and metrics ask for no credentials; `http://` on the loopback interface only.",
            "https",
            "http",
        ),
    )
    certificate_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path(
            "Certificate chain (PEM). Without one a self-signed certificate is made in `state_dir`/admin."
        ),
    )
    private_key_file: Path | None = field(
        default=None, converter=optional(Path), metadata=path("Private key of the certificate (PEM).")
    )
    hosts: tuple[str, ...] = field(
        default=(),
        metadata=hosts("Names other than localhost by which it is reached, where it is not on loopback."),
    )

    @property
    def address(self) -> Address:
        return parse_address(self.url)
