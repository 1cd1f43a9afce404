"""Two users, a HOSP that goes away and comes back, and a proxy that is killed, at random: no forbidden reads."""

from __future__ import annotations

import json
import tempfile
from typing import Any

from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.exchange.exchange import Call
from hospproxy.http.errors import NotSent
from hospproxy.http.messages import Identity, Response

from .cache_rig import ANN, BEN, JSON, answer, call_of
from .restartable_cache import Process, World

WHO = st.sampled_from(["ann", "ben"])
PATIENT = st.sampled_from([1, 2])
HTML = (b"Content-Type", b"text/html")


class Days(RuleBasedStateMachine):
    """HOSP has notes with a version each. A user must see their own acknowledged writes to them, or nothing."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="hospproxy-test-")
        self.process = Process(World(self.folder.name))
        self.notes: dict[int, dict[str, int]] = {}
        self.version = 0
        self.highest = 0
        self.away = False
        self.told: dict[tuple[object, int], int] = {}
        self.people = {"ann": ANN, "ben": BEN}
        self.revoked: list[Identity] = []

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.process.disk._file.close()
            self.folder.cleanup()

    def listed(self, call: Call) -> list[dict[str, int]]:
        ids = sorted(self.notes, reverse=True)
        return [
            self.notes[one]
            for one in ids
            if all(str(self.notes[one][name]) == value for name, value in call.query)
        ]

    def ask(self, call: Call, who: Identity, response: Response | None) -> Any:
        """Send a request, let HOSP respond to all that it has got, and return the outcome."""
        rig = self.process.rig
        reading = rig.send(call, who=who, offline=self.away and call.operation.is_read)
        for asked in rig.hosp:
            if not asked.reply.called:
                if self.away or response is None:
                    asked.reply.errback(NotSent("away"))
                else:
                    asked.reply.callback(response)
        return reading.outcome[0]

    def accept(self, who: Identity) -> None:
        self.process.rig.accounts.remember(who, self.process.rig.accounts.ticket())

    def known(self, who: Identity) -> bool:
        """Whether a user may read cached responses while HOSP cannot confirm the credentials."""
        results: list[Any] = []
        Deferred.fromCoroutine(self.process.rig.accounts.grace(who.credentials)).addBoth(results.append)
        return results[0] == who

    @rule(name=WHO, patient=st.sampled_from([None, 1, 2]))
    def read(self, name: str, patient: int | None) -> None:
        call = call_of("listNotes") if patient is None else call_of("listNotes", patient_id=str(patient))
        who = self.people[name]
        if self.away and not self.known(who):
            return
        said = answer(json.dumps(self.listed(call)).encode(), headers=(JSON,))
        outcome = self.ask(call, who, said)
        if not self.away:
            self.accept(who)
            assert isinstance(outcome, Response)
        if isinstance(outcome, Response):
            self.check(who, patient, json.loads(outcome.body))

    @invariant()
    def revoked_is_revoked(self) -> None:
        for who in getattr(self, "revoked", ())[-3:]:
            assert not self.known(who), "revoked credentials count as verified"

    def check(self, who: Identity, patient: int | None, shown: list[dict[str, int]]) -> None:
        """Check that a read does not contradict an acknowledged write of the reader."""
        seen = {one["id"]: one for one in shown}
        for (author, number), version in self.told.items():
            if author != who.id:
                continue
            now = self.notes.get(number)
            if number in seen:
                assert version >= 0, f"note {number} is shown though {author} deleted it"
                assert seen[number]["version"] >= version, (
                    f"an older state of note {number} is shown to {author}"
                )
            elif version >= 0 and now is not None and now["version"] == version:
                assert patient is not None and now["patient_id"] != patient, f"note {number} is missing"

    @rule(name=WHO, patient=PATIENT, lost=st.booleans())
    def create(self, name: str, patient: int, lost: bool) -> None:
        who = self.people[name]
        # HOSP gives no id twice, not even that of a deleted note.
        self.highest = number = self.highest + 1
        self.write(call_of("createNote", document={}), who, number, patient, lost)

    @rule(name=WHO, patient=PATIENT, data=st.data())
    def change(self, name: str, patient: int, data: st.DataObject) -> None:
        if self.notes:
            who = self.people[name]
            number = data.draw(st.sampled_from(sorted(self.notes)))
            self.write(call_of("updateNote", str(number), document={}), who, number, patient, False)

    def write(self, call: Call, who: Identity, number: int, patient: int, lost: bool) -> None:
        self.version += 1
        record = {"id": number, "patient_id": patient, "version": self.version}
        if self.away or lost:
            self.ask(call, who, answer(status=500) if lost else None)
            return
        self.notes[number] = record
        outcome = self.ask(call, who, answer(json.dumps(record).encode(), status=201, headers=(JSON,)))
        assert outcome.status == 201
        self.told[who.id, number] = self.version

    @rule(name=WHO, data=st.data())
    def delete(self, name: str, data: st.DataObject) -> None:
        if self.notes and not self.away:
            who = self.people[name]
            number = data.draw(st.sampled_from(sorted(self.notes)))
            del self.notes[number]
            self.ask(call_of("deleteNote", str(number)), who, answer(b"gone", headers=(HTML,)))
            self.told[who.id, number] = -1

    @rule()
    def leave(self) -> None:
        self.away = not self.away

    @rule(seconds=st.sampled_from([0.5, 2.0, 2.0, 61.0, 700.0]))
    def wait(self, seconds: float) -> None:
        self.process.rig.clock.advance(seconds)

    @rule(name=WHO, answered=st.booleans())
    def new_password(self, name: str, answered: bool) -> None:
        """HOSP accepts only the new password from now on, even if its response is lost."""
        old = self.people[name]
        self.revoked.append(old)
        self.people[name] = evolve(old, credentials=b"%s %d" % (name.encode(), len(self.revoked)))
        call = call_of("updateStaff", str(old.id), document={"password": "x"})
        self.ask(call, BEN, answer() if answered else None)

    @rule()
    def kill(self) -> None:
        self.process = self.process.killed()

    @rule(name=WHO)
    def outage(self, name: str) -> None:
        """The case that matters most: a read, a write, a crash, and then HOSP is away."""
        self.away = False
        self.read(name, None)
        self.wait(2.0)
        self.create(name, 1, False)
        self.kill()
        self.away = True
        self.read(name, None)


class OutageTests(SynchronousTestCase):
    def test_random_days(self) -> None:
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            Days, settings=settings(max_examples=40, stateful_step_count=30, deadline=None)
        )
