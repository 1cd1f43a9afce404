"""Reads one table of a plan file, and collects every error with its key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class PlanError(Exception):
    """The plan is wrong.

    :ivar problems: one line each.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class PlanTable:
    """One table of the file. A key that is wrong is noted, and a default takes its place until `problems` is looked at.

    :param values: the table.
    :param where: its name, for errors.
    :param problems: shared by all tables of a file.
    """

    def __init__(self, values: Mapping[str, Any], where: str, problems: list[str]) -> None:
        self.values = values
        self.where = where
        self.problems = problems
        self._known: set[str] = set()

    def text(self, key: str, default: str | None = None, one_of: tuple[str, ...] = ()) -> str:
        """Return a text; without a default the key is required."""
        found = self._get(key, default, str, "a text", "")
        if one_of and found not in one_of and key in self.values:
            self._say(key, f"one of {', '.join(one_of)} was expected")
        return str(found)

    def number(self, key: str, default: float | None, low: float = 0.0, high: float = 1e9) -> float:
        """Return a number within bounds."""
        found = self._get(key, default, (int, float), "a number", low)
        if isinstance(found, bool) or not low <= found <= high:
            self._say(key, f"a number from {low:g} to {high:g} was expected")
            return low
        return float(found)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        return bool(self._get(key, default, bool, "true or false", default))

    def command(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Return the words of a command: a list of texts. No shell splits or expands them."""
        found = self._get(key, default, (list, tuple), "a list of texts", ())
        if any(not isinstance(word, str) for word in found) or (key in self.values and not found):
            self._say(key, 'a list of texts was expected, such as ["make", "test"]')
            return ()
        return tuple(found)

    def texts(self, key: str) -> dict[str, str]:
        """Return a table of texts; empty if it is missing."""
        found = self._get(key, {}, dict, "a table of texts", {})
        if any(not isinstance(value, str) for value in found.values()):
            self._say(key, "a table of texts was expected")
            return {}
        return dict(found)

    def values_of(self, key: str) -> dict[str, Any]:
        """Return a table of any values; empty if it is missing."""
        return dict(self._get(key, {}, dict, "a table", {}))

    def raw(self, key: str) -> Any:
        """Return a value of any kind; None if it is missing."""
        self._known.add(key)
        return self.values.get(key)

    def table(self, key: str) -> PlanTable:
        """Return a table within this one; an empty one if it is missing."""
        found = self._get(key, {}, dict, "a table", {})
        return PlanTable(found, self._name(key), self.problems)

    def tables(self, key: str) -> list[PlanTable]:
        """Return the tables of a list (``[[key]]``)."""
        found = self._get(key, [], list, "a list of tables", [])
        if any(not isinstance(each, dict) for each in found):
            self._say(key, "a list of tables was expected")
            return []
        return [
            PlanTable(each, f"{self._name(key)}[{number}]", self.problems)
            for number, each in enumerate(found, 1)
        ]

    def has(self, key: str) -> bool:
        return key in self.values

    def say(self, key: str, words: str) -> None:
        """Note an error of this table."""
        self._say(key, words)

    def end(self) -> None:
        """Note every key that nothing has asked for."""
        for key in self.values:
            if key not in self._known:
                self._say(key, "there is no such key")

    def _get(self, key: str, default: Any, kind: Any, words: str, instead: Any) -> Any:
        self._known.add(key)
        if key not in self.values:
            if default is None:
                self._say(key, "is missing")
                return instead
            return default
        found = self.values[key]
        if not isinstance(found, kind):
            self._say(key, f"{words} was expected")
            return instead
        return found

    def _name(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def _say(self, key: str, words: str) -> None:
        self.problems.append(f"{self._name(key)}: {words}")
