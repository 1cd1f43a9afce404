"""The section [admin]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from attrs import field, frozen
from attrs.converters import optional

from .addresses import Address, parse_address
from .fields import address, choice, hosts, listed, names, path, switch


@frozen(slots=True, kw_only=True)
class AdminSettings:
    """The admin listener: health checks, metrics, the status page and the audit page."""

    LIVE: ClassVar = names("")
    RESTART: ClassVar = names(
        "enabled url certificate_file private_key_file hosts access scrape_token_files client_ca_file"
    )

    enabled: bool = field(default=True, metadata=switch("Serve `/live`, `/ready`, `/metrics` and `/audit`."))
    url: str = field(
        default="https://127.0.0.1:9443",
        metadata=address(
            "Where to listen. Health checks need no credentials; `access` says what else does not."
            " `http://` is allowed on loopback only.",
            "https",
            "http",
        ),
    )
    certificate_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path(
            "Certificate chain (PEM). Default: a self-signed certificate, created in `state_dir`/admin."
        ),
    )
    private_key_file: Path | None = field(
        default=None, converter=optional(Path), metadata=path("Private key of the certificate (PEM).")
    )
    hosts: tuple[str, ...] = field(
        default=(),
        metadata=hosts(
            "Values of `Host` that the admin listener accepts besides localhost and loopback addresses."
        ),
    )

    access: str = field(
        default="open",
        metadata=choice(
            "Who may read `/metrics`, `/status` and `/`: everybody who reaches the listener, or only users of"
            " the audit page, and programs with a token or a client certificate. With `login`, `/live` and"
            " `/ready` say only yes or no, and every IP address is accepted as `Host`.",
            "open",
            "login",
        ),
    )
    scrape_token_files: tuple[Path, ...] = field(
        default=(),
        metadata=listed(
            "Files with a token (16 to 4096 printable ASCII characters, mode 0600) that reads `/metrics` and"
            " `/status.json` as `Authorization: Bearer`: one, or two during a rotation. Read again on SIGHUP.",
            "paths",
            lambda value: Path(value).expanduser().absolute(),
        ),
    )
    client_ca_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path(
            "CA certificates (PEM): a client whose certificate they signed reads `/metrics` and"
            " `/status.json` without a log-in."
        ),
    )

    @property
    def address(self) -> Address:
        return parse_address(self.url)

    @property
    def reached_as(self) -> tuple[str, ...]:
        """The authorities under which the admin listener is reached if it is not on loopback.

        The listener's own IP address is safe: it is not a name that DNS rebinding can redirect.
        """
        address = self.address
        own = () if address.ip is None or address.ip.is_unspecified else (address.authority,)
        return (*self.hosts, *own)
