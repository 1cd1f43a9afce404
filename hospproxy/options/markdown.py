"""Generates the tables of docs/options.md from the section classes."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import attrs

from .fields import SPEC, OptionSpec
from .loader import LISTED, sections


def markdown() -> str:
    """Render one table per section: key, allowed values, unit, default, meaning, and whether a reload applies it."""
    return "\n".join(_section(name, cls) for name, cls in sections())


def _section(name: str, cls: type[Any]) -> str:
    several = name in LISTED or name == "listeners.certificates"
    title = f"## `[[{name}]]`" if several else f"## `[{name}]`" if name else "## Top of the file"
    rows = [
        f"| `{each.name}` | {_cell(spec.takes)} | {spec.unit} | {_default(each)} | {_cell(spec.doc)} |"
        f" {_change(cls, each)} |"
        for each in attrs.fields(cls)
        if (spec := each.metadata.get(SPEC)) is not None and isinstance(spec, OptionSpec)
    ]
    head = ["| key | takes | unit | default | meaning | changes |", "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join([title, "", inspect.getdoc(cls) or "", "", *head, *rows, ""])


def _change(cls: type[Any], each: attrs.Attribute[Any]) -> str:
    return "live" if each.name in cls.LIVE else "restart"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(each: attrs.Attribute[Any]) -> str:
    if each.default is attrs.NOTHING:
        return "required"
    factory = getattr(each.default, "factory", None)
    value = factory() if factory else each.default
    match value:
        case None:
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case str() | Path():
            return f'`"{value}"`'
        case () | []:
            return "`[]`"
        case {}:
            return "`{}`"
        case tuple() if all(isinstance(one, str) for one in value):
            return f"`{json.dumps(value)}`"
        case _:
            return f"`{value}`"
