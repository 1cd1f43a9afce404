"""The process of the index is started when it is needed, and ended when it is idle or hangs."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.interfaces import IAuditFileWriter, ITrailReader
from hospproxy.record.columns.asker import GRACE_S, IDLE_S, ProcessAsker
from hospproxy.record.columns.questions import LENGTH, MOST_BYTES, Answer, Question, Row, Setup, framed
from hospproxy.record.columns.reader import ColumnReader
from hospproxy.record.columns.sink import IndexSink
from hospproxy.record.search.filters import Filters
from hospproxy.record.search.rows import IndexAway, NoIndexYet, RowKey, RowName

SETUP = Setup(folder="/i", directory="/a", timeout_s=10.0)
PAGE = Question(what="page", limit=1)


class FakeProcess:
    """A process that the test plays."""

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.written = b""
        self.signals: list[str] = []
        self.input_ended = False
        self.pid: int | None = 7
        self.exited = False

    def write(self, data: bytes) -> None:
        self.written += data

    def closeStdin(self) -> None:
        self.input_ended = True

    def signalProcess(self, name: str) -> None:
        if "KILL" in self.signals:
            raise ProcessExitedAlready
        self.signals.append(name)

    def reapProcess(self) -> None:
        if self.exited:
            self.pid = None
            self.protocol.processEnded(Failure(ProcessTerminated(signal=11)))

    def end(self) -> None:
        self.protocol.processEnded(Failure(ProcessTerminated(signal=11)))


class FakeReactor(Clock):
    def __init__(self) -> None:
        super().__init__()
        self.processes: list[FakeProcess] = []
        self.fails = False

    def spawnProcess(self, protocol: Any, *_: Any, **__: Any) -> None:
        if self.fails:
            raise OSError(12, "Cannot allocate memory")
        protocol.transport = FakeProcess(protocol)
        self.processes.append(protocol.transport)


class AskerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.asker = ProcessAsker(self.reactor, SETUP)

    def ask(self, question: Question = PAGE) -> Deferred[Answer]:
        return Deferred.fromCoroutine(self.asker.ask(question))

    def answer(self, answer: Answer, process: int = -1) -> None:
        self.reactor.processes[process].protocol.outReceived(framed(answer))

    def test_one_process_answers_one_question_after_another(self) -> None:
        first, second = self.ask(), self.ask(Question(what="summary"))
        [process] = self.reactor.processes
        self.assertEqual(process.written, framed(SETUP) + framed(PAGE))
        self.answer(Answer(records=1))
        self.assertEqual(self.successResultOf(first).records, 1)
        self.assertEqual(process.written, framed(SETUP) + framed(PAGE) + framed(Question(what="summary")))
        self.answer(Answer(records=2))
        self.assertEqual(self.successResultOf(second).records, 2)

    def test_an_answer_comes_in_pieces(self) -> None:
        asked = self.ask()
        for byte in framed(Answer(records=7)):
            self.assertNoResult(asked)
            self.reactor.processes[0].protocol.outReceived(bytes([byte]))
        self.assertEqual(self.successResultOf(asked).records, 7)

    def test_it_ends_when_idle(self) -> None:
        asked = self.ask()
        self.answer(Answer())
        self.successResultOf(asked)
        self.reactor.advance(IDLE_S - 1)
        again = self.ask()
        self.answer(Answer())
        self.successResultOf(again)
        self.reactor.advance(IDLE_S - 1)
        self.assertFalse(self.reactor.processes[0].input_ended)
        self.reactor.advance(2)
        self.assertTrue(self.reactor.processes[0].input_ended)
        self.ask()
        self.assertEqual(len(self.reactor.processes), 2)

    def test_it_is_killed_when_it_hangs(self) -> None:
        asked = self.ask()
        self.reactor.advance(SETUP.timeout_s + GRACE_S + 0.1)
        self.assertEqual(self.reactor.processes[0].signals, ["KILL"])
        self.reactor.processes[0].end()
        self.failureResultOf(asked, IndexAway)
        again = self.ask()
        self.assertEqual(len(self.reactor.processes), 2)
        self.answer(Answer(records=1))
        self.assertEqual(self.successResultOf(again).records, 1)

    def test_it_crashes(self) -> None:
        asked, waiting = self.ask(), self.ask()
        self.reactor.processes[0].end()
        self.failureResultOf(asked, IndexAway)
        self.answer(Answer(records=2))
        self.assertEqual(self.successResultOf(waiting).records, 2)

    def test_it_crashes_and_no_signal_tells(self) -> None:
        """The courier's reactor handles no signals: the end of the output says it, and no zombie stays."""
        asked = self.ask()
        process = self.reactor.processes[0]
        process.protocol.outConnectionLost()
        self.failureResultOf(asked, IndexAway)
        self.assertEqual(process.pid, 7)
        process.exited = True
        self.reactor.advance(1)
        self.assertIsNone(process.pid)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.ask()
        self.assertEqual(len(self.reactor.processes), 2)

    def test_it_crashes_between_two_questions(self) -> None:
        asked = self.ask()
        self.answer(Answer())
        self.successResultOf(asked)
        self.reactor.processes[0].end()
        self.ask()
        self.assertEqual(len(self.reactor.processes), 2)

    def test_nobody_waits_any_more(self) -> None:
        """A search whose client has left is ended; the next one is not answered with its rows."""
        asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual(self.reactor.processes[0].signals, ["KILL"])
        again = self.ask()
        self.answer(Answer(records=1), 0)
        self.assertNoResult(again)

    def test_what_it_says_is_no_answer(self) -> None:
        for content in (LENGTH.pack(3) + b"abc", LENGTH.pack(MOST_BYTES + 1)):
            asked = self.ask()
            process = self.reactor.processes[-1]
            process.protocol.outReceived(content)
            self.assertEqual(process.signals, ["KILL"])
            process.end()
            self.failureResultOf(asked, IndexAway)

    def test_problems(self) -> None:
        for problem, error in (("not yet", NoIndexYet), ("failed", IndexAway)):
            asked = self.ask()
            self.answer(Answer(problem=problem, words="because"))  # type: ignore[arg-type]
            self.assertEqual(str(self.failureResultOf(asked, error).value), "because")

    def test_it_cannot_be_started(self) -> None:
        self.reactor.fails = True
        self.failureResultOf(self.ask(), IndexAway)
        self.reactor.fails = False
        self.ask()
        self.assertEqual(len(self.reactor.processes), 1)

    def test_close(self) -> None:
        asked = self.ask()
        self.successResultOf(Deferred.fromCoroutine(self.asker.close()))
        self.assertEqual(self.reactor.processes[0].signals, ["KILL"])
        self.reactor.processes[0].end()
        self.failureResultOf(asked, IndexAway)
        self.failureResultOf(self.ask(), IndexAway)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class ScriptedAsker:
    """Gives answers that were prepared; keeps the questions."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[Question] = []
        self.closed = False

    async def ask(self, question: Question, timeout_s: float | None = None) -> Answer:
        self.asked.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True


class ReaderTests(SynchronousTestCase):
    def test_an_export_is_many_pages(self) -> None:
        rows = [
            Row(key=RowKey(n, RowName("t", "w0", n)), line=b'{"n":%d}' % n, by_list=False) for n in (3, 2, 1)
        ]
        exports = ScriptedAsker(Answer(rows=rows[:2], more_after=rows[1].key), Answer(rows=rows[2:]))
        pages = ScriptedAsker()
        reader = ColumnReader(pages, exports)
        verifyObject(ITrailReader, reader)

        async def everything() -> list[int]:
            return [row.record["n"] async for row in reader.rows(Filters(staff="7"))]

        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(everything())), [3, 2, 1])
        self.assertEqual([each.after for each in exports.asked], [None, rows[1].key])
        self.successResultOf(Deferred.fromCoroutine(reader.close()))
        self.assertTrue(pages.closed and exports.closed)

    def test_an_index_that_is_not_there_is_made(self) -> None:
        """A page that finds none begins it, and does not wait; another failure changes nothing."""
        pages = ScriptedAsker(NoIndexYet("no"), NoIndexYet("no"), Answer(records=1))
        exports = ScriptedAsker(Answer(records=9))
        reader = ColumnReader(pages, exports)
        for _ in range(2):
            self.failureResultOf(Deferred.fromCoroutine(reader.summary(0.0)), NoIndexYet)
            exports.answers.append(IndexAway("no disk"))
        self.successResultOf(Deferred.fromCoroutine(reader.summary(0.0)))
        self.assertEqual([each.what for each in exports.asked], ["upkeep", "upkeep"])


class SinkTests(SynchronousTestCase):
    def test_the_old_index_is_removed_once_there_is_a_new_one(self) -> None:
        from pathlib import Path

        folder = Path(self.mktemp())
        folder.mkdir()
        for name in ("audit.sqlite", "audit.sqlite-wal", "other"):
            (folder / name).write_bytes(b"SQLite format 3\0")
        asker = ScriptedAsker(IndexAway("no disk"), Answer(records=9))
        sink = IndexSink(folder, asker)
        verifyObject(IAuditFileWriter, sink)
        self.failureResultOf(Deferred.fromCoroutine(sink.open()), IndexAway)
        self.assertTrue((folder / "audit.sqlite").exists())
        self.successResultOf(Deferred.fromCoroutine(sink.open()))
        self.assertEqual([path.name for path in folder.iterdir()], ["other"])
