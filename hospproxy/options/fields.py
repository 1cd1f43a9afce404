"""Types of keys in the options file. Each reads a value, words its error messages, and feeds docs/options.md."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from attrs import frozen

from .addresses import parse_address

SPEC = "hospproxy.option"
WORKING_FOLDER: ContextVar[Path] = ContextVar("folder of relative paths")
"""Set while options are read; a later change of the working folder does not change what the options mean."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class BadValueError(ValueError):
    """A key has an invalid value; the loader adds the key path and reports it with all other errors.

    :param words: what was expected, and what is wrong with this value.
    :param path: path below the key that was read ("", "[2]", ".listHospitals").
    """

    def __init__(self, words: str, path: str = "") -> None:
        super().__init__(words)
        self.words = words
        self.path = path


@frozen(slots=True)
class OptionSpec:
    """The definition of one key, for the loader and for docs/options.md.

    :param doc: one sentence for the operator.
    :param takes: the allowed values, as messages name them.
    :param unit: unit of the number; "" for none.
    :param read: converts the value from TOML into the one in the settings; raises BadValueError.
    """

    doc: str
    takes: str
    unit: str
    read: Callable[[Any], Any]


Metadata = Mapping[str, OptionSpec]


def names(keys: str) -> frozenset[str]:
    """Return the names of keys that stand in one text.

    Each section names its keys in ``LIVE`` and ``RESTART``: those that a reload applies to the running proxy, and
    those that only a restart does.
    """
    return frozenset(keys.split())


def shown(value: object) -> str:
    """Format a value for a message: at most 60 characters, without the user and password of a URL."""
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    text = re.sub(r"//[^/@]*@", "//…@", text)  # may hold a password
    return text if len(text) <= 60 else text[:57] + "…"


def _spec(
    doc: str, takes: str, accepts: Callable[[Any], bool], made: Callable[[Any], Any], unit: str = ""
) -> Metadata:
    def read(value: Any) -> Any:
        if not accepts(value):
            raise BadValueError(f"expected {takes}, got {shown(value)}")
        try:
            return made(value)
        except ValueError as error:
            raise BadValueError(f"expected {takes}, got {shown(value)}: {error}") from None

    return {SPEC: OptionSpec(doc, takes, unit, read)}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value and value.strip() == value != ""


def switch(doc: str) -> Metadata:
    """A boolean: ``true`` or ``false`` in TOML, never 0 or 1."""
    return _spec(doc, "true or false", lambda value: isinstance(value, bool), bool)


