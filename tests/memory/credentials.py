"""Users, writes, revocations, faults, ages and restarts in random order, compared with a model of who may see what.

HOSP marks every response with the user for whom it was made. Three things must never happen: a user gets a byte of
another's response; credentials get a response although, before the request, a client was told that they are no longer
valid; a note is stored twice, or reported as stored and is not.

    python -m tests.memory.credentials --steps 20000 --seed 7
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import random
import re
import tempfile
from collections import Counter
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from hospproxy.arrival.null_meter import NullMeter
from hospproxy.exchange.exchange import Call, Exchange
from hospproxy.http.errors import FailedAfterSending, NotSent
from hospproxy.http.messages import ABSENT, Origin, Response
from hospproxy.interfaces import Proceed
from hospproxy.memory.accounts import Accounts
from hospproxy.memory.cache import Cache
from hospproxy.memory.disk import DiskCache
from hospproxy.memory.memory import Memory, WriteAuthor
from hospproxy.memory.second_level import SecondLevelAccess
from hospproxy.memory.store import LruStore
from hospproxy.options.sections import CacheSettings
from tests.outward.ledger.fakes import Disk as LedgerDisk
from tests.process_end import ProcessTime
from tests.rig import CONTRACT, Rig, SmallHosp, stamp

from .restartable_cache import World

READS = (
    "/hospitals", "/patients", "/patients?hospital_id=1", "/patients/7", "/notes", "/notes?patient_id=7", "/staffs",
    "/staffs/me", "/staffs/1", "/staffs/2",
)  # fmt: skip
WISHES = ((), (), (), (), ((b"cache-control", b"no-cache"),), ((b"cache-control", b"only-if-cached"),))
AGES = (0.01, 0.3, 2.0, 26.0, 61.0, 95.0, 301.0, 4000.0)
_PERSON = re.compile(rb'"person": ?"([^"]*)"')
_MADE_FOR = re.compile(rb'"made_for": ?"([^"]*)"')


class Broken(AssertionError):
    """One of the three forbidden things happened."""


def header(name: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{name}:{password}".encode())


def mark(auth: bytes) -> str:
    return hashlib.sha256(auth).hexdigest()[:12]


def note_of(document: Any) -> str:
    """Text that no other note has: each contains a random word, or the reference of its screening."""
    return f"{document['title']} {document.get('body')}"


class Marking(SmallHosp):
    """Marks its responses with their user, and can hold back a response that it has already made."""

    def __init__(self, clock: Clock, chance: random.Random) -> None:
        super().__init__(clock)
        self.chance = chance
        self.valid_once: dict[int, set[bytes]] = {}
        self.revoked: set[bytes] = set()
        self.waiting: list[Deferred[None]] = []
        self.holding = False
        self.stored: Counter[str] = Counter()
        self.look_at_accounts()

    def look_at_accounts(self) -> None:
        """Note which credentials are valid now. Those that became valid again no longer count as revoked."""
        for row in self.records["staffs"]:
            password = self.passwords.get(row["name"])
            if password is not None:
                auth = header(row["name"], password)
                self.valid_once.setdefault(row["id"], set()).add(auth)
                self.revoked.discard(auth)

    def valid(self, number: int) -> set[bytes]:
        row = next((row for row in self.records["staffs"] if row["id"] == number), None)
        password = None if row is None else self.passwords.get(row["name"])
        return set() if row is None or password is None else {header(row["name"], password)}

    def revoke(self, number: int) -> None:
        """A client was told that this account was changed: credentials that are no longer valid count as revoked."""
        self.revoked |= self.valid_once.get(number, set()) - self.valid(number)

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:
        before = self.holding and self.chance.random() < 0.5
        if before:
            await self._wait()
        response = await super().process(exchange, proceed)
        if self.holding and not before:  # it accepted credentials that may be invalid by now
            await self._wait()
        return response

    async def _wait(self) -> None:
        waiter: Deferred[None] = Deferred()
        self.waiting.append(waiter)
        await waiter

    def release(self) -> None:
        waiting, self.waiting = self.waiting, []
        self.chance.shuffle(waiting)
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(None)

    def answer(self, call: Call) -> Response:
        who = self.who(call)
        response = super().answer(call)
        self.look_at_accounts()
        if call.operation.id == "createNote" and response.status == 201:
            self.stored[note_of(call.document)] += 1
        if who is None or call.authorization is None or not response.body.startswith((b"{", b"[")):
            return response
        marks = {"person": str(who["id"]), "made_for": mark(call.authorization)}
        document = json.loads(response.body)
        if isinstance(document, list):
            document = [{**one, **marks} for one in document]
        else:
            document |= marks
        return evolve(response, body=json.dumps(document).encode())


@define
class User:
    """A member of staff, and every password that anybody tried to set for them."""

    number: int
    name: str
    passwords: list[str]


@define(eq=False)
class Sent:
    """One request of a client.

    :param revokes: id of the account that it changes.
    :param chosen: the new credentials of that account.
    :param note: the note that it is to store.
    """

    life: int
    auth: bytes
    person: str
    method: str
    target: str
    was_revoked: bool
    revokes: int | None = None
    chosen: bytes | None = None
    note: str | None = None


@define(eq=False)
class Life:
    """One process: a chain with a cache, and its part on disk."""

    rig: Rig
    disk: DiskCache
    number: int
    in_flight: int = 0

    def kill(self) -> None:
        """End the process and close its file."""
        self.rig.kill()
        self.disk._file.close()


@define(eq=False, slots=False)
class Fuzz:
    """Runs the world in random steps, and compares it with the model.

    :ivar seen: counts of what happened, so that a run that tried nothing is noticed.
    """

    seed: int
    folder: str
    seen: Counter[str] = field(factory=Counter)
    log: list[str] = field(factory=list)
    broken: list[str] = field(factory=list)
    told: dict[bytes, set[bytes]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.clock = Clock()
        self.hosp = Marking(self.clock, self.chance)
        self.world = World(self.folder)
        self.ledger = LedgerDisk()
        self.number = 10
        self.users = [User(1, "staff1", ["password1"]), User(2, "staff2", ["password2"])]
        for _ in range(2):
            self._hire()
        self.life = self._begin(0)

    def _hire(self) -> None:
        self.number += 1
        name = f"staff{self.number}"
        at = stamp(self.clock.seconds())
        row = {"id": self.number, "name": name, "hospital_id": 1, "created_at": at, "updated_at": at}
        self.hosp.records["staffs"].append(row)
        self.hosp.passwords[name] = f"first-{self.number}"
        self.hosp.look_at_accounts()
        self.users.append(User(self.number, name, [f"first-{self.number}"]))

    def _begin(self, number: int) -> Life:
        time: Any = ProcessTime(self.clock)
        disk = self.world.disk(time)
        accounts = Accounts(time, 50, 300.0, 43200.0, disk)
        accounts.resume(disk.open())
        memory = Memory(CONTRACT, accounts, LruStore(1 << 18), time, None, disk)
        made: list[Rig] = []
        cache = Cache(
            CacheSettings(),
            CONTRACT,
            memory,
            time,
            NullMeter(),
            lambda *call, **how: made[0].ask(*call, **how),
            self.second(memory, time),
        )
        rig = Rig(
            clock=self.clock,
            time=time,
            hosp=self.hosp,
            accounts=accounts,
            disk=self.ledger,
            forget=lambda exchange: memory.found_later(exchange.call, WriteAuthor.of(exchange)),
            references=lambda: f"ref-{self.chance.getrandbits(64):x}",
            put_in={"memory.cache": cache},
            made=made,
        )
        return Life(rig, disk, number)

    def second(self, _memory: Memory, _time: Any) -> SecondLevelAccess | None:
        """The second level that processes share besides the disk; None here."""
        return None

    def step(self) -> None:
        """Take one random step.

        :raise Broken: a rule of the model was broken.
        """
        dice = self.chance.random()
        for limit, what in (
            (0.68, self.read), (0.77, self.write), (0.82, self.revoke), (0.92, self.age), (0.95, self.fault),
            (0.985, self.hold), (0.995, self.replace), (1.0, self.restart),
        ):  # fmt: skip
            if dice < limit:
                what()
                break
        self._pass(0.001)
        self._count()
        if self.broken:
            raise Broken(self.broken[0])
        self._tidy()

    def _pass(self, seconds: float) -> None:
        """Advance from one timer to the next. In one leap, HOSP would be later than the proxy assumes."""
        until = self.clock.seconds() + seconds
        while (due := min((call.getTime() for call in self.clock.getDelayedCalls()), default=until)) < until:
            self.clock.advance(max(0.0, due - self.clock.seconds()))
        self.clock.advance(max(0.0, until - self.clock.seconds()))

    def _count(self) -> None:
        """Check that HOSP stored each note once, and that the proxy found none that was carried out twice."""
        for note, times in self.hosp.stored.items():
            if times > 1:
                self._fail(f"{note!r} was stored {times} times")
        for reference, found in self.life.rig.findings:
            if found.startswith("carried out twice"):
                self._fail(f"{reference} was {found}")
        self.life.rig.findings.clear()

    def auth(self, user: User) -> bytes:
        """Credentials: mostly valid ones, sometimes old ones or ones that HOSP never accepted."""
        valid = self.hosp.valid(user.number)
        if valid and self.chance.random() < 0.8:
            return next(iter(valid))
        return header(user.name, self.chance.choice(user.passwords))

    def read(self) -> None:
        user = self.chance.choice(self.users)
        target = self.chance.choice(READS)
        self._send(user, self.auth(user), "GET", target, headers=self.chance.choice(WISHES))

    def write(self) -> None:
        user, dice = self.chance.choice(self.users), self.chance.random()
        auth, word = self.auth(user), f"{self.chance.getrandbits(64):x}"
        if dice < 0.4:
            self._send(user, auth, "POST", "/notes", {"title": word, "patient_id": 7})
        elif dice < 0.6:
            self._send(user, auth, "PATCH", "/patients/7", {"name": word})
        elif dice < 0.8 and (
            written := [note for note in self.hosp.records["notes"] if note["body"] is None]
        ):
            # Not a screening's note: if it is deleted before the proxy finds it, the proxy rightly stores it again.
            self._send(user, auth, "DELETE", f"/notes/{self.chance.choice(written)['id']}")
        else:
            self._send(user, auth, "POST", "/patients/7/screen", {"images": [word]})

    def revoke(self) -> None:
        """A user, mostly the owner, sets a new password for an account, or deletes it."""
        user = self.chance.choice(self.users)
        by = user if self.chance.random() < 0.7 else self.chance.choice(self.users)
        auth = self.auth(by)
        if self.chance.random() < 0.1 and user.number > 2:
            self._send(by, auth, "DELETE", f"/staffs/{user.number}", revokes=user.number)
            return
        password = f"p{self.chance.getrandbits(48):x}"
        user.passwords.append(password)
        del user.passwords[:-6]
        chosen = header(user.name, password)
        self._send(
            by,
            auth,
            "PATCH",
            f"/staffs/{user.number}",
            {"password": password},
            revokes=user.number,
            chosen=chosen,
        )

    def age(self) -> None:
        if self.chance.random() < 0.5:  # HOSP has no faults from now on
            self.hosp.read_faults.clear()
            self.hosp.faults.clear()
        for _ in range(self.chance.randint(1, 4)):
            self._pass(self.chance.choice(AGES) / 4)

    def fault(self) -> None:
        """HOSP fails as the contract allows: a write that was not sent, or got a 500, is never carried out later."""
        what = self.chance.choice(
            (500, 503, NotSent("no"), FailedAfterSending("cut"), FailedAfterSending("cut"))
        )
        if self.chance.random() < 0.5:
            self.hosp.read_faults += [what] * self.chance.choice((1, 1, 6))
        else:
            when: tuple[str, ...] = ("before", "after", "late:3", "late:20")
            if isinstance(what, NotSent):
                when = ("before",)
            elif what == 500:
                when = ("before", "after")
            self.hosp.faults.append((self.chance.choice(when), what))

    def hold(self) -> None:
        self.hosp.holding = not self.hosp.holding
        if not self.hosp.holding:
            self.hosp.release()

    def replace(self) -> None:
        """Add a user; if there are six, remove one instead, and the proxy does not learn of it."""
        if len(self.users) < 6:
            self._hire()
        elif self.users[-1].number > 2:
            del self.users[2]

    def restart(self) -> None:
        """Kill the process and start the next one with its files. Half of the time it could write everything first."""
        if self.chance.random() < 0.5:
            self._pass(2.0)
        self.life.kill()
        self.hosp.waiting.clear()
        self.life = self._begin(self.life.number + 1)
        self.seen["restarts"] += 1

    def _send(
        self,
        user: User,
        auth: bytes,
        method: str,
        target: str,
        document: Any = ABSENT,
        *,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        revokes: int | None = None,
        chosen: bytes | None = None,
    ) -> None:
        revoked = auth in self.hosp.revoked
        note = note_of(document) if (method, target) == ("POST", "/notes") else None
        sent = Sent(self.life.number, auth, str(user.number), method, target, revoked, revokes, chosen, note)
        self.log.append(
            f"{self.clock.seconds():.3f} {mark(auth)} of {user.number} {method} {target} {document}"
        )
        del self.log[:-60]
        self.life.in_flight += 1
        answer = self.life.rig.send(method, target, document, auth=auth, headers=headers)
        answer.addBoth(self._answered, sent)

    def _answered(self, answer: Response | Failure, sent: Sent) -> None:
        if sent.life != self.life.number:  # its process is dead
            return
        self.life.in_flight -= 1
        if isinstance(answer, Failure):
            self.seen["no answer"] += 1
            return
        self.seen[f"{answer.status // 100}xx"] += 1
        self._judge(answer, sent)
        if sent.revokes is not None and answer.status < 300:
            self.seen["revocations"] += 1
            self.hosp.revoke(sent.revokes)

    def _judge(self, answer: Response, sent: Sent) -> None:
        people = set(_PERSON.findall(answer.body))
        made_for = set(_MADE_FOR.findall(answer.body))
        # The look for a lost change of a password uses the new password, which the sender has chosen. Its result is
        # then in the sender's own cached responses, too.
        told = self.told.setdefault(sent.auth, set())
        if sent.chosen is not None and made_for == {mark(sent.chosen).encode()}:
            people.discard(str(sent.revokes).encode())
            told |= {str(sent.revokes).encode(), *made_for}
        elif sent.target.startswith("/staffs"):
            people, made_for = people - told, made_for - told
        if people - {sent.person.encode()}:
            self._fail(f"{sent} got what was made for {people}")
        if sent.method == "GET" and made_for - {mark(sent.auth).encode()}:
            self._fail(f"{sent} got what was made for other credentials: {made_for}")
        if sent.note is not None and answer.status < 300 and self.hosp.stored[sent.note] != 1:
            self._fail(
                f"{sent} was answered {answer.status}, though stored {self.hosp.stored[sent.note]} times"
            )
        if answer.origin is Origin.MEMORY and answer.status < 300:
            self.seen["from memory"] += 1
        # If a late change made credentials valid again, they are no longer in `revoked`.
        if sent.was_revoked:
            self.seen["asked though revoked"] += 1
            if answer.status < 400 and sent.auth in self.hosp.revoked:
                self._fail(f"{sent} was answered {answer.status} by {answer.origin}, though revoked")

    def _fail(self, words: str) -> None:
        # An exception raised here would be lost in a Deferred.
        self.broken.append(f"seed {self.seed}: {words}\n" + "\n".join(self.log))

    def _tidy(self) -> None:
        self.hosp.calls.clear()
        self.life.rig.exchanges.clear()
        self._forget_notes()
        if self.life.in_flight > 40:
            self.hosp.holding = False
            self.hosp.release()
            self._pass(40.0)

    def _forget_notes(self) -> None:
        """Delete old notes without the proxy: only those for which it no longer looks before a retry."""
        notes, before = self.hosp.records["notes"], stamp(self.clock.seconds() - 60.0)
        if len(notes) > 40:
            notes[:] = [note for note in notes if note["body"] is not None or note["created_at"] > before]


def run(seed: int, steps: int, kind: type[Fuzz] = Fuzz) -> Counter[str]:
    """Run so many random steps; return how often each thing happened.

    :raise Broken: with the seed and the latest steps.
    """
    with tempfile.TemporaryDirectory(prefix="hospproxy-test-") as folder:
        fuzz = kind(seed, folder)
        try:
            for _ in range(steps):
                fuzz.step()
        finally:
            fuzz.life.kill()
    return fuzz.seen


def main() -> None:
    """Run the long form; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    given = parser.parse_args()
    print(f"seed {given.seed}, {given.steps} steps", flush=True)
    for name, count in sorted(run(given.seed, given.steps).items()):
        print(f"{count:8} {name}")


if __name__ == "__main__":
    main()
