"""What of a set of options can be seen from outside: each option is tried on a new connection."""

from __future__ import annotations

import base64
import http.client
from collections.abc import Mapping
from itertools import count
from threading import Thread

from attrs import define, field

from .choices import LONG_TARGET, Choice

PATIENCE_S = 60.0
_NUMBERS = count(1)
_WRONG_TYPE = '{"title": 3, "body": "a probe", "patient_id": 7}'
"""A note that HOSP stores, and that breaks the contract."""
_GUESSES = 3
"""Wrong passwords that are sent at once, after two one by one."""


def expected(choice: Choice) -> dict[str, object]:
    """Return what ``Probes.observed`` finds while this set is in force."""
    return {
        "validation.mode": 422 if choice.enforce else 201,
        "cache.enabled": choice.cache,
        "admission.account_free": "refused" if choice.strict else "passed on",
        "arrival.max_target_bytes": 414 if choice.short else 200,
        "public_hosts": 421 if choice.named else 200,
    }


@define
class Probes:
    """Sends requests that the options decide about.

    :param port: of a listener without TLS.
    :ivar ids: request ids of whole responses.
    """

    port: int
    ids: list[str] = field(factory=list)

    def observed(self) -> dict[str, object]:
        """Return what the options in force are, by key."""
        self._get("/staffs")
        _, fields = self._get("/staffs")
        return {
            "validation.mode": self._ask("POST", "/notes", _WRONG_TYPE)[0],
            "cache.enabled": "; hit" in fields.get("Cache-Status", ""),
            "admission.account_free": "refused" if 429 in self._guesses() else "passed on",
            "arrival.max_target_bytes": self._get("/hospitals?x=" + "y" * LONG_TARGET)[0],
            "public_hosts": self._get("/hospitals", Host="clinic.example")[0],
        }

    def _guesses(self) -> list[int]:
        """Guess passwords of an account that nobody has tried before; return the statuses."""
        name, statuses = f"nobody{next(_NUMBERS)}", []

        def guess(number: int) -> None:
            statuses.append(self._get("/hospitals", Authorization=_basic(name, f"guess{number}"))[0])

        for number in range(2):
            guess(number)
        together = [Thread(target=guess, args=(number,)) for number in range(2, 2 + _GUESSES)]
        for each in together:
            each.start()
        for each in together:
            each.join()
        return statuses

    def _get(self, path: str, **fields: str) -> tuple[int, Mapping[str, str]]:
        return self._ask("GET", path, None, **fields)

    def _ask(self, method: str, path: str, body: str | None, **fields: str) -> tuple[int, Mapping[str, str]]:
        fields = {
            "Authorization": _basic("staff2", "password2"),
            "Content-Type": "application/json",
            **fields,
        }
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, fields)
            response = connection.getresponse()
            response.read()
        finally:
            connection.close()
        request_id = response.getheader("X-Request-Id")
        if request_id is not None:
            self.ids.append(request_id)
        return response.status, dict(response.getheaders())


def _basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
