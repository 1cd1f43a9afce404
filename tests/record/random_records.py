"""Records and filters with few possible values, so that many filters match many records."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st

from hospproxy.record.search.filters import Filters

from .database.databases import record

SETS = {"s1": ["3", "4"], "s2": ["4", "5"], "s3": [], "s4": ["3", "4", "5"]}
KINDS = (
    ["request"] * 12 + ["own"] * 4 + ["intent"] * 2 + ["finding", "alert", "begin", "digest"] + ["look"] * 3
)
NO_ONE = {"id": None, "name": None, "certainty": "none"}
PEOPLE = [
    {"id": 7, "name": "Ada"},
    {"id": 8, "name": "7"},
    {"id": 9, "name": None},
    {"id": 7, "name": "Ada B"},
    NO_ONE,
    {"id": None, "name": "Ada"},
    {"id": None, "name": "7"},
]


def any_record(chance: random.Random) -> dict[str, Any]:
    """A record with few possible values, so that filters match."""
    kind = chance.choice(KINDS)
    person = chance.choice(PEOPLE)
    behalf = {"request_id": f"r{chance.randrange(8)}", **person} if kind == "own" else None
    action, resource = chance.choice(
        [
            ("read", "patients"),
            ("create", "notes"),
            ("search", "notes"),
            (None, None),
            # The proxy's own requests have none: test_bounded searches for a value that does not occur.
            ("log-in failure" if kind != "own" else "read", None),
        ]
    )
    disclosed = chance.choice([None, None, *({"set": name, "count": 2} for name in (*SETS, "unknown"))])
    return record(
        chance.randrange(60) * 100,
        kind=kind,
        request_id=f"r{chance.randrange(8)}",
        who=NO_ONE if kind == "own" else person,
        on_behalf_of=behalf,
        client={"address": f"192.0.2.{chance.randrange(3)}"},
        route=chance.choice(["/patients/{id}", "/notes", "unknown"]),
        action=action,
        resource=resource,
        record_id=chance.choice([None, "3", "4"]),
        patient_id=chance.choice([None, "3", "4", "6"]),
        outcome=chance.choice(["success"] * 5 + ["refused", "failed"]),
        status=chance.choice([200, 200, 200, 401, 403, 500, None]),
        disclosed=disclosed,
    )


def _maybe(*values: Any) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), st.none(), st.none(), st.sampled_from(values))


FILTERS = st.builds(
    Filters,
    staff=_maybe("7", "8", "Ada", "9", "nobody"),
    claimed=_maybe("7", "Ada", "nobody"),
    auditor=_maybe("7", "Ada", "nobody"),
    patient=_maybe("3", "4", "5", "6", "none"),
    action=_maybe("read", "create", "log-in failure"),
    outcome=_maybe("success", "refused"),
    route=_maybe("/notes", "unknown"),
    resource=_maybe("notes"),
    record_id=_maybe("3", "4"),
    request_id=_maybe("r1", "r2"),
    address=_maybe("192.0.2.1"),
    kind=_maybe("request", "own", "intent", "alert", "look", "disclosure"),
    status=_maybe(200, 401),
    since=_maybe(0.0, 1.0, 2.5),
    until=_maybe(3.0, 4.5, 6.0),
    own=st.booleans(),
    trouble=st.sampled_from([False, False, False, True]),
)
