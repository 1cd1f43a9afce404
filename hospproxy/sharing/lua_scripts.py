"""Loads the Lua scripts that run in Redis. Each script is atomic."""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from importlib import resources

from attrs import frozen


@frozen(slots=True)
class Script:
    """A Lua script that runs in Redis, with the digest to call it by.

    Every script with the header takes the head as KEYS[1], the epoch as ARGV[1] and the latest moment at which it may
    run as ARGV[2] (``RedisScripts.run`` adds them). It returns a list that begins with ``ok``; or ``{'epoch'}`` or
    ``{'late'}`` if it did nothing.

    :param name: name of its file in ``scripts/``, without ``.lua``.
    :param text: what Redis runs.
    :param digest: its SHA-1 for EVALSHA, 40 hexadecimal digits.
    """

    name: str
    text: str
    digest: str


@cache
def script(name: str, *before: str) -> Script:
    """Load a script of this package, with the header.

    :param name: name of its file, without ``.lua``.
    :param before: names of files to insert between the header and the script: functions that several scripts need.
    """
    text = "".join(_read(one) for one in ("header", *before, name))
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


@cache
def bare(name: str) -> Script:
    """Load a script without the header, for a worker that does not know the epoch yet.

    :param name: name of its file, without ``.lua``.
    """
    text = _read(name)
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return resources.files("hospproxy.sharing").joinpath("scripts", f"{name}.lua").read_text("utf-8")
