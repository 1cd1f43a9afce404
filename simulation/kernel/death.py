"""How the code of a process learns that it is dead, and how what it leaves is closed."""

from __future__ import annotations

import gc
import types
from contextlib import suppress


class Killed(BaseException):
    """Raised where a dead process would touch its machine. Nothing that it does on the way out has an effect."""


def close_coroutines() -> None:
    """Close every coroutine that was begun since ``gc.freeze`` and waits for something.

    What is theirs must be dead: their ``finally`` runs here.
    """
    for each in gc.get_objects():
        if isinstance(each, types.CoroutineType) and each.cr_suspended:
            with suppress(BaseException):
                each.close()
