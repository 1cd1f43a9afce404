"""The options in force as rows of text, each with where its value comes from. Secrets are hidden."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
from attrs import frozen

from .fields import SPEC
from .loader import Overrides
from .secret_fields import SecretText
from .sections import Settings
from .source import OptionsSource

HIDDEN: Final = "(hidden)"


@frozen(slots=True)
class OptionRow:
    """The value of one option and where it comes from.

    :param path: its key path, as ``listeners[0].url``.
    :param value: as TOML writes it, with secrets hidden.
    :param origin: ``default``, ``file`` or the flag.
    """

    path: str
    value: str
    origin: str


def in_force(settings: Settings, source: OptionsSource) -> Iterator[OptionRow]:
    """Iterate over every option that has a value, in the order of the sections.

    :param source: of these settings.
    """
    flags = _by_flag(source.flags)
    document = source.document
    if source.flags.listen:  # they replace all listeners of the file
        document = {**document, "listeners": []}
    for path, value in leaves(settings):
        flag = flags.get(re.sub(r"\[\d+\]", "[]", path))
        yield OptionRow(
            path, written(path, value), flag or ("file" if _is_set(document, path) else "default")
        )


def leaves(section: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over the key paths of settings and their values; a list of tables is taken apart, others are not."""
    for each in attrs.fields(type(section)):
        value = getattr(section, each.name)
        key = f"{path}.{each.name}" if path else each.name
        if SPEC in each.metadata:
            if value is not None:
                yield key, value
        elif isinstance(value, tuple):
            for index, member in enumerate(value):
                yield from leaves(member, f"{key}[{index}]")
        elif attrs.has(type(value)):
            yield from leaves(value, key)


def written(path: str, value: Any) -> str:
    """Write a value as TOML does, without secrets.

    :param path: its key path: a plugin's options may be secrets, and we do not know which.
    """
    match value:
        case SecretText():
            return HIDDEN
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case Mapping():
            if path.startswith("audit_plugins["):
                return f"{{ {', '.join(f'{name} = {HIDDEN}' for name in value)} }}" if value else "{}"
            inner = ", ".join(f"{name} = {written(path, each)}" for name, each in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case tuple() | list():
            return f"[{', '.join(written(path, each) for each in value)}]"
        case _:
            text = re.sub(r"//[^/@]*@", f"//{HIDDEN}@", str(value))  # may hold a password
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _by_flag(flags: Overrides) -> dict[str, str]:
    given = {"--upstream": flags.upstream, "--listen": flags.listen, "--state": flags.state}
    paths = {"--upstream": "upstream.url", "--listen": "listeners[].url", "--state": "state_dir"}
    return {paths[name]: name for name, value in given.items() if value}


def _is_set(document: Any, path: str) -> bool:
    """Whether the file sets this key."""
    here = document
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        if name and isinstance(here, Mapping) and name in here:
            here = here[name]
        elif index and isinstance(here, list) and int(index) < len(here):
            here = here[int(index)]
        else:
            return False
    return True
