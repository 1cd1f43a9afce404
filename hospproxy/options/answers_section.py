"""The section [answers]; sections.py has the others."""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen

from .fields import choice, names


@frozen(slots=True, kw_only=True)
class AnswersSettings:
    """Checks HOSP's responses: type, syntax and outer shape always, the contract's schema as `mode` says."""

    LIVE: ClassVar = names("mode")
    RESTART: ClassVar = names("")

    mode: str = field(
        default="report",
        metadata=choice(
            "`report` only records that a response violates the schema; `enforce` rejects it (502 if"
            " retries do not help).",
            "report",
            "enforce",
        ),
    )
