"""The report of the journal and the report of the access log that was made from it are equal, figure by figure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.access_log.entry import entry_of
from hospproxy.record.access_log.formats import maker_of
from hospproxy.report.documents import mapping
from hospproxy.report.log_files import Format, find
from hospproxy.report.measure import measure
from tests.record.access_log.records import TRAIL, line


def records(seed: int, count: int) -> list[bytes]:
    """Lines of a journal: requests of some hours, however they ended, and records of other kinds."""
    chance = Random(seed)
    start = datetime(2026, 11, 28, 22, tzinfo=UTC)
    found = []
    for _ in range(count):
        at = start + timedelta(milliseconds=chance.randrange(5 * 3_600_000))
        status = chance.choice((200, 200, 200, 201, 304, 404, 422, 502, 503, None))
        gone = status is None or chance.random() < 0.02
        attempts = chance.choice((0, 1, 1, 3))
        duration_ms = round(chance.expovariate(1 / 300), 1)
        route = chance.choice(
            ("/patients/{id}", "/patients", "/notes/{id}", "/patients/{id}/screen", "unknown")
        )
        found.append(
            line(
                kind=chance.choice(("request",) * 5 + ("own", "intent")),
                time=at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                duration_ms=duration_ms,
                client={"address": chance.choice(("192.0.2.1", "192.0.2.2", "2001:db8::7", None))},
                method=chance.choice(("GET", "POST", "DELETE", "unknown", None)),
                route=route,
                status=status,
                client_gone=gone,
                attempts=attempts,
                answered_by=chance.choice(("upstream", "memory", "proxy", None)),
                http={
                    "sent": chance.choice((None, 0, chance.randrange(100_000))),
                    "waited_ms": None if not attempts else round(duration_ms * chance.random() * 1.2, 1),
                    "user_agent": chance.choice(("curl", 'x" 200 "', "a\nb", "é", None)),
                    "query": chance.choice((None, "patient_id=*")),
                },
            )
        )
    return found


class EqualFigures(SynchronousTestCase):
    def setUp(self) -> None:
        self.lines = records(3, 4000)

    def report(self, lines: list[bytes], name: str) -> dict[str, Any]:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / name).write_bytes(b"".join(each + b"\n" for each in lines))
        found = mapping(measure(find([folder]), top=200))
        self.assertEqual((found["broken"], found["damaged"]), (0, []))
        for about_the_source in ("sources", "notes"):
            del found[about_the_source]
        return found

    def made(self, format: str, **more: Any) -> list[bytes]:
        maker: Callable[[Any, str], bytes] = maker_of(format, "hospproxy", "hosp:3000")
        entries = [entry_of(each, **more) for each in self.lines]
        return [maker(entry, TRAIL) for entry in entries if entry is not None]

    def test_of_the_journal_and_its_access_log(self) -> None:
        journal = self.report(self.lines, "audit.jsonl")
        self.assertGreater(journal["counts"]["requests"], 2000)
        self.assertGreater(len(journal["errors"]), 30)
        for format in ("alb", "json"):
            self.assertEqual(self.report(self.made(format), "access.log"), journal)

    def test_ids_in_paths_change_no_figure(self) -> None:
        plain, full = (self.report(self.made("alb", record_ids=ids), "access.log") for ids in (False, True))
        for each in (plain, full):
            for row in each["slowest"]:
                del row["path"]
        self.assertEqual(plain, full)

    def test_each_format_is_recognised(self) -> None:
        for format, wanted in (("alb", Format.ALB), ("json", Format.JOURNAL)):
            path = Path(self.mktemp())
            path.write_bytes(self.made(format)[0] + b"\n")
            self.assertEqual(find([path]).files[0].format, wanted)
