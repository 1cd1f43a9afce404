"""The sections [front] and [origin]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from attrs import field, frozen

from .fields import absolute, choice, listed, names, pattern

MIN_SECRET, MAX_SECRET = 16, 4096
MAX_SECRETS = 2


@frozen(slots=True, kw_only=True)
class FrontSettings:
    """Which headers of the `trusted_proxies` are read, and whether clients must use HTTPS."""

    LIVE: ClassVar = names("forwarded_header forwarded_proto_header require_https")
    RESTART: ClassVar = names("")

    forwarded_header: str = field(
        default="x-forwarded-for",
        metadata=choice(
            "Header in which they name the client. The other header is ignored: the client could have set"
            " it.",
            "x-forwarded-for",
            "forwarded",
        ),
    )
    forwarded_proto_header: str | None = field(
        default=None,
        metadata=choice(
            "Header in which they say whether the client used HTTPS. Default: `forwarded` if"
            " `forwarded_header` is `forwarded`, otherwise `x-forwarded-proto`.",
            "x-forwarded-proto",
            "cloudfront-forwarded-proto",
            "forwarded",
        ),
    )
    require_https: str = field(
        default="off",
        metadata=choice(
            "What happens to a request that the client sent over plain HTTP, to the proxy itself or to a"
            " trusted proxy. `off`: nothing. `reject`: 403. `redirect`: 308 to HTTPS for GET and HEAD,"
            " 403 for other methods.",
            "off",
            "reject",
            "redirect",
        ),
    )

    @property
    def scheme_field(self) -> str:
        """Name of the header field that holds the scheme: the option, or the one that fits ``forwarded_header``."""
        own = "forwarded" if self.forwarded_header == "forwarded" else "x-forwarded-proto"
        return self.forwarded_proto_header or own


@frozen(slots=True, kw_only=True)
class OriginSettings:
    """A secret header that the gateway in front adds to every request. A request without it gets 403."""

    LIVE: ClassVar = names("header secret_files secret_variables")
    RESTART: ClassVar = names("")

    header: str = field(
        default="X-Origin-Verify",
        metadata=pattern(
            r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}",
            "a name of a header field",
            "Name of the header. It is neither sent to HOSP nor recorded.",
        ),
    )
    secret_files: tuple[Path, ...] = field(
        default=(),
        metadata=listed(
            "Files with the secret (16 to 4096 printable ASCII characters, mode 0600): one, or two during"
            " a rotation. Read again on SIGHUP. Empty, with no `secret_variables`: no secret is required.",
            "paths",
            absolute,
        ),
    )
    secret_variables: tuple[str, ...] = field(
        default=(),
        metadata=listed(
            "Environment variables that hold secrets, besides the files or instead of them.", "names", str
        ),
    )

    @property
    def enabled(self) -> bool:
        """Whether requests must carry a secret."""
        return bool(self.secret_files or self.secret_variables)
