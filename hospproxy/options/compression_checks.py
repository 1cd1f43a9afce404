"""Check the section [compression]: codings that cannot be made, and operations whose length gives something away."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

from .compression_section import ZSTD_MODULES

if TYPE_CHECKING:
    from ..contract.contract import Contract
    from .sections import Settings

Finding = tuple[str, str]


def errors(settings: Settings) -> Iterator[Finding]:
    """Find a coding that this Python cannot make."""
    section = settings.compression
    if section.enabled and "zstd" in section.codings and not any(map(_is_there, ZSTD_MODULES)):
        yield (
            "compression.codings",
            "zstd needs Python 3.14, or a package that is not installed: pip install hospproxy[zstd]",
        )


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even its package is there
        return False


def unknown(settings: Settings, contract: Contract) -> Iterator[Finding]:
    """Find operations that the contract does not have."""
    reads = sorted(each.id for each in contract.operations.values() if each.is_read)
    for index, name in enumerate(settings.compression.further_operations):
        if name not in reads:
            yield (
                f"compression.further_operations[{index}]",
                f"the contract has no such read; it has {', '.join(reads)}",
            )


def warnings(settings: Settings, contract: Contract) -> Iterator[Finding]:
    """Find responses whose length says something of what only some may know."""
    if not settings.compression.enabled:
        return
    for index, name in enumerate(settings.compression.further_operations):
        operation = contract.operations.get(name)
        if operation is not None and not operation.compressible:
            yield (
                f"compression.further_operations[{index}]",
                f"a user who can write into what {name} returns, and who sees on the network how long its compressed"
                " responses are, can guess the rest of them",
            )
