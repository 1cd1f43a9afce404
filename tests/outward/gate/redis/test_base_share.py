from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.outward.gate.redis.base_share import BaseFile, BaseRecord, OwnBase, kept_in

GOOD = {"v": 1, "member": "m.1-a", "base": 2, "ceiling": 5}


class Now:
    """A thread that does each task at once."""

    def run(self, task: Callable[[], Any]) -> Deferred[Any]:
        return maybeDeferred(task)

    def stop(self) -> None:
        pass


class Late(Now):
    """A thread that does its tasks only when told to."""

    def __init__(self) -> None:
        self.tasks: list[tuple[Deferred[None], Callable[[], Any]]] = []

    def run(self, task: Callable[[], Any]) -> Deferred[Any]:
        waiting: Deferred[None] = Deferred()
        self.tasks.append((waiting, task))
        return waiting.addCallback(lambda _: task())

    def go(self) -> None:
        self.tasks.pop(0)[0].callback(None)


class ContentTests(SynchronousTestCase):
    def test_what_is_good(self) -> None:
        self.assertEqual(kept_in(json.dumps(GOOD).encode()), BaseRecord(b"m.1-a", 2, 5))

    def test_what_is_not_counts_as_none(self) -> None:
        wrong: list[dict[str, object]] = [
            {"v": 2}, {"member": ""}, {"member": 3}, {"member": "m 1"}, {"member": "x" * 129}, {"member": "m.\u00e4"},
            {"base": -1}, {"base": 6}, {"base": 1.5}, {"base": "2"}, {"base": True}, {"ceiling": None}, {"more": 1},
        ]  # fmt: skip
        for each in wrong:
            self.assertIsNone(kept_in(json.dumps({**GOOD, **each}).encode()), each)
        for content in (b"", b"{", b"[]", b"\xff", json.dumps(GOOD).encode()[:-1], b"{}"):
            self.assertIsNone(kept_in(content), content)


class FileCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "places.json"
        self.file = BaseFile(self.path, Now())

    def base(self, *, alive: tuple[str, ...] = (), ceiling: int = 5, file: BaseFile | None = None) -> OwnBase:
        base = OwnBase(ceiling, self.file if file is None else file, lambda name: name not in alive)
        base.start()
        return base


class FileTests(FileCase):
    def test_it_outlives_aprocess_and_is_for_nobody_else(self) -> None:
        self.assertIsNone(self.successResultOf(self.file.read()))
        self.successResultOf(self.file.write(BaseRecord(b"m.1", 2, 5), b""))
        self.assertEqual(self.successResultOf(self.file.read()), BaseRecord(b"m.1", 2, 5))
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual([each.name for each in self.path.parent.iterdir()], ["places.json"])

    def test_what_cannot_be_read_or_is_too_long_counts_as_none(self) -> None:
        self.path.mkdir(parents=True)
        self.assertIsNone(self.successResultOf(self.file.read()))
        self.path.rmdir()
        self.path.write_bytes(json.dumps(GOOD).encode() + b" " * 1000)
        self.assertIsNone(self.successResultOf(self.file.read()))

    def test_who_has_come_in_ones_place_keeps_it(self) -> None:
        self.successResultOf(self.file.write(BaseRecord(b"m.2", 2, 5), b""))
        self.successResultOf(self.file.write(BaseRecord(b"m.1", 0, 5), b"m.0"))
        self.assertEqual(self.successResultOf(self.file.read()), BaseRecord(b"m.2", 2, 5))
        self.successResultOf(self.file.write(BaseRecord(b"m.3", 1, 5), b"m.2"))
        self.assertEqual(self.successResultOf(self.file.read()), BaseRecord(b"m.3", 1, 5))


class OwnBaseTests(FileCase):
    def test_what_was_told_is_inherited(self) -> None:
        self.base().told(b"m.1", 2)
        heir = self.base()
        self.assertFalse(heir.inherit(b""))
        self.assertTrue(heir.inherit(b"m.2"))
        self.assertEqual((heir.value, heir.said, heir.heir_of), (2, 2, b"m.1"))
        heir.told(b"m.2", 1)
        self.assertEqual((heir.value, heir.said, heir.heir_of), (1, 1, b""))
        self.assertEqual(self.successResultOf(self.file.read()), BaseRecord(b"m.2", 1, 5))

    def test_of_another_machine_it_is_not(self) -> None:
        self.base().told(b"other.1", 2)
        heir = self.base()
        self.assertFalse(heir.inherit(b"m.2"))
        self.assertEqual((heir.value, heir.heir_of), (0, b""))

    def test_with_fewer_places_each_has_as_much_less(self) -> None:
        self.base().told(b"m.1", 3)
        heir = self.base(ceiling=2)
        heir.inherit(b"m.2")
        self.assertEqual(heir.value, 1)
        heir = self.base(ceiling=9)
        heir.inherit(b"m.2")
        self.assertEqual(heir.value, 3)

    def test_of_one_that_lived_and_then_gave_it_up_nothing_is_inherited(self) -> None:
        before = self.base()
        before.told(b"m.1", 2)
        alive = ["1"]
        heir = OwnBase(5, self.file, lambda name: name not in alive)
        heir.start()
        self.assertFalse(heir.inherit(b"m.2"))
        self.successResultOf(Deferred.fromCoroutine(before.give_up(b"m.1")))
        alive.clear()
        self.assertFalse(heir.inherit(b"m.2"))
        heir.inherit(b"m.2")
        self.assertEqual(heir.value, 0)

    def test_what_is_given_up_is_written_before_it_is_said(self) -> None:
        late = Late()
        base = self.base(file=BaseFile(self.path, late))
        late.go()
        base.told(b"m.1", 3)
        self.assertEqual((base.value, base.said), (3, 3))
        late.go()
        base.told(b"m.1", 1)
        self.assertEqual((base.value, base.said), (1, 3))
        given_up = Deferred.fromCoroutine(base.give_up(b"m.1"))
        late.go()
        self.assertNoResult(given_up)
        self.assertEqual((base.value, base.said), (0, 1))
        late.go()
        self.successResultOf(given_up)
        self.assertEqual(base.said, 0)

    def test_a_disk_that_fails_takes_nothing_from_others_and_is_said_once(self) -> None:
        base = self.base()
        base.told(b"m.1", 3)
        self.path.parent.chmod(0o700)
        broken = BaseFile(self.path / "no folder" / "places.json", Now())
        base._file = broken
        for _ in range(3):
            base.told(b"m.1", 1)
        self.assertEqual((base.value, base.said), (1, 3))
        self.successResultOf(Deferred.fromCoroutine(base.give_up(b"m.1")))
        self.assertEqual(base.said, 3)
