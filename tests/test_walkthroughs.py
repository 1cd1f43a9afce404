"""docs/walkthroughs/ names the functions that a request really passes, in the order in which it passes them.

Each scenario runs the whole proxy in virtual time (`simulation/`), from the bytes that a client sends to the bytes
that it gets.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

import hospproxy
from hospproxy.guard.credentials import parse_basic
from hospproxy.http.messages import Headers
from hospproxy.http.retry_after import retry_after_s
from simulation.history import Committed, History, InHand
from simulation.hosp.behaviour import HospPlan
from simulation.hosp.server import Hosp
from simulation.kernel import Simulation
from tests.simulation.worlds import HOSP, OPTIONS, PROXY, STAFF1, Question, folder

PACKAGE = Path(hospproxy.__file__).resolve().parent
PAGES = PACKAGE.parent / "docs" / "walkthroughs"
STEPS = range(12, 26)
"""Number of steps that a page may have."""

Name = tuple[str, str]
"""A file below the root of the repository, and the qualified name of a function in it."""

_PAIR = re.compile(r"`(hospproxy/[\w/]+\.py)`\s+`([\w.]+)`")
_STEP = re.compile(r"^\d+\. ", re.MULTILINE)
_BEGIN = re.compile(r"^\d+\. `hospproxy/[\w/]+\.py`\s+`[\w.]+`", re.MULTILINE)
_HEADING = re.compile(r"^## ", re.MULTILINE)


def parts(page: str) -> list[list[Name]]:
    """The functions that a page names, in order: one list for each of its headings that has steps."""
    found = [_PAIR.findall(part) for part in _HEADING.split(page)]
    return [names for names in found if names]


def wrong(page: str, entered: list[list[Name]]) -> list[str]:
    """What a page says that is not so.

    :param entered: for each part of the page, the functions that were entered, each once, in order of first entry.
    """
    named = parts(page)
    if len(named) != len(entered):
        return [f"{len(named)} headings with steps, {len(entered)} recorded requests"]
    problems = []
    for names, functions in zip(named, entered, strict=True):
        places = {name: place for place, name in enumerate(functions)}
        before = -1
        for name in names:
            place = places.get(name)
            if place is None:
                problems.append(f"{' '.join(name)}: not entered")
            elif place <= before:
                problems.append(f"{' '.join(name)}: entered before the step above it")
            before = before if place is None else place
    return problems


@define(eq=False)
class Recorder:
    """Records which functions of hospproxy/ are entered."""

    _codes: dict[CodeType, None] = field(factory=dict)

    @property
    def names(self) -> list[Name]:
        """The functions, each once, in order of first entry."""
        named = ((Path(code.co_filename), code.co_qualname) for code in self._codes)
        ours = ((path, name) for path, name in named if path.is_relative_to(PACKAGE))
        return list(dict.fromkeys((str(path.relative_to(PACKAGE.parent)), name) for path, name in ours))

    def _entered(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            self._codes.setdefault(frame.f_code)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record in this thread, which runs the whole simulation."""
        before = sys.getprofile()
        sys.setprofile(self._entered)
        try:
            yield
        finally:
            sys.setprofile(before)


class Request(Question):
    """A request by one of HOSP's users, on a connection of its own."""

    def __init__(self, line: str, name: str, document: object = None) -> None:
        super().__init__(line, "" if document is None else json.dumps(document))
        credentials = base64.b64encode(f"{name}:{name}-first".encode()).decode()
        self.request = self.request.replace(STAFF1.encode(), f"Basic {credentials}".encode())


