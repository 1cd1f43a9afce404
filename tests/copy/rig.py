"""A copy on a disk of its own, and responses of HOSP for it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred

from hospproxy.contract import document as contract_document
from hospproxy.contract.contract import Contract
from hospproxy.copy.records import Shapes
from hospproxy.copy.rules import RecordState
from hospproxy.copy.sealing import KeyRing
from hospproxy.copy.store import Answer, CopyStore
from hospproxy.keys.secrets import MasterKey

CONTRACT: Contract = contract_document.load()
SHAPES = Shapes.of(CONTRACT)
MASTER = MasterKey(b"k" * 32)
DAY = 1_700_000_000.0
"""Seconds since the epoch at which tests begin."""
MUCH = 1 << 30


def stamp(seconds: float) -> str:
    """A moment after DAY, as HOSP writes it."""
    from hospproxy.copy.writing import iso

    return iso(DAY + seconds)


def patient(number: int = 7, name: str = "Rex", updated: float = 0.0, **more: Any) -> dict[str, Any]:
    """A patient, as HOSP shows it."""
    return {
        "id": number, "name": name, "hospital_id": 1, "birthdate": "2020-01-02", "created_at": stamp(-100.0),
        "updated_at": stamp(updated), "url": f"http://hosp.test/patients/{number}.json", **more,
    }  # fmt: skip


def body(*records: Any) -> bytes:
    """One record, or a list of several."""
    return json.dumps(records[0] if len(records) == 1 else list(records)).encode()


def shown(
    content: bytes,
    began: float,
    ended: float | None = None,
    *,
    resource: str = "patients",
    record: str | None = None,
) -> Answer:
    """A response with records; its seconds count from DAY too."""
    ended = began + 1.0 if ended is None else ended
    return Answer(resource, RecordState.PRESENT, record, content, began, ended, DAY + ended)


def gone(state: RecordState, began: float, number: int = 7, *, resource: str = "patients") -> Answer:
    """A response that shows that a record is missing or deleted."""
    return Answer(resource, state, str(number), b"", began, began, DAY + began)


@define
class Rig:
    """The copy in a folder. ``reboot`` sets the clock since boot back."""

    folder: Path
    master: MasterKey = MASTER
    boot: float = 1000.0
    seed: int = 0
    store: CopyStore = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store = self.make()

    def make(self) -> CopyStore:
        return CopyStore(
            self.folder, KeyRing(self.master), SHAPES, random=self.bytes, since_boot=lambda: self.boot
        )

    def bytes(self, size: int) -> bytes:
        self.seed += 1
        return self.seed.to_bytes(4, "big").rjust(size, b"r")[-size:]

    def restart(self, master: MasterKey | None = None) -> None:
        """Close the copy, and open it as the next process does."""
        self.store.close()
        self.master = master or self.master
        self.store = self.make()
        self.store.open()

    def apply(self, *answers: Answer, max_bytes: int = MUCH) -> Counter[str]:
        return Counter(dict(self.store.apply(answers, max_bytes).events))

    def rows(self, question: str) -> list[tuple[Any, ...]]:
        assert self.store._connection is not None
        return self.store._connection.execute(question).fetchall()

    def on_disk(self) -> bytes:
        """All bytes of the folder's files."""
        return b"".join(path.read_bytes() for path in sorted(self.folder.iterdir()))


class Worker:
    """A thread's stand-in: it does each task at once, or when ``go`` is called."""

    def __init__(self) -> None:
        self.holds = False
        self.held: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.stopped = False

    def run(self, task: Callable[[], Any]) -> Deferred[Any]:
        if not self.holds:
            return maybeDeferred(task)
        done: Deferred[Any] = Deferred()
        self.held.append((task, done))
        return done

    def go(self) -> None:
        self.holds = False
        held, self.held = self.held, []
        for task, done in held:
            maybeDeferred(task).chainDeferred(done)

    def stop(self) -> None:
        self.stopped = True
