"""Where the admin listener may listen, and who may read it."""

from __future__ import annotations

from collections.abc import Iterator

from .sections import Settings

Finding = tuple[str, str]
MOST_TOKENS = 2


def place(settings: Settings) -> Iterator[Finding]:
    """Find an address where credentials or patients' data would cross a network in plain, or no name is accepted."""
    admin = settings.admin
    if not admin.enabled or admin.address.loopback:
        return
    if not admin.address.secure:
        yield "admin.url", "without TLS it may only be on loopback (127.0.0.1, [::1], localhost)"
    elif (
        admin.address.ip is not None
        and admin.address.ip.is_unspecified
        and not admin.hosts
        and admin.access == "open"
    ):
        yield (
            "admin.hosts",
            'list the host names under which clients reach it; it refuses all others. Or set admin.access = "login",'
            " which accepts every address",
        )


def access(settings: Settings) -> Iterator[Finding]:
    """Find ways to log in that have no effect, or none at all."""
    admin = settings.admin
    if not admin.enabled:
        return
    if admin.access == "open":
        for key in ("scrape_token_files", "client_ca_file"):
            if getattr(admin, key):
                yield f"admin.{key}", 'it has no effect: admin.access is "open"'
    elif not (settings.audit_page.enabled or admin.scrape_token_files or admin.client_ca_file):
        yield (
            "admin.access",
            "nobody can log in: audit_page.enabled is false, and no token and no CA is named",
        )
    if admin.client_ca_file is not None and not admin.address.secure:
        yield "admin.client_ca_file", "it is for https:// only"
    if len(admin.scrape_token_files) > MOST_TOKENS:
        yield "admin.scrape_token_files", f"{MOST_TOKENS} tokens at most, the old one and the new one"


def warnings(settings: Settings) -> Iterator[Finding]:
    """Find a listener that tells every host of a network about this proxy."""
    if settings.admin.enabled and not settings.admin.address.loopback and settings.admin.access == "open":
        yield (
            "admin.url",
            "/metrics and /status need no credentials: every host that reaches this address can read them"
            ' (admin.access = "login" asks for some)',
        )
