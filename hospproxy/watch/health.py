"""Liveness and readiness: is the process up, and should it get requests?

Neither depends on HOSP: restarting the proxy does not help when HOSP is away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, field

Check = Callable[[], str | None]
"""Returns in a few words why requests should go elsewhere now; None when all is well."""


@define(slots=True)
class Health:
    """The state behind ``/ready``.

    :param checks: name → check. The service adds one each for the listeners, the journal (``Journal.trouble``) and
        the drain.
    """

    checks: dict[str, Check] = field(factory=dict)

    def reasons(self) -> Mapping[str, str]:
        """Run the checks; return the name and reason of each that fails. A check that raises counts as failed."""
        found = {name: _ask(check) for name, check in self.checks.items()}
        return {name: reason for name, reason in found.items() if reason is not None}


def _ask(check: Check) -> str | None:
    try:
        return check()
    except Exception as error:
        return f"the check failed: {type(error).__name__}"
