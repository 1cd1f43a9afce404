"""What each worker slot has for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import Settings, UpstreamSettings, structure
from hospproxy.courier.here import NoCourier
from hospproxy.courier.supervised import CourierProcess
from hospproxy.keys.secrets import MasterKey
from hospproxy.process.folders import remove_left
from hospproxy.process.host import Host
from hospproxy.record.trail.ends import JournalEnds
from hospproxy.service.assembly import assemble

KEY = MasterKey(b"k" * 32)


class Slots(SynchronousTestCase):
    def settings(self, **more: Any) -> Settings:
        document = {
            "upstream": {"url": "http://127.0.0.1:1"},
            "alerts": {"enabled": True, "unusual_hours": True},
        }
        return structure({"state_dir": str(Path(self.mktemp())), **document, **more})

    def test_each_has_files_of_its_own(self) -> None:
        settings = self.settings(workers=4)
        for slot, name, learnt in (
            (0, "answers.sqlite", "noticing.json"),
            (3, "answers-3.sqlite", "noticing-3.json"),
        ):
            parts: Any = assemble(settings, MemoryReactorClock(), KEY, slot, Host(has_courier=False))
            self.assertEqual(parts.disk._file._path, settings.state_dir / "cache" / name)
            learnt_by = parts.courier._delivery._noticing.learnt
            self.assertEqual(learnt_by._path, settings.state_dir / learnt)

    def test_only_the_first_starts_the_courier_of_the_machine(self) -> None:
        settings, ends = self.settings(workers=2), JournalEnds.make(2)
        kinds = [
            type(assemble(settings, MemoryReactorClock(), KEY, slot, ends=ends).courier) for slot in (0, 1)
        ]
        self.assertEqual(kinds, [CourierProcess, NoCourier])

    def test_what_is_its_own_while_redis_is_away(self) -> None:
        settings = self.settings(workers=4, redis={"enabled": True}, deadline_s=50.0)
        for slot, name in ((0, "places.json"), (3, "places-3.json")):
            places: Any = assemble(settings, MemoryReactorClock(), KEY, slot).places
            self.assertEqual(places._base._file._path, settings.state_dir / name)
            # A lease, a heartbeat, a command, a request, and some reserve.
            self.assertEqual(places._rules.patience_s, 2.0 + 0.5 + 0.5 + 50.0 + 5.0)

    def test_the_room_on_disk_is_shared_out(self) -> None:
        whole = self.settings(cache={"disk_max_bytes": 400 << 20})
        shared = self.settings(cache={"disk_max_bytes": 400 << 20}, workers=4)
        rooms = [
            assemble(each, MemoryReactorClock(), KEY, 0).disk._limits.max_bytes for each in (whole, shared)
        ]
        self.assertEqual(rooms, [400 << 20, 100 << 20])

    def test_what_fewer_workers_leave_is_removed(self) -> None:
        settings = Settings(
            upstream=UpstreamSettings(url="http://127.0.0.1:1"), state_dir=Path(self.mktemp()), workers=2
        )
        remove_left([settings.cache_path], 2)
        folder = settings.cache_path.parent
        folder.mkdir(parents=True)
        for name in ("answers.sqlite", "answers-1.sqlite", "answers-2.sqlite", "answers-2.sqlite-wal"):
            (folder / name).touch()
        remove_left([settings.cache_path], 2)
        self.assertEqual({each.name for each in folder.iterdir()}, {"answers.sqlite", "answers-1.sqlite"})

    def test_nor_does_it_leave_places_at_hosp_to_whoever_comes_later(self) -> None:
        settings = self.settings(workers=2)
        settings.state_dir.mkdir(parents=True)
        for name in ("places.json", "places-1.json", "places-2.json"):
            (settings.state_dir / name).touch()
        remove_left([settings.state_dir / "places.json"], 2)
        self.assertEqual(
            {each.name for each in settings.state_dir.iterdir()}, {"places.json", "places-1.json"}
        )
