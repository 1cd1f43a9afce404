"""Planted defects: the simulation has to find each of them. Applied while the proxy is imported, never on disk."""

from __future__ import annotations

from .applying import Mutant, plant
from .catalogue import MUTANTS

__all__ = ["MUTANTS", "Mutant", "plant"]