def whole(unit: str, minimum: int, maximum: int, doc: str) -> Metadata:
    """A whole number from ``minimum`` to ``maximum``, both included."""

    def accepts(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum

    return _spec(doc, f"a whole number from {minimum} to {maximum}", accepts, int, unit)


def number(unit: str, minimum: float, maximum: float, doc: str) -> Metadata:
    """A number from ``minimum`` to ``maximum``, both included; TOML's nan and inf are always refused."""

    def accepts(value: Any) -> bool:
        return _is_number(value) and minimum <= value <= maximum

    return _spec(doc, f"a number from {minimum:g} to {maximum:g}", accepts, float, unit)


def choice(doc: str, *choices: str) -> Metadata:
    """A text that is exactly one of ``choices``."""
    takes = " or ".join(f'"{each}"' for each in choices)
    return _spec(doc, takes, lambda value: isinstance(value, str) and value in choices, str)


def pattern(expression: str, takes: str, doc: str) -> Metadata:
    """Text that a regular expression matches as a whole.

    :param takes: what the text is, as messages name it.
    """

    def accepts(value: object) -> bool:
        return _is_text(value) and re.fullmatch(expression, str(value)) is not None

    return _spec(doc, takes, accepts, str)


def word(most: int, doc: str) -> Metadata:
    """Printable US-ASCII without spaces.

    :param most: most characters.
    """
    return pattern(rf"[!-~]{{1,{most}}}", f"1 to {most} printable ASCII characters without spaces", doc)


def path(doc: str) -> Metadata:
    """A path. It is made absolute when it is read, since a daemon changes its working folder later."""
    return _spec(doc, "a path", _is_text, absolute)


def absolute(value: str) -> Path:
    """Make a path absolute. ``$CREDENTIALS_DIRECTORY/`` is the folder of systemd's ``LoadCredential=``."""
    name = "$CREDENTIALS_DIRECTORY/"
    if value.startswith(name):
        folder = os.environ.get(name[1:-1])
        if not folder:
            raise ValueError("the environment variable CREDENTIALS_DIRECTORY is not set")
        value = os.path.join(folder, value.removeprefix(name))
    return (WORKING_FOLDER.get(None) or Path.cwd()) / Path(value).expanduser()


def address(doc: str, *schemes: str) -> Metadata:
    """An address ``scheme://host[:port]`` with one of ``schemes``; it stays a text."""

    def made(value: str) -> str:
        found = parse_address(value)
        if found.scheme not in schemes:
            raise ValueError(f"{found.scheme} cannot be used here")
        return value

    takes = " or ".join(f"{scheme}://host:port" for scheme in schemes)
    return _spec(doc, takes, _is_text, made)


def text(doc: str, takes: str, made: Callable[[str], str]) -> Metadata:
    """A text with a converter of its own.

    :param made: converts the text, or raises ValueError that says what is wrong.
    """
    return _spec(doc, takes, _is_text, made)


def web_url(doc: str) -> Metadata:
    """``https://host[:port]/path``, or the same with ``http``; in ASCII, without user name or fragment."""

    def made(value: str) -> str:
        if not value.isascii() or re.search(r"[\s\x00-\x1f\x7f]", value):
            raise ValueError("write every character that is not printable ASCII as %XX")
        if "#" in value:
            raise ValueError("remove the fragment (#…): it is never sent")
        scheme, _, rest = value.partition("://")
        parse_address(f"{scheme}://{re.split('[/?]', rest, maxsplit=1)[0]}")
        return value

    return _spec(doc, "a URL, https://host/path or http://host/path", _is_text, made)


def label(doc: str) -> Metadata:
    """A word that is safe in a file name and in a metric's label."""

    def accepts(value: object) -> bool:
        return isinstance(value, str) and re.fullmatch(r"[a-z][a-z0-9_]{0,31}", value) is not None

    return _spec(doc, "a word of a-z, 0-9 and _, at most 32", accepts, str)


def table(doc: str) -> Metadata:
    """A table that is not checked here, for example a plugin's options."""
    return _spec(doc, "a table", lambda value: isinstance(value, dict), dict)


def listed(doc: str, takes: str, each: Callable[[str], Any]) -> Metadata:
    """A list of texts, each converted and checked on its own; it becomes a tuple.

    :param takes: what the members are, as messages name them.
    :param each: converts a member, or raises ValueError that says what is wrong.
    """

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise BadValueError(f"expected a list of {takes}, got {shown(value)}")
        members = []
        for index, member in enumerate(value):
            if not _is_text(member):
                raise BadValueError(f"expected {takes}, got {shown(member)}", f"[{index}]")
            try:
                members.append(each(member))
            except ValueError as error:
                raise BadValueError(f"expected {takes}, got {shown(member)}: {error}", f"[{index}]") from None
        return tuple(members)

    return {SPEC: OptionSpec(doc, f"a list of {takes}", "", read)}


def hosts(doc: str) -> Metadata:
    """A list of hosts as in a Host field, with or without a port; they are lower-cased."""
    return listed(doc, "hosts, each host or host:port", _host)


def _host(text: str) -> str:
    if not parse_address(f"http://{text}") or "/" in text:
        raise ValueError("nothing may follow the port")
    return text.lower()


def networks(doc: str) -> Metadata:
    """A list of IP addresses and networks in CIDR notation (RFC 4632)."""
    return listed(doc, "IP addresses or networks", ipaddress.ip_network)


def seconds_by_name(minimum: float, maximum: float, doc: str) -> Metadata:
    """A table from names to seconds, each from ``minimum`` to ``maximum``."""
    takes = f"a number from {minimum:g} to {maximum:g}"

    def read(value: Any) -> dict[str, float]:
        if not isinstance(value, dict):
            raise BadValueError(f"expected a table of names to seconds, got {shown(value)}")
        for name, seconds in value.items():
            if not _is_number(seconds) or not minimum <= seconds <= maximum:
                raise BadValueError(f"expected {takes}, got {shown(seconds)}", f".{name}")
        return {name: float(seconds) for name, seconds in value.items()}

    return {SPEC: OptionSpec(doc, f"a table; each value {takes}", "seconds", read)}


def choice_by_name(doc: str, *choices: str) -> Metadata:
    """A table from names to one of a few words each."""
    takes = " or ".join(f'"{each}"' for each in choices)

    def read(value: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            raise BadValueError(f"expected a table of names to words, got {shown(value)}")
        for name, chosen in value.items():
            if chosen not in choices:
                raise BadValueError(f"expected {takes}, got {shown(chosen)}", f".{name}")
        return dict(value)

    return {SPEC: OptionSpec(doc, f"a table; each value {takes}", "", read)}


def ids(doc: str) -> Metadata:
    """A list of record ids: whole numbers or texts; both are read as texts."""

    def read(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise BadValueError(f"expected a list of ids, got {shown(value)}")
        for index, member in enumerate(value):
            if isinstance(member, bool) or not (isinstance(member, int) or _is_text(member)):
                raise BadValueError(f"expected a number or a text, got {shown(member)}", f"[{index}]")
        return tuple(str(member) for member in value)

    return {SPEC: OptionSpec(doc, "a list of ids", "", read)}
