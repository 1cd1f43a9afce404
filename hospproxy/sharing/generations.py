"""Generations of tags: what an answer in Redis is held against, and what news raise.

A generation is a number that is never used twice. An answer in Redis is right only as long as the generations of all
its tags are those from before HOSP was asked for it. Whoever says news raises them in the script that appends to the
log.
"""

from __future__ import annotations

from ..memory.staleness import ACCOUNTS, EVERYTHING, WHO, account_tag, credentials_tag
from .kinds import Common
from .news import Account, Everything, News, Refused, Struck

GENERATION_MS = 2 * 24 * 3600 * 1000
"""Milliseconds that a generation stays without being raised: longer than any answer is fresh. One that is gone matches
nothing, so it costs a fetch and no more."""


def tags_of(news: News) -> tuple[str, ...]:
    """The tags whose generations are raised when this is said."""
    match news:
        case Struck():
            return news.tags
        case Account():
            # Who somebody is is kept before it is known whose account it is: any change strikes all of that.
            return (WHO, ACCOUNTS if news.staff_id is None else account_tag(news.staff_id))
        case Refused():
            return (credentials_tag(news.credentials),)
        case Everything():
            return (EVERYTHING,)
    return ()


def key_of_tag(common: Common, tag: str) -> bytes:
    """The key under which a tag's generation stands.

    :raise Away: Redis has not been reached yet.
    """
    return common.key("gen", tag.encode("utf-8", "surrogatepass"))
