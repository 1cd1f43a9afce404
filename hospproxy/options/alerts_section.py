"""The section [alerts]; sections.py has the others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar
from zoneinfo import ZoneInfo

from attrs import field, frozen
from attrs.converters import optional

from . import secret_fields
from .fields import listed, names, number, path, switch, text, web_url, whole

_SPAN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]|24):([0-5]\d)")


def _span(value: str) -> tuple[int, int]:
    found = _SPAN.fullmatch(value)
    if found is None:
        raise ValueError('it must be like "22:00-05:00"')
    hour, minute, last_hour, last_minute = map(int, found.groups())
    begin, end = hour * 60 + minute, last_hour * 60 + last_minute
    if end > 1440:
        raise ValueError("a day ends at 24:00")
    if begin == end:
        raise ValueError("it ends when it begins")
    return begin, end


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except Exception:  # the type that zoneinfo raises depends on what is wrong with the name
        if value != "UTC":
            raise ValueError("this machine knows no such time zone") from None
    return value


@frozen(slots=True, kw_only=True)
class AlertsSettings:
    """Rules that check each audit record as it is made, and raise alerts. 0 switches a rule off."""

    LIVE: ClassVar = names(
        "enabled failed_logins_by_address failed_logins_by_name failed_logins_window_s patients "
        "patients_window_s usual_patients_factor usual_patients_min learning_days quiet_hours "
        "unusual_hours time_zone anothers_name anothers_name_window_s break_glass repeat_after_s "
        "webhook_url webhook_secret_file webhook_secret_env webhook_secret webhook_ca_file "
        "webhook_timeout_s"
    )
    RESTART: ClassVar = names("")

    enabled: bool = field(default=True, metadata=switch("Apply the rules."))
    failed_logins_by_address: int = field(
        default=20,
        metadata=whole(
            "log-ins", 0, 10_000, "Failed log-ins from one address within the window that raise an alert."
        ),
    )
    failed_logins_by_name: int = field(
        default=10,
        metadata=whole(
            "log-ins", 0, 10_000, "Failed log-ins for one name within the window that raise an alert."
        ),
    )
    failed_logins_window_s: float = field(
        default=300.0, metadata=number("seconds", 1, 86_400, "Window in which failed log-ins are counted.")
    )
    patients: int = field(
        default=100,
        metadata=whole(
            "patients",
            0,
            10_000,
            "Distinct patients opened by one person within the window that raise an alert.",
        ),
    )
    patients_window_s: float = field(
        default=3600.0, metadata=number("seconds", 1, 86_400, "Window in which patients are counted.")
    )
    usual_patients_factor: float = field(
        default=4.0,
        metadata=number(
            "times",
            0,
            1000,
            "Patients within 24 hours that raise an alert, as a multiple of the person's usual number a day.",
        ),
    )
    usual_patients_min: int = field(
        default=40,
        metadata=whole(
            "patients",
            1,
            2000,
            "Patients within 24 hours below which `usual_patients_factor` raises no alert.",
        ),
    )
    learning_days: float = field(
        default=28.0,
        metadata=number(
            "days", 0, 366, "How long usual behaviour is learnt before anything counts as unusual."
        ),
    )
    quiet_hours: tuple[tuple[int, int], ...] = field(
        default=(),
        metadata=listed(
            "Times of day at which any activity of staff raises an alert.", 'times like "22:00-05:00"', _span
        ),
    )
    unusual_hours: bool = field(
        default=True,
        metadata=switch(
            "Raise an alert for activity at an hour that is unusual for the person and for the whole"
            " hospital."
        ),
    )
    time_zone: str = field(
        default="UTC",
        metadata=text(
            "Time zone of the days and hours in these rules.", 'a time zone like "Europe/Berlin"', _zone
        ),
    )
    anothers_name: int = field(
        default=1,
        metadata=whole(
            "records",
            0,
            10_000,
            "Records that one person sent in another's name within the window that raise an alert.",
        ),
    )
    anothers_name_window_s: float = field(
        default=3600.0,
        metadata=number("seconds", 1, 86_400, "Window in which records in another's name are counted."),
    )
    break_glass: bool = field(
        default=True,
        metadata=switch("Raise an alert when somebody passes a permission rule with `X-Break-Glass`."),
    )
    repeat_after_s: float = field(
        default=3600.0,
        metadata=number(
            "seconds",
            0,
            604_800,
            "Shortest time between two alerts of one rule about one subject; those in between are only"
            " counted.",
        ),
    )
    webhook_url: str | None = field(default=None, metadata=web_url("Webhook that alerts are posted to."))
    webhook_secret_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("File with the secret that signs each POST (16 to 4096 bytes, mode 0600)."),
    )
    webhook_secret_env: str | None = field(default=None, metadata=secret_fields.variable("secret"))
    webhook_secret: secret_fields.SecretText | None = field(
        default=None, repr=False, metadata=secret_fields.text_of("secret")
    )
    webhook_ca_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("CA certificates (PEM) to trust for the webhook, instead of the system's."),
    )
    webhook_timeout_s: float = field(
        default=10.0, metadata=number("seconds", 0.1, 300, "Timeout for one POST.")
    )
