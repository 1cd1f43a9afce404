"""Caches what all simulated processes read: options and contracts."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile

from attrs import evolve

from hospproxy.checks import load_and_check
from hospproxy.config import Settings
from hospproxy.contract import document as contract_document
from hospproxy.contract.contract import Contract
from hospproxy.options.source import source_of

_STATE_DIR = re.compile(r"^state_dir *=.*$", re.MULTILINE)
"""It differs from world to world, and reading options takes half a second."""


@cache
def contract_of(path: Path | None = None) -> Contract:
    """A contract, read once for all processes: it is a value. Call it before forking."""
    return contract_document.load(path)


@cache
def _settings_of(options: str) -> Settings:
    with NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(options)
        file.flush()
        return load_and_check(source_of(Path(file.name)))[0]


def settings_of(options: str, state_dir: Path) -> Settings:
    """The settings of an options file; equal texts are parsed once. Call it before forking.

    :param state_dir: instead of the one that the file names.
    :raise ConfigError: lists every error.
    """
    return evolve(_settings_of(_STATE_DIR.sub("", options)), state_dir=state_dir)
