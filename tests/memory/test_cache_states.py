"""The cache compared with a simple model of a hospital.

Reads, writes, password changes, losses and lookups come in any order. HOSP looks at a request at one moment (which
decides the response) and the response comes at another, so that fetches and writes overlap in every way.
"""

from __future__ import annotations

import os
import random

import msgspec
from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.exchange.exchange import Call
from hospproxy.http.errors import FailedAfterSending, OutcomeUnknown
from hospproxy.http.messages import Identity, Origin, Response

from .cache_rig import Asked, CacheRig, Reading, answer, call_of

STAFF = ("1", "2")
TURN = st.integers(0, 59)
"""Chooses one of several things (modulo their number, which depends on the subclass of `Hospital`)."""
# An open write to an account keeps responses out of the cache, so such writes must be the minority.
WRITES = ("createNote", "updateNote") * 4 + ("deletePatient", "updateStaff", "updateStaff", "deleteHospital")
HITS = [0]
"""Number of cache hits in the whole run."""


@define(eq=False)
class Write:
    """A write below the cache.

    :param password: it changes its account's password.
    :param versions: the versions that it raised, once it was carried out.
    :param epoch: the account's password after it.
    """

    call: Call
    reading: Reading
    asked: Asked
    password: bool
    carried_out: bool = False
    versions: dict[str, int] = field(factory=dict)
    epoch: int = 0


@define(eq=False)
class Read:
    """A read, and the oldest state that it may show.

    :param least: versions that had been acknowledged when it began.
    :param epoch: the password of its account that had been acknowledged when it began.
    :param looked: the response that HOSP has decided on.
    """

    who: Identity
    call: Call
    password: int
    least: dict[str, int]
    epoch: int
    reading: Reading
    looked: Response | None = None


def touched(call: Call) -> set[str]:
    """The versions that a write raises, named as in the contract, not as the cache's tags."""
    operation = call.operation
    raised = {f"{name}:*" for name in (operation.resource, *operation.makes_stale)}
    raised |= {f"{name}/{number}" for name in operation.makes_stale for number in STAFF}
    return raised | {f"{operation.resource}/{number}" for number in call.path}


def shown(call: Call) -> str:
    """The version that a read shows."""
    return f"{call.operation.resource}/{call.path[-1]}" if call.path else f"{call.operation.resource}:*"


