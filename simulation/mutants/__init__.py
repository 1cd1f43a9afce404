"""Planted defects that the simulation must find. They are applied while the proxy is imported, never on disk."""

from __future__ import annotations

from collections.abc import Mapping

from . import after_journal, catalogue, mended, worker_deaths
from .injection import Mutant, plant

MUTANTS: Mapping[str, Mutant] = {
    **catalogue.MUTANTS, **mended.MUTANTS, **after_journal.MUTANTS, **worker_deaths.MUTANTS,
}  # fmt: skip

__all__ = ["MUTANTS", "Mutant", "plant"]
