"""Planted defects: the simulation has to find each of them. Applied while the proxy is imported, never on disk."""

from __future__ import annotations

from collections.abc import Mapping

from . import catalogue, mended
from .applying import Mutant, plant

MUTANTS: Mapping[str, Mutant] = {**catalogue.MUTANTS, **mended.MUTANTS}

__all__ = ["MUTANTS", "Mutant", "plant"]
