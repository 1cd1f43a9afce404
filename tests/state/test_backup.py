"""What a backup takes of each worker; integration/test_backup.py tests a running proxy."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import Settings, UpstreamSettings
from hospproxy.copy import files, history
from hospproxy.copy.files import open_existing
from hospproxy.copy.sealing import KeyRing
from hospproxy.state.backup import _copy_small, backup
from hospproxy.state.manifest import StateError
from hospproxy.state.restore import restore
from tests.copy.rig import DAY, MASTER, SHAPES, Rig, body, patient, shown


class Small(SynchronousTestCase):
    def test_what_every_worker_has_learnt(self) -> None:
        folder = Path(self.mktemp())
        state, content = folder / "state", folder / "content"
        state.mkdir(parents=True)
        for name in ("noticing.json", "noticing-1.json", "noticing-12.json", "noticing-1.json.new"):
            (state / name).write_bytes(name.encode())
        _copy_small(Settings(upstream=UpstreamSettings(url="http://127.0.0.1:1"), state_dir=state), content)
        copied = {path.name: path.read_bytes().decode() for path in content.glob("noticing*")}
        self.assertEqual(
            copied, {name: name for name in ("noticing.json", "noticing-1.json", "noticing-12.json")}
        )


class CopyTests(SynchronousTestCase):
    """The copy of HOSP's records in a backup that is made while the proxy stores into it."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.rig = Rig(self.folder / "state" / "copy")
        self.rig.store.open()
        self.addCleanup(lambda: self.rig.store.close())
        self.rig.apply(shown(body(patient(7, "Rex"), patient(8, "Rax")), 1.0))

    def backup(self, name: str) -> Path:
        settings = Settings(
            upstream=UpstreamSettings(url="http://127.0.0.1:1"), state_dir=self.folder / "state"
        )
        backup(settings, self.folder / name, lambda: DAY)
        return self.folder / name

    def restored(self, made: Path) -> list[str]:
        """Ids of the records in a restored copy, after the start of a proxy on it."""
        target = made.with_name(f"{made.name}-restored")
        restore(made, target, [])
        again = Rig(target / "copy", seed=900)
        again.store.open()
        again.store.close()
        connection = open_existing(target / "copy", KeyRing(MASTER))
        try:
            self.assertEqual([one for one in history.damage(connection, KeyRing(MASTER), SHAPES) if one], [])
            return [one.id for one in history.records_at(connection, KeyRing(MASTER)) if one.content]
        finally:
            connection.close()

    def forget(self) -> None:
        connection = open_existing(self.rig.folder, KeyRing(MASTER), write=True)
        history.forget(connection, "patients", "7", DAY)
        connection.close()

    def test_a_restore_has_all_records(self) -> None:
        made = self.backup("one")
        self.assertEqual(
            {path.stat().st_mode & 0o777 for path in (made / "state" / "copy").iterdir()}, {0o600}
        )
        self.assertEqual(self.restored(made), ["7", "8"])

    def test_no_byte_of_a_forgotten_record_is_in_backups_made_afterwards(self) -> None:
        key = bytes(self.rig.rows("SELECT key FROM keys.keys WHERE place = 'patients/7'")[0][0])
        content = bytes(self.rig.rows("SELECT content FROM states WHERE place = 'patients/7'")[0][0])
        self.forget()
        made = self.backup("two")
        held = b"".join(path.read_bytes() for path in (made / "state" / "copy").iterdir())
        self.assertEqual([part for part in (key, content) if part[8:40] in held], [])
        self.assertEqual(self.restored(made), ["8"])

    def test_a_backup_of_a_newer_or_damaged_copy_is_not_restored(self) -> None:
        self.rig.rows("UPDATE about SET value = '9.0' WHERE name = 'version'")
        made = self.backup("three")
        with self.assertRaisesRegex(StateError, "written by a newer hospproxy .format 9.0"):
            restore(made, self.folder / "new", [])
        (made / "state" / "copy" / files.KEYS).write_bytes(b"torn")
        with self.assertRaisesRegex(StateError, "copy/keys.sqlite is not what it was"):
            restore(made, self.folder / "new", [])