class Ward:
    """The proxy, HOSP with two users and a patient, and a client.

    :param plan: how HOSP fails.
    """

    def __init__(self, place: Path, plan: HospPlan) -> None:
        self.world = Simulation(1, place)
        self._client = self.world.host("client", "10.0.1.1")
        self.history = History()
        hosp = Hosp(self.world.host("hosp", HOSP[0]).reactor, self.history, plan, address=HOSP[0])
        hosp.import_record("hospitals", 1, {"name": "Root"})
        for number, name in enumerate(("ann", "ben"), 1):
            fields = {"name": name, "hospital_id": 1, "password": f"{name}-first"}
            hosp.import_record("staffs", number, fields)
        hosp.import_record("patients", 7, {"name": "Juno", "hospital_id": 1, "birthdate": "2020-01-01"})
        hosp.application.records.go_on_from("notes", 1)
        hosp.begin()
        self.world.machine("one", PROXY[0]).start(OPTIONS, has_courier=True)
        self.pass_time(5.0)
        self.recorded: list[list[Name]] = []

    def ask(self, request: Request) -> tuple[int, str]:
        """Send a request; return the status and the cache word of Cache-Status."""
        reactor = self._client.reactor
        reactor.callLater(0.0, reactor.connectTCP, *PROXY, request)
        until = self.world.seconds() + 60.0
        while not request.ended and self.world.seconds() < until:
            self.pass_time(0.5)
        status = re.search(rb"^Cache-Status: hospproxy; (.*)\r$", request.answer, re.MULTILINE)
        return request.status, status[1].decode() if status else ""

    def pass_time(self, seconds: float) -> None:
        self.world.run_until(self.world.seconds() + seconds)

    def record(self, request: Request) -> tuple[int, str]:
        """``ask``, and add the functions that were entered meanwhile to ``recorded``."""
        self.pass_time(5.0)  # work left over from the request before does not count
        recorder = Recorder()
        with recorder.recording():
            said = self.ask(request)
        self.recorded.append(recorder.names)
        return said

    def sent(self) -> list[str]:
        """Method and target of each request that HOSP got."""
        works = self.history.of(InHand)
        return [f"{work.method} {work.target}" for work in works if work.what == "begins"]


def patient() -> Request:
    return Request("GET /patients/7 HTTP/1.1", "ann")


def cache_hit(case: SynchronousTestCase, ward: Ward) -> None:
    ward.ask(patient())
    sent = ward.sent()
    status, cache = ward.record(patient())
    case.assertEqual((status, cache[:8]), (200, "hit; ttl"))
    case.assertEqual(ward.sent(), sent)


def lost_post(case: SynchronousTestCase, ward: Ward) -> None:
    ward.ask(patient())
    note = {"title": "Teeth", "body": "clean", "patient_id": 7}
    said = ward.record(Request("POST /notes HTTP/1.1", "ann", note))
    case.assertEqual(said, (201, "fwd=method; detail=found"))
    case.assertEqual(ward.sent()[-2:], ["POST /notes", "GET /notes?patient_id=7"])
    stored = [one for one in ward.history.of(Committed) if one.resource == "notes"]
    case.assertEqual(len(stored), 1)


def revoked_password(case: SynchronousTestCase, ward: Ward) -> None:
    ward.ask(patient())
    ward.ask(Request("GET /hospitals HTTP/1.1", "ben"))
    change = Request("PATCH /staffs/1 HTTP/1.1", "ben", {"password": "second"})
    case.assertEqual(ward.record(change)[0], 200)
    case.assertEqual(ward.record(patient())[0], 401)
    case.assertEqual(ward.sent()[-2:], ["PATCH /staffs/1", "GET /staffs/me"])
    case.assertNotIn(("hospproxy/memory/cache.py", "Cache._hit"), ward.recorded[1])


Scenario = Callable[[SynchronousTestCase, Ward], None]
LOST = HospPlan(mean_s=1.0, rates={"reset_after": 1.0})
"""HOSP carries out every write, then resets the connection instead of responding."""
SCENARIOS: dict[str, tuple[Scenario, HospPlan]] = {
    "cache-hit": (cache_hit, HospPlan(mean_s=1.0)),
    "lost-post": (lost_post, LOST),
    "revoked-password": (revoked_password, HospPlan(mean_s=1.0)),
}


@functools.cache
def entered(name: str) -> list[list[Name]]:
    """Run a scenario; return the functions that each of its recorded requests entered."""
    run, plan = SCENARIOS[name]
    place = folder()
    try:
        ward = Ward(place, plan)
        try:
            case = SynchronousTestCase()
            run(case, ward)
            case.assertEqual(ward.world.errors, [])
            return ward.recorded
        finally:
            ward.world.close()
    finally:
        shutil.rmtree(place)


def text(name: str) -> str:
    return (PAGES / f"{name}.md").read_text("utf-8")


