"""The section [admission]; sections.py has the others."""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen

from .fields import names, number, switch, whole


@frozen(slots=True, kw_only=True)
class AdmissionSettings:
    """Limits for each client: password guesses, and requests per second."""

    LIVE: ClassVar = names(
        "enabled account_free address_free forgive_s delay_s account_waiting address_waiting refusal_s "
        "rate burst address_rate address_burst rate_fields"
    )
    RESTART: ClassVar = names("max_remembered")

    enabled: bool = field(
        default=True, metadata=switch("Slow down password guesses and limit request rates.")
    )
    account_free: int = field(
        default=5,
        metadata=whole("failures", 1, 1000, "Failed log-ins of one account before its log-ins are delayed."),
    )
    address_free: int = field(
        default=50,
        metadata=whole(
            "failures",
            1,
            100_000,
            "Failed log-ins from one address before its log-ins are delayed. One address may be a whole"
            " hospital.",
        ),
    )
    forgive_s: float = field(
        default=60.0,
        metadata=number(
            "seconds", 0.1, 86400, "Each time this interval passes, one failed log-in is forgotten."
        ),
    )
    delay_s: float = field(
        default=10.0,
        metadata=number(
            "seconds",
            0.5,
            300,
            "Longest delay before a guess goes to HOSP. It starts at 0.5 s and doubles; at most a third"
            " of `deadline_s`.",
        ),
    )
    account_waiting: int = field(
        default=2,
        metadata=whole("guesses", 1, 1000, "Delayed guesses waiting for one account; beyond it 429."),
    )
    address_waiting: int = field(
        default=8,
        metadata=whole("guesses", 1, 1000, "Delayed guesses waiting from one address; beyond it 429."),
    )
    refusal_s: float = field(
        default=5.0,
        metadata=number(
            "seconds",
            0,
            60,
            "How long credentials that HOSP refused are refused again without asking HOSP. Needs"
            " `identity.enabled`.",
        ),
    )
    rate: float = field(
        default=0.0,
        metadata=number(
            "requests/s",
            0,
            100_000,
            "Requests for one set of accepted credentials; beyond it 429. 0: no limit.",
        ),
    )
    burst: int = field(
        default=100,
        metadata=whole(
            "requests",
            1,
            1_000_000,
            "Requests for one set of credentials that may arrive at once, above `rate`.",
        ),
    )
    address_rate: float = field(
        default=100.0,
        metadata=number(
            "requests/s",
            0,
            100_000,
            "Requests from one address with missing or not yet accepted credentials; beyond it 429. 0: no"
            " limit.",
        ),
    )
    address_burst: int = field(
        default=10_000,
        metadata=whole(
            "requests",
            1,
            1_000_000,
            "Requests from one address that may arrive at once, above `address_rate`.",
        ),
    )
    rate_fields: bool = field(
        default=False,
        metadata=switch(
            "Send `RateLimit-Policy` and `RateLimit` in every response to a client that has a limit, not only in"
            " a 429."
        ),
    )
    max_remembered: int = field(
        default=10_000,
        metadata=whole(
            "keys",
            100,
            1_000_000,
            "Most addresses, accounts and credentials tracked, each counted by itself.",
        ),
    )