class Hospital(RuleBasedStateMachine):
    """Few rules, each with many turns, so that the important events happen often enough in one run."""

    READS: tuple[str, ...] = ("listNotes", "getNote", "getMe")
    WRITES: tuple[str, ...] = ("createNote", "updateNote", "deletePatient", "updateStaff", "deleteHospital")
    OLD = (0, 0, 1)

    reads = Bundle("reads")
    writes = Bundle("writes")
    questions = Bundle("questions")

    def __init__(self) -> None:
        super().__init__()
        self.rig = CacheRig(max_bytes=12_000)
        self.versions: dict[str, int] = {}
        self.passwords = dict.fromkeys(STAFF, 0)
        self.acknowledged: dict[str, int] = {}
        self.epochs = dict.fromkeys(STAFF, 0)
        self.open: list[Write] = []
        self.begun: list[Read] = []
        self.hits = 0

    def _identity(self, staff: str, password: int) -> Identity:
        return Identity(int(staff), f"staff {staff}", f"{staff}:{password}".encode())

    def _being_changed(self) -> set[str]:
        """Accounts that a write may be changing."""
        calls = [one.call for one in self.open if one.call.operation.resource in ("staffs", "hospitals")]
        return {
            staff for call in calls for staff in (call.path if "staff" in call.operation.template else STAFF)
        }

    @rule(target=questions, staff=st.sampled_from(STAFF), old=st.integers(0, 1))
    def ask_who(self, staff: str, old: int) -> tuple[Identity, int, bool]:
        """Ask HOSP who is calling. It decides at once; the proxy gets the response later (`hear_who`)."""
        password = max(0, self.passwords[staff] - old)
        accepted = password == self.passwords[staff]
        return self._identity(staff, password), self.rig.accounts.ticket(), accepted

    @rule(question=consumes(questions))
    def hear_who(self, question: tuple[Identity, int, bool]) -> None:
        identity, ticket, accepted = question
        if accepted:
            self.rig.accounts.remember(identity, ticket)
        else:
            self.rig.accounts.forget(identity.credentials)

    @rule(
        target=reads,
        staff=st.sampled_from(STAFF),
        turn=TURN,
        no_cache=st.sampled_from([False, False, False, True]),
        event=st.sampled_from(["answer", "answer", "look", "nothing"]),
    )
    def read(self, staff: str, turn: int, no_cache: bool, event: str) -> Read:
        """A user reads, perhaps with an old password."""
        who = self._identity(staff, max(0, self.passwords[staff] - self.OLD[turn % len(self.OLD)]))
        operation = self.READS[turn // 3 % len(self.READS)]
        call = call_of(operation, *(("1",) if operation == "getNote" else ()))
        return self._read(who, call, no_cache, event)

    @rule(target=reads, read=reads, event=st.sampled_from(["answer", "answer", "look", "nothing"]))
    def read_again(self, read: Read, event: str) -> Read:
        """Repeat a read with the same credentials, whatever happened meanwhile."""
        call = read.call
        return self._read(read.who, call_of(call.operation.id, *call.path), False, event)

    def _read(self, who: Identity, call: Call, no_cache: bool, event: str) -> Read:
        staff, password = str(who.id), int(who.credentials[2:])
        if self.rig.accounts.recall(who.credentials) is not None:
            assert password >= self.epochs[staff], "credentials are remembered after they were changed"
            assert staff not in self._being_changed(), "an account that is being changed is remembered"
        headers = ((b"Cache-Control", b"no-cache"),) if no_cache else ()
        reading = self.rig.send(call, *headers, who=who, deadline_s=1e9)
        read = Read(who, call, password, dict(self.acknowledged), self.epochs[staff], reading)
        if reading.exchange.trace.cache_status == "hit":
            assert staff not in self._being_changed(), (
                "an account that is being changed was served from memory"
            )
            self.hits += 1
        self.begun.append(read)
        self.a_fetch_goes_on(read, event)
        return read

    @rule(read=reads, event=st.sampled_from(["answer", "answer", "answer", "look", "lose", "leave"]))
    def a_fetch_goes_on(self, read: Read, event: str) -> None:
        """HOSP decides on its response, sends it, or fails. A read that joined another has no fetch of its own."""
        mine = (one for one in self.rig.hosp if one.exchange.call is read.call and not one.reply.called)
        asked = next(mine, None)
        if event == "leave":
            read.reading.result.cancel()
        elif asked is not None and event == "lose":
            asked.reply.errback(FailedAfterSending("reset"))
        elif asked is not None and event != "nothing":
            read.looked = read.looked or self._answer(read)
            if event == "answer":
                asked.reply.callback(read.looked)
        self._check(read)

    def _answer(self, read: Read) -> Response:
        staff = str(read.who.id)
        if read.password != self.passwords[staff]:
            return answer(b"denied", status=401, headers=())
        body = {"who": staff, "password": read.password, "version": self.versions.get(shown(read.call), 0)}
        return answer(msgspec.json.encode(body))

    @rule(
        target=writes,
        turn=TURN,
        number=st.sampled_from(STAFF),
        event=st.sampled_from(["answer", "answer", "carry out", "nothing", "lose"]),
    )
    def write(self, turn: int, number: str, event: str) -> Write:
        """Send a write; one to a member of staff may change the password."""
        operation = self.WRITES[turn % len(self.WRITES)]
        path = () if operation == "createNote" else (number if operation == "updateStaff" else "1",)
        call = call_of(operation, *path, document={})
        reading = self.rig.send(call, who=self._identity("1", 0), deadline_s=1e9)
        write = Write(call, reading, self.rig.hosp[-1], turn % 3 > 0 and operation == "updateStaff")
        self.open.append(write)
        self.a_write_goes_on(write, event)
        return write

    @rule(write=writes, event=st.sampled_from(["answer", "answer", "carry out", "refuse", "lose"]))
    def a_write_goes_on(self, write: Write, event: str) -> None:
        """HOSP carries it out, early or late; its response arrives or is lost; a lost write is found later."""
        if write not in self.open or event == "nothing":
            return
        lost = write.asked.reply.called
        if event == "carry out" or (event == "answer" and not lost):
            self._carry_out(write)
        if event == "carry out" or (event == "refuse" and (lost or write.carried_out)):
            return
        if event == "lose":
            if not lost:
                write.asked.reply.errback(OutcomeUnknown("who knows", reference="r"))
            return
        if lost:
            self.rig.memory.found_later(write.call)
        else:
            write.asked.reply.callback(answer(b"{}", status=200 if event == "answer" else 422))
        self._ends(write)

    def _carry_out(self, write: Write) -> None:
        if write.carried_out:
            return
        write.carried_out = True
        for version in touched(write.call):
            write.versions[version] = self.versions[version] = self.versions.get(version, 0) + 1
        if write.password:
            staff = write.call.path[-1]
            write.epoch = self.passwords[staff] = self.passwords[staff] + 1

    def _ends(self, write: Write) -> None:
        """Its outcome is known to the proxy and to its client."""
        self.open.remove(write)
        for version, number in write.versions.items():
            self.acknowledged[version] = max(number, self.acknowledged.get(version, 0))
        if write.password:
            staff = write.call.path[-1]
            self.epochs[staff] = max(write.epoch, self.epochs[staff])

    @rule(seconds=st.sampled_from([0.5, 1.0, 61.0, 301.0]))
    def time_passes(self, seconds: float) -> None:
        self.rig.clock.advance(seconds)

    def _check(self, read: Read) -> None:
        """Check that a response is the reader's own, for the same credentials, and not too old."""
        if not read.reading.outcome or not isinstance(read.reading.outcome[0], Response):
            return
        response = read.reading.response
        if response.status != 200:
            return
        body = msgspec.json.decode(response.body)
        assert body["who"] == str(read.who.id), "another's answer"
        assert body["password"] == read.password, "an answer to other credentials"
        assert read.password >= read.epoch, "credentials that had been changed before it began"
        word = read.reading.exchange.trace.cache_status
        # A response served while HOSP fails is marked as stale and may be older. test_outage.py checks it.
        old = word == "stale"
        assert old or body["version"] >= read.least.get(shown(read.call), 0), (
            "older than an acknowledged write"
        )
        assert (response.origin is Origin.MEMORY) == (word in ("hit", "collapsed", "stale"))

    @invariant()
    def the_bound_is_kept(self) -> None:
        store = self.rig.store
        assert 0 <= store.bytes <= store.max_bytes
        assert store.bytes == sum(held.size for held in store._held.values())

    def walk(self, randomness: random.Random, steps: int) -> None:
        """Take so many random steps through the same rules, without Hypothesis."""
        reads: list[Read] = []
        writes: list[Write] = []
        questions: list[tuple[Identity, int, bool]] = []
        draw = randomness.choice
        for _ in range(steps):
            kind = draw(
                ("read", "read", "again", "again", "fetch", "fetch", "write", "write on", "who", "time")
            )
            event = draw(("answer", "answer", "look", "nothing"))
            if kind == "read":
                reads.append(
                    self.read(draw(STAFF), randomness.randrange(60), draw((False, False, True)), event)
                )
            elif kind == "again" and reads:
                reads.append(self.read_again(draw(reads[-6:]), event))
            elif kind == "fetch" and reads:
                self.a_fetch_goes_on(
                    draw(reads[-6:]), draw(("answer", "answer", "answer", "look", "lose", "leave"))
                )
            elif kind == "write":
                event = draw(("answer", "nothing", "nothing", "carry out", "lose"))
                writes.append(self.write(randomness.randrange(60), draw(STAFF), event))
            elif kind == "write on" and self.open:
                self.a_write_goes_on(
                    draw(self.open), draw(("answer", "answer", "carry out", "refuse", "lose"))
                )
            elif kind == "who":
                questions.append(self.ask_who(draw(STAFF), draw((0, 1))))
                if draw((True, False)):
                    self.hear_who(questions.pop(randomness.randrange(len(questions))))
            elif kind == "time":
                self.time_passes(draw((0.5, 0.5, 0.5, 61.0)))
            self.the_bound_is_kept()
        self.teardown()

    def teardown(self) -> None:
        HITS[0] += self.hits
        for asked in self.rig.hosp:
            if not asked.reply.called:
                asked.reply.errback(FailedAfterSending("the end"))
        for read in self.begun:
            self._check(read)
        assert len(self.rig.memory.fills) == 0
        assert self.rig.clock.getDelayedCalls() == []


class Notes(Hospital):
    """No account changes: only invalidation by a write keeps a response out of the cache."""

    READS = ("listNotes", "getNote")
    WRITES = ("createNote", "updateNote", "updateNote", "deletePatient")
    OLD = (0,)


class Accounts(Hospital):
    """Passwords change all the time."""

    READS = ("listNotes",)
    WRITES = ("updateStaff",)
    OLD = (0, 1)


class StateTests(SynchronousTestCase):
    def try_all(self, machine: type[Hospital], examples: int) -> None:
        HITS[0] = 0
        # print_blob: a failure prints the line that reproduces its example.
        tried = settings(max_examples=examples, stateful_step_count=30, deadline=None, print_blob=True)
        run_state_machine_as_test(machine, settings=tried)  # type: ignore[no-untyped-call]
        self.assertGreater(HITS[0], 0, "nothing was served from memory, so nothing was tried")

    def walk(self, machine: type[Hospital], walks: int) -> None:
        """Take far more steps than Hypothesis has time for; a failure names the seed."""
        first = int(os.environ.get("HOSPPROXY_SEED") or random.randrange(1 << 32))
        for seed in range(first, first + walks):
            try:
                machine().walk(random.Random(seed), 60)
            except BaseException:
                print(f"\nHOSPPROXY_SEED={seed} {machine.__name__}")
                raise

    def test_long_walks_among_reads_and_writes(self) -> None:
        self.walk(Notes, 400)

    def test_long_walks_among_reads_and_passwords(self) -> None:
        self.walk(Accounts, 400)

    def test_long_walks_among_everything(self) -> None:
        self.walk(Hospital, 400)

    def test_any_order_of_reads_and_writes(self) -> None:
        self.try_all(Notes, 100)

    def test_any_order_of_reads_and_passwords(self) -> None:
        self.try_all(Accounts, 100)

    def test_any_order_of_everything(self) -> None:
        self.try_all(Hospital, 100)
