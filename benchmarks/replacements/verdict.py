"""What clients were told, compared with HOSP's journal and with the audit trail."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from integration.journal_files import content, journal_files

from ..chaos.table import Table
from ..processes import Standin
from .clients import Seen


def judge_clients(seen: Seen, table: Table) -> None:
    """Add what the clients saw: no request may have failed."""
    table.tell("longest response, seconds", f"{seen.longest_s:.2f}")
    table.none("requests that failed", len(seen.statuses))
    table.none("connections reset or closed without a response", len(seen.broken))
    for why, times in Counter([*map(str, seen.statuses), *seen.broken]).most_common(5):
        table.tell("  " + why, times)


def judge_writes(state: Path, hosp: Standin, seen: Seen, table: Table, further: Iterable[str] = ()) -> None:
    """Add what became of the writes, and which responses have no record.

    :param state: the proxy's state folder.
    :param further: request ids that others than these clients were given.
    """
    stored = Counter(
        entry["fields"]["body"] for entry in hosp.read("/journal?kind=stored&resource=notes")["entries"]
    )
    table.tell("writes acknowledged", len(seen.stored))
    table.tell("writes without an acknowledgement", len(seen.open))
    table.none("writes lost", sum(stored[body] == 0 for body in seen.stored))
    table.none("writes doubled", sum(stored[body] > 1 for body in (*seen.stored, *seen.open)))
    table.none("responses without a record", len({*seen.ids, *further} - recorded(state)))


def recorded(state: Path) -> set[str]:
    """Return the request ids of all audit records."""
    found = set()
    for path in journal_files(state / "audit"):
        for line in content(path).splitlines():
            with suppress(ValueError):
                record = json.loads(line)
                found.add(record.get("request_id", record.get("id")))
    return found
