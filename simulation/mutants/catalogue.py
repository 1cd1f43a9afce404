"""The planted defects, by name."""

from __future__ import annotations

from collections.abc import Mapping

from .applying import Mutant

_ALL: tuple[Mutant, ...] = ()

MUTANTS: Mapping[str, Mutant] = {mutant.name: mutant for mutant in _ALL}
