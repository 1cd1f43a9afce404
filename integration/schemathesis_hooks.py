"""What schemathesis is told besides the contract: leave the account alone that it uses, and hit records."""

from __future__ import annotations

from typing import Any

import schemathesis

ACCOUNT = 1
"""Id of the member of staff whose credentials are sent."""
RECORDS = 160
KNOWN = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Of the large ids every other becomes a small one: of 10^18 hardly one is that of a record."""
    number = (path_parameters or {}).get("id")
    if path_parameters and type(number) is int and number > RECORDS and number % 2:
        path_parameters["id"] = number % RECORDS + 1
    return path_parameters


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """With the account gone, all that follows would be answered 401, and prove nothing.

    Nor are methods tried that arrival does not know (TRACE, QUERY): it says 501, as RFC 9110 §15.6.2 has it, before
    anybody looks at the path.
    """
    if case.method.upper() not in KNOWN:
        return False
    changes = case.method.upper() in ("PATCH", "DELETE", "PUT") and case.path.startswith("/staffs")
    return not (changes and str((case.path_parameters or {}).get("id")).removesuffix(".0") == str(ACCOUNT))
