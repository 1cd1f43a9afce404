"""How the code of a process learns that it is dead."""

from __future__ import annotations


class Killed(BaseException):
    """Raised where a dead process would touch its machine. Nothing that it does on the way out has an effect."""
