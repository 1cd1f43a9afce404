"""The section [alerts]; sections.py has the others."""

from __future__ import annotations

from attrs import field, frozen

from .fields import switch


@frozen(slots=True, kw_only=True)
class AlertsSettings:
    """What is noticed in the trail as it is made."""

    enabled: bool = field(default=True, metadata=switch("Whether anything is."))
