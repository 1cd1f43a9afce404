"""The section [log]; sections.py has the others."""

from __future__ import annotations

from typing import ClassVar, Final

from attrs import field, frozen

from .fields import choice, names, whole

LEVELS: Final = ("debug", "info", "warn", "error", "critical")


@frozen(slots=True, kw_only=True)
class LogSettings:
    """The log: what is written, and how. Where it goes is up to twistd (`--logfile`, `--syslog`)."""

    LIVE: ClassVar = names("level format most_a_minute")
    RESTART: ClassVar = names("")

    level: str = field(
        default="info",
        metadata=choice("Lines below this level are not written.", *LEVELS),
    )
    format: str = field(
        default="text",
        metadata=choice(
            "`text`: a line for people; `json`: one object a line, with time, level, part, text and fields.",
            "text",
            "json",
        ),
    )
    most_a_minute: int = field(
        default=20,
        metadata=whole(
            "lines",
            0,
            1_000_000,
            "Most lines of one kind within a minute; a last one says how many more there were. Lines of level"
            " `critical` are always written. 0: no limit.",
        ),
    )
