"""The scripts that run in Redis: each is one step that nobody can see half done."""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from importlib import resources

from attrs import frozen


@frozen(slots=True)
class Script:
    """A script with the header before it.

    Every one takes the head as KEYS[1], the epoch as ARGV[1] and its latest moment as ARGV[2] (``Common.run`` puts them
    there), and gives back a list that begins with ``ok``; or ``{'epoch'}`` or ``{'late'}`` where it did nothing.

    :param name: of its file in ``scripts/``, without ``.lua``.
    :param text: what Redis runs.
    :param digest: by which Redis knows it (EVALSHA), 40 hexadecimal digits.
    """

    name: str
    text: str
    digest: str


@cache
def script(name: str, *before: str) -> Script:
    """One of the scripts of this package.

    :param name: of its file, without ``.lua``.
    :param before: names of files that stand between the header and it: what several scripts need.
    """
    text = "".join(_read(one) for one in ("header", *before, name))
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


@cache
def bare(name: str) -> Script:
    """A script without the header, for who does not know the epoch yet.

    :param name: of its file, without ``.lua``.
    """
    text = _read(name)
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return resources.files("hospproxy.sharing").joinpath("scripts", f"{name}.lua").read_text("utf-8")
