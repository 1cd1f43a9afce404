"""The section [answers]; sections.py has the others."""

from __future__ import annotations

from attrs import field, frozen

from .fields import choice


@frozen(slots=True, kw_only=True)
class AnswersSettings:
    """Checks HOSP's responses against the contract: type, syntax and outer shape always, the schema as `mode` says."""

    mode: str = field(
        default="report",
        metadata=choice(
            "`report` only records a response that violates the schema; `enforce` treats it as a bad"
            " answer (502 if retries do not help).",
            "report",
            "enforce",
        ),
    )
