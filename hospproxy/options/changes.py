"""Compares options: which keys differ, and which of the differences only a restart applies."""

from __future__ import annotations

import re
from typing import Any, Final

import attrs
from attrs import frozen

from .in_force import HIDDEN, leaves, written
from .loader import sections
from .sections import Settings

_LIVE: Final = {
    f"{name}.{key}" if name else key: key in cls.LIVE
    for name, cls in sections()
    for key in cls.LIVE | cls.RESTART
}
_UNSET: Final = "(not set)"


@frozen(slots=True)
class OptionChange:
    """A key whose value differs between two sets of options.

    :param path: its key path.
    :param old: its value as TOML writes it, with secrets hidden.
    :param new: the same, in the other options.
    :param live: a reload applies it to the running proxy.
    """

    path: str
    old: str
    new: str
    live: bool

    def __str__(self) -> str:
        if HIDDEN in self.old and self.old == self.new:
            return f"{self.path}: changed {HIDDEN}"
        return f"{self.path}: {self.old} → {self.new}"


def changes(old: Settings, new: Settings) -> tuple[OptionChange, ...]:
    """Return every key that differs, in the order of the sections.

    Texts of secrets are compared. Files that keys name are not: a reload reads them again in any case.
    """
    before, after = dict(leaves(old)), dict(leaves(new))
    return tuple(
        OptionChange(path, _text(path, before), _text(path, after), _is_live(path, new))
        for path in dict.fromkeys((*before, *after))
        if before.get(path) != after.get(path)
    )


def is_live(path: str) -> bool:
    """Whether a reload applies this key to the running proxy.

    :param path: without the number of a list's member, as ``listeners.url``.
    """
    return _LIVE[path]


def is_key(path: str) -> bool:
    """Whether this is the path of an option, as ``retry.base_s`` or ``listeners[0].url``."""
    return re.sub(r"\[\d+\]", "", path) in _LIVE


def _is_live(path: str, settings: Settings) -> bool:
    if path == "gate.concurrency" and settings.redis.enabled:
        return False  # all workers and machines agree on the number of slots
    return is_live(re.sub(r"\[\d+\]", "", path))


def _text(path: str, values: dict[str, Any]) -> str:
    return written(path, values[path]) if path in values else _UNSET


def touches(found: tuple[OptionChange, ...], *sections: str) -> bool:
    """Whether one of the changes is in one of these sections, or is one of these keys."""
    return any(
        change.path == name or re.match(rf"{re.escape(name)}[.\[]", change.path)
        for change in found
        for name in sections
    )


def unclassified() -> list[str]:
    """Return the keys that do not say whether a reload applies them, or say both. For a test."""
    found = []
    for name, cls in sections():
        keys = {each.name for each in attrs.fields(cls) if each.metadata}
        found += [f"{name}.{key}" for key in (keys ^ (cls.LIVE | cls.RESTART)) | (cls.LIVE & cls.RESTART)]
    return sorted(found)
