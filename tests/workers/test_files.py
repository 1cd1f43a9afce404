from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.workers.files import beyond, of_slot


class Files(SynchronousTestCase):
    def test_the_first_has_the_name_that_a_process_alone_has(self) -> None:
        self.assertEqual(of_slot(Path("a/answers.sqlite"), 0), Path("a/answers.sqlite"))
        self.assertEqual(of_slot(Path("a/answers.sqlite"), 3), Path("a/answers-3.sqlite"))

    def test_what_workers_have_left_that_there_are_no_more(self) -> None:
        folder = Path(self.mktemp())
        self.assertEqual(list(beyond(folder / "answers.sqlite", 1)), [])
        folder.mkdir()
        stay = (
            "answers.sqlite",
            "answers-1.sqlite",
            "answers-1.sqlite-wal",
            "other-2.sqlite",
            "answers-x.sqlite",
        )
        left = ("answers-2.sqlite", "answers-2.sqlite-shm", "answers-2.sqlite-wal", "answers-10.sqlite")
        for name in (*stay, *left):
            (folder / name).touch()
        self.assertEqual({each.name for each in beyond(folder / "answers.sqlite", 2)}, set(left))
        alone = {each.name for each in beyond(folder / "answers.sqlite", 1)}
        self.assertEqual(alone, {*left, "answers-1.sqlite", "answers-1.sqlite-wal"})
