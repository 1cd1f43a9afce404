"""The section [permissions]; sections.py has the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen

from ..contract.permissions import MODES
from .fields import choice_by_name, ids, names, number, switch, whole

if TYPE_CHECKING:
    from ..contract.contract import Contract


@frozen(slots=True, kw_only=True)
class PermissionsSettings:
    """Who may do what. The contract defines the rules."""

    LIVE: ClassVar = names("rules administrators remember_s")
    RESTART: ClassVar = names("enabled max_remembered")

    enabled: bool = field(default=True, metadata=switch("Apply the rules. Needs `identity.enabled`."))
    rules: Mapping[str, str] = field(
        factory=dict,
        metadata=choice_by_name("Mode of a rule, by the rule's name; overrides the contract's.", *MODES),
    )
    administrators: tuple[str, ...] = field(
        default=(),
        metadata=ids(
            "Ids of members of staff who are exempt from all rules; the audit record says when a rule"
            " would have applied."
        ),
    )
    remember_s: float = field(
        default=60.0,
        metadata=number(
            "seconds",
            0,
            3600,
            "How long an enforced rule trusts what a response of HOSP said about a record.",
        ),
    )
    max_remembered: int = field(
        default=20_000,
        metadata=whole("records", 100, 1_000_000, "Most records whose facts are remembered."),
    )

    def modes(self, contract: Contract) -> dict[str, str]:
        """Return the mode of every rule of the contract; none if permissions are switched off."""
        if not self.enabled:
            return {}
        return {rule.name: self.rules.get(rule.name, rule.default) for rule in contract.permissions}
