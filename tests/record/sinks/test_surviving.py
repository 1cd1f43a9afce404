"""Faults of journal, sink and process: all records arrive, in order, and duplicates only as a repeated run."""

from __future__ import annotations

import tempfile
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from .carriers import FakeWriter, Rig, trail_in

STEPS = st.one_of(
    st.tuples(st.just("keep"), st.integers(1, 25)),
    st.tuples(st.just("settle"), st.integers(1, 6)),
    st.tuples(st.just("work"), st.integers(1, 3)),
    st.tuples(st.just("fail"), st.integers(1, 3)),
    st.tuples(st.just("kill"), st.just(0)),
    st.tuples(st.just("crash"), st.just(0)),
    st.tuples(st.just("stop"), st.just(0)),
    st.tuples(st.just("tend"), st.just(0)),
)


class Story:
    """One journal, one sink; carriers come and go, as processes do."""

    def __init__(self, folder: str) -> None:
        self.trail = trail_in(folder)
        self.trail.start()
        self.writer = FakeWriter()
        self.rig = Rig(self.trail, self.writer)

    def play(self, what: str, much: int) -> None:
        match what:
            case "keep":
                self.trail.keep(much)
            case "settle":
                self.rig.settle_long(much)
            case "work":  # the thread does a few tasks, and then the process may die
                for _ in range(min(much, len(self.rig.worker.tasks))):
                    self.rig.worker.step()
            case "fail":
                self.writer.results += [ValueError("away")] * much
            case "kill":
                self.restart()
            case "crash":
                self.rig.kill()
                self.trail.crash(b'{"torn')
                self.trail.start()
                self.rig = Rig(self.trail, self.writer)
            case "stop":
                self.trail.stop()
                self.trail.start()
            case "tend":
                self.trail.tend()

    def restart(self) -> None:
        self.rig.kill()
        self.rig = Rig(self.trail, self.writer)

    def finish(self) -> None:
        self.writer.results.clear()
        for _ in range(3):
            self.rig.settle(61)
        self.rig.settle_long(30)
        self.rig.kill()


class AtLeastOnceInOrder(SynchronousTestCase):
    @settings(max_examples=60, deadline=None, print_blob=True)
    @given(st.lists(STEPS, max_size=25))
    def test_whatever_happens(self, steps: list[tuple[str, int]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            story = Story(folder + "/audit")
            for what, much in steps:
                story.play(what, much)
            story.finish()
            committed = story.rig.committed()
            assert committed is not None
            self.judge(story.writer, committed.seq)

    def judge(self, writer: FakeWriter, last: int) -> None:
        seqs = writer.seqs
        until = 0
        for seq in seqs:
            self.assertLessEqual(seq, until + 1, f"records are missing before {seq}: {seqs}")
            until = seq
        self.assertEqual(set(seqs), set(range(1, last + 1)))
        lines: dict[int, Any] = {}
        for batch in writer.batches:
            for seq, line in enumerate(batch.lines, batch.first_seq):
                self.assertEqual(lines.setdefault(seq, line), line, "one record, two contents")