class PageTests(SynchronousTestCase):
    def test_every_page_has_ascenario(self) -> None:
        self.assertEqual({page.stem for page in PAGES.glob("*.md")}, set(SCENARIOS))

    def test_a_cache_hit(self) -> None:
        self.assertEqual(wrong(text("cache-hit"), entered("cache-hit")), [])

    def test_a_lost_post(self) -> None:
        self.assertEqual(wrong(text("lost-post"), entered("lost-post")), [])

    def test_a_revoked_password(self) -> None:
        self.assertEqual(wrong(text("revoked-password"), entered("revoked-password")), [])

    def test_every_step_begins_with_its_function_and_names_no_other(self) -> None:
        for name in SCENARIOS:
            page = text(name)
            steps = len(_STEP.findall(page))
            self.assertIn(steps, STEPS, name)
            self.assertEqual(len(_BEGIN.findall(page)), steps, name)
            self.assertEqual(sum(map(len, parts(page))), steps, name)
            numbers = [int(number) for number in re.findall(r"^(\d+)\. ", page, re.MULTILINE)]
            self.assertEqual(numbers, list(range(1, steps + 1)), name)


class TamperedTests(SynchronousTestCase):
    """A page that was changed fails."""

    def setUp(self) -> None:
        self.page = text("cache-hit")
        self.entered = entered("cache-hit")
        self.assertEqual(wrong(self.page, self.entered), [])

    def tampered(self, old: str, new: str) -> list[str]:
        self.assertEqual(self.page.count(old), 1, old)
        return wrong(self.page.replace(old, new), self.entered)

    def test_a_function_that_was_not_entered(self) -> None:
        problems = self.tampered("`Cache._hit`", "`Cache._stale`")
        self.assertEqual(problems, ["hospproxy/memory/cache.py Cache._stale: not entered"])

    def test_a_function_that_does_not_exist(self) -> None:
        problems = self.tampered("`Cache._hit`", "`Cache._hot`")
        self.assertEqual(problems, ["hospproxy/memory/cache.py Cache._hot: not entered"])

    def test_the_right_function_in_the_wrong_file(self) -> None:
        pair = "`hospproxy/memory/cache.py` `Cache._hit`"
        problems = self.tampered(pair, pair.replace("cache.py", "store.py"))
        self.assertEqual(problems, ["hospproxy/memory/store.py Cache._hit: not entered"])

    def test_another_order(self) -> None:
        one, other = "`hospproxy/service/chain.py` `Chain.handle`", "`hospproxy/memory/cache.py` `Cache._hit`"
        self.assertEqual((self.page.count(one), self.page.count(other)), (1, 1))
        page = self.page.replace(one, "HERE").replace(other, one).replace("HERE", other)
        self.assertIn(
            "hospproxy/service/chain.py Chain.handle: entered before the step above it",
            wrong(page, self.entered),
        )

    def test_a_function_that_is_named_twice(self) -> None:
        again = "`hospproxy/memory/cache.py` `Cache._hit`"
        self.assertEqual(len(self.tampered(again, f"{again}, then {again}")), 1)

    def test_steps_under_another_heading(self) -> None:
        heading = "\n## Of another request\n1. `hospproxy/service/chain.py` `Chain.handle` runs.\n"
        self.assertEqual(len(wrong(self.page + heading, self.entered)), 1)

    def test_a_page_without_steps(self) -> None:
        self.assertEqual(len(wrong("# A page\n", self.entered)), 1)


class RecorderTests(SynchronousTestCase):
    def test_the_profiler_of_before_is_put_back(self) -> None:
        def other(_frame: FrameType, _event: str, _argument: Any) -> None:
            return None

        before = sys.getprofile()
        self.addCleanup(sys.setprofile, before)
        sys.setprofile(other)
        with self.assertRaises(ZeroDivisionError), Recorder().recording():
            _ = 1 // 0
        self.assertIs(sys.getprofile(), other)

    def test_only_our_functions_in_order_of_first_entry(self) -> None:
        recorder = Recorder()
        with recorder.recording():
            json.dumps([])
            parse_basic(None)
            retry_after_s(Headers(()))
            parse_basic(None)
        names = [name for name in recorder.names if name[1] in ("parse_basic", "retry_after_s")]
        self.assertEqual(
            names,
            [
                ("hospproxy/guard/credentials.py", "parse_basic"),
                ("hospproxy/http/retry_after.py", "retry_after_s"),
            ],
        )
        self.assertTrue(all(name[0].startswith("hospproxy/") for name in recorder.names))
