"""``python -m hospproxy.record.columns.process``: answers questions about one index until standard input ends.

DuckDB runs in this process only. Its native code may crash, hang or grow: the process that asks ends this one and
starts another.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

import msgspec

from ...process import clocks
from ..search.filters import Filters
from ..search.rows import NoIndexYet, RowName
from ..trail.identity import trail_id
from .engine import Engine, IndexFailed
from .index import ColumnIndex
from .questions import LENGTH, MOST_BYTES, Answer, Question, Setup, framed, rows_of, unframed
from .trail_files import TrailFolder
from .upkeep import IndexUpkeep


class Answering:
    """Answers questions, one after another.

    :param wall: seconds since the epoch.
    """

    def __init__(self, setup: Setup, wall: Callable[[], float]) -> None:
        folder, directory = Path(setup.folder), Path(setup.directory)
        engine, trail = Engine(folder), TrailFolder(directory)

        def name() -> str:
            return trail_id(directory)

        self._upkeep = IndexUpkeep(folder, trail, name, engine, wall, round(setup.keep_s * 1000))
        self._index = ColumnIndex(
            folder,
            trail,
            name,
            engine,
            setup.timeout_s,
            lambda: self._upkeep.floor_ms,
            self._upkeep,
        )
        self.close = engine.close

    def answer(self, question: Question) -> Answer:
        """The answer; one with a ``problem`` if there is no other."""
        try:
            return self._answer(question)
        except NoIndexYet as error:
            return Answer(problem="not yet", words=str(error))
        except IndexFailed as error:
            return Answer(problem="failed", words=str(error))
        except OSError as error:
            return Answer(problem="failed", words=error.strerror or type(error).__name__)

    def _answer(self, question: Question) -> Answer:
        index = self._index
        match question.what:
            case "page":
                page = index.page(question.filters or Filters(), question.after, question.limit)
                return Answer(rows=rows_of(page.rows), more_after=page.more_after)
            case "row":
                row = index.row(question.name or RowName("", "", 0))
                return Answer(rows=rows_of((row,) if row is not None else ()))
            case "members":
                members = index.members(question.disclosed, question.most)
                return Answer(members=list(members) if members is not None else None)
            case "summary":
                told = index.summary(question.since)
                return Answer(
                    rows=rows_of(told.alerts),
                    requests=told.requests,
                    login_failures=list(told.login_failures),
                    refusals=list(told.refusals),
                    newest=told.newest,
                )
            case "upkeep":
                done = self._upkeep.run()
                assert done is not None
                return Answer(records=done.records, mended=done.mended, troubles=done.troubles)


def read_frame(file: BinaryIO) -> bytes | None:
    """The content of the next frame; None at the end."""
    head = file.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    [length] = LENGTH.unpack(head)
    if length > MOST_BYTES:
        return None
    content = file.read(length)
    return content if len(content) == length else None


def _read(file: BinaryIO, into: SimpleQueue[bytes]) -> None:
    """Hand on frames; end the process when the other side has closed the pipe, whatever it is doing."""
    while (content := read_frame(file)) is not None:
        into.put(content)
    os._exit(0)


def main() -> None:
    """Run until standard input ends."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing but frames may get there
    frames: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, frames), daemon=True).start()
    setup = unframed(frames.get(), Setup)
    os.nice(setup.nice)
    answering = Answering(setup, clocks.wall)
    while True:
        try:
            question = unframed(frames.get(), Question)
        except msgspec.DecodeError as error:
            answer = Answer(problem="failed", words=f"the question cannot be read: {error}")
        else:
            answer = answering.answer(question)
        output.write(framed(answer))
        output.flush()


if __name__ == "__main__":
    main()
