"""The section [answers]; sections.py has the others."""

from __future__ import annotations

from attrs import field, frozen

from .fields import choice


@frozen(slots=True, kw_only=True)
class AnswersSettings:
    """HOSP's answers are held against the contract: type, syntax and outer shape always, the schema as `mode` says."""

    mode: str = field(
        default="report",
        metadata=choice(
            "`report` only records what the schema does not allow; `enforce` takes it for no answer.",
            "report",
            "enforce",
        ),
    )
