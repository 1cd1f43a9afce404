"""The section [status]; sections.py has the others."""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen

from .fields import names, switch


@frozen(slots=True, kw_only=True)
class StatusSettings:
    """The status page, on the admin listener, and surges."""

    LIVE: ClassVar = names("surge_alerts")
    RESTART: ClassVar = names("enabled")

    enabled: bool = field(
        default=True,
        metadata=switch(
            "Serve `/status`, keep its figures of the last week in `state_dir`, and notice surges."
        ),
    )
    surge_alerts: bool = field(
        default=True,
        metadata=switch(
            "Send the begin and the end of each surge to the audit trail and the webhook, as alerts."
        ),
    )
