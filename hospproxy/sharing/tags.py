"""Names of the tags that cache entries carry, for the cache of a process and for the one that processes share. Pure.

Tags are strings with a fixed prefix. If two names collide, more is invalidated, never less.
"""

from __future__ import annotations

ACCOUNTS = "accounts"
"""Tag of every response to any credentials."""

PUBLIC = "public"
"""Tag of every public response."""

WHO = "who"
"""Tag of every response to "who am I" until its account is known. Any change of an account invalidates it."""

EVERYTHING = "everything"
"""Tag of every response in the cache that processes share."""


def account_tag(staff_id: str) -> str:
    """Tag of every response to one account."""
    return f"account:{staff_id}"


def credentials_tag(credentials_hmac: bytes) -> str:
    """Tag of every response to one set of credentials."""
    return f"credentials:{credentials_hmac.hex()}"
