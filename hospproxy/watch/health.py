"""Is the process up, and should it be given requests?

Neither ever asks HOSP: its being away is no reason to restart the proxy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, field

Check = Callable[[], str | None]
"""Why requests should go elsewhere at present, in a few words; None when all is well."""


@define(slots=True)
class Health:
    """What ``/live`` and ``/ready`` say.

    :param checks: name → check; whoever builds the service hands in one each for the listeners, the journal
        (``Journal.trouble``) and the drain.
    """

    checks: dict[str, Check] = field(factory=dict)

    def reasons(self) -> Mapping[str, str]:
        """Which checks fail, and why. A check that itself fails counts as failing."""
        found = {name: _ask(check) for name, check in self.checks.items()}
        return {name: reason for name, reason in found.items() if reason is not None}


def _ask(check: Check) -> str | None:
    try:
        return check()
    except Exception as error:
        return f"cannot say: {type(error).__name__}"
