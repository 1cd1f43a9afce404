"""Generations of tags: they decide whether a cache entry in Redis is stale.

A generation is a number that is never used twice. A cache entry in Redis is valid only while the generations of all
its tags are those from before HOSP was asked for it. News that invalidate a tag raise its generation, in the same
script that appends the news to the log.
"""

from __future__ import annotations

from .kinds import RedisScripts
from .news import AccountChange, CredentialsRefused, EntriesInvalidated, EverythingStale, News
from .tags import ACCOUNTS, EVERYTHING, WHO, account_tag, credentials_tag

GENERATION_MS = 2 * 24 * 3600 * 1000
"""Milliseconds that a generation is kept without being raised: longer than any cache entry is fresh. An expired one
matches nothing, which costs one more fetch."""


def tags_of(news: News) -> tuple[str, ...]:
    """Return the tags whose generations these news raise."""
    match news:
        case EntriesInvalidated():
            return news.tags
        case AccountChange():
            # Cached identities are stored before their account is known, so a change to any account invalidates all.
            return (WHO, ACCOUNTS if news.staff_id is None else account_tag(news.staff_id))
        case CredentialsRefused():
            return (credentials_tag(news.credentials),)
        case EverythingStale():
            return (EVERYTHING,)
    return ()


def key_of_tag(common: RedisScripts, tag: str) -> bytes:
    """Return the key in Redis of a tag's generation.

    :raise Away: Redis has not been reached yet.
    """
    return common.key("gen", tag.encode("utf-8", "surrogatepass"))
