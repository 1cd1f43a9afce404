"""The sections [front] and [origin]; sections.py has the others."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from .fields import choice, listed, pattern

MIN_SECRET, MAX_SECRET = 16, 4096
MAX_SECRETS = 2


@frozen(slots=True, kw_only=True)
class FrontSettings:
    """What the listed proxies in front (`trusted_proxies`) say, and what is asked of the way that a request came."""

    forwarded_header: str = field(
        default="x-forwarded-for",
        metadata=choice(
            "Where they name the client. The other field is not read: what a proxy does not set, a client may have.",
            "x-forwarded-for",
            "forwarded",
        ),
    )
    forwarded_proto_header: str | None = field(
        default=None,
        metadata=choice(
            "Where they say whether the client came by HTTPS. Default: `forwarded` if `forwarded_header` is that,"
            " otherwise `x-forwarded-proto`.",
            "x-forwarded-proto",
            "cloudfront-forwarded-proto",
            "forwarded",
        ),
    )
    require_https: str = field(
        default="off",
        metadata=choice(
            "What happens to requests that clients sent in plain HTTP, to us or to a listed proxy: nothing; 403; or 308"
            " to HTTPS for GET and HEAD and 403 for the rest.",
            "off",
            "reject",
            "redirect",
        ),
    )

    @property
    def scheme_field(self) -> str:
        """Where the scheme is read, named or not."""
        own = "forwarded" if self.forwarded_header == "forwarded" else "x-forwarded-proto"
        return self.forwarded_proto_header or own


@frozen(slots=True, kw_only=True)
class OriginSettings:
    """A secret that the gateway in front puts into a header field of every request; without it 403."""

    header: str = field(
        default="X-Origin-Verify",
        metadata=pattern(
            r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}",
            "a name of a header field",
            "In which field. It is not sent on and not recorded.",
        ),
    )
    secret_files: tuple[Path, ...] = field(
        default=(),
        metadata=listed(
            "The secret (16 to 4096 printable ASCII characters, mode 0600); a second one while it is exchanged. Read"
            " again on SIGHUP. Empty, and no `secret_variables`: none is asked for.",
            "paths",
            lambda value: Path(value).expanduser().absolute(),
        ),
    )
    secret_variables: tuple[str, ...] = field(
        default=(),
        metadata=listed("Environment variables with secrets, beside the files or instead.", "names", str),
    )

    @property
    def enabled(self) -> bool:
        """Whether a secret is asked for."""
        return bool(self.secret_files or self.secret_variables)
