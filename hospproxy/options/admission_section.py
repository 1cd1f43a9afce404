"""The section [admission]; sections.py has the others."""

from __future__ import annotations

from attrs import field, frozen

from .fields import number, switch, whole


@frozen(slots=True, kw_only=True)
class AdmissionSettings:
    """The limits of one client: guesses at passwords, and requests a second."""

    enabled: bool = field(
        default=True, metadata=switch("Whether guesses are slowed down and rates are limited.")
    )
    account_free: int = field(
        default=5, metadata=whole("failures", 1, 1000, "Failed log-ins of one account that cost nothing.")
    )
    address_free: int = field(
        default=50,
        metadata=whole(
            "failures", 1, 100_000, "The same of one address, behind which a whole hospital may be."
        ),
    )
    forgive_s: float = field(
        default=60.0, metadata=number("seconds", 0.1, 86400, "After each so many one failure is forgotten.")
    )
    delay_s: float = field(
        default=10.0,
        metadata=number(
            "seconds",
            0.5,
            300,
            "The longest wait before a guess, from 0.5 s on doubled each time; at most a third of `deadline_s`.",
        ),
    )
    account_waiting: int = field(
        default=2, metadata=whole("guesses", 1, 1000, "Guesses that wait for one account; beyond it 429.")
    )
    address_waiting: int = field(
        default=8, metadata=whole("guesses", 1, 1000, "Guesses that wait of one address; beyond it 429.")
    )
    refusal_s: float = field(
        default=5.0,
        metadata=number(
            "seconds",
            0,
            60,
            "How long HOSP is not asked again about credentials that it refused. Needs identity.",
        ),
    )
    rate: float = field(
        default=0.0,
        metadata=number("requests/s", 0, 100_000, "Requests of accepted credentials; beyond it 429. 0: any."),
    )
    burst: int = field(
        default=100, metadata=whole("requests", 1, 1_000_000, "So many of them may come at one time.")
    )
    address_rate: float = field(
        default=100.0,
        metadata=number(
            "requests/s",
            0,
            100_000,
            "Requests of one address whose credentials are missing or not accepted yet. 0: any.",
        ),
    )
    address_burst: int = field(
        default=10_000, metadata=whole("requests", 1, 1_000_000, "So many of them may come at one time.")
    )
    max_remembered: int = field(
        default=10_000,
        metadata=whole(
            "keys", 100, 1_000_000, "Addresses, accounts and credentials known at one time, each."
        ),
    )
