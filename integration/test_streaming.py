"""Responses sent in pieces, on real sockets, with and without TLS."""

from __future__ import annotations

import http.client
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.error import ConnectionDone

from hospproxy.http.messages import Request, Response
from tests.arrival.memory_transport import Recorder, read_answers
from tests.corpus.case import get

from .test_arrival import CLOSE, both, make_rig  # noqa: F401

PIECE = bytes(range(256)) * 64
COUNT = 2000


class Source:
    """Sends 32 MB in pieces, and fails at piece ``failing_at``."""

    def __init__(self, failing_at: int = COUNT + 1) -> None:
        self.failing_at = failing_at
        self.made = 0
        self.closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            for number in range(COUNT):
                if number == self.failing_at:
                    raise FailedError
                self.made += 1
                yield PIECE
        finally:
            self.closed = True

    def answer(self, _request: Request) -> Response:
        return Response(200, chunks=self.chunks())


class FailedError(Exception):
    """An error that the test raises itself."""


@both
@pytest_twisted.ensureDeferred
async def test_all_of_it(make_rig: Any, secure: bool) -> None:  # noqa: F811
    source = Source()
    rig = make_rig(Recorder(answer=source.answer))
    data = await rig.converse(get(b"/1") + get(b"/2", CLOSE), secure=secure)
    answers = read_answers(data, ["GET", "GET"])
    assert [answer.body == PIECE * COUNT for answer in answers] == [True, True]
    old = await rig.converse(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", secure=secure)
    assert old.partition(b"\r\n\r\n")[2] == PIECE * COUNT


@both
@pytest_twisted.ensureDeferred
async def test_no_more_is_made_than_a_client_takes(make_rig: Any, secure: bool) -> None:  # noqa: F811
    source = Source()
    rig = make_rig(Recorder(answer=source.answer))
    caller = await rig.call(secure=secure)
    caller.say(get(b"/1"))
    await rig.until(lambda: len(caller.received) > 0)
    caller.transport.pauseProducing()
    await rig.until(lambda: rig.context.budget.used > 0)
    assert source.made < COUNT
    assert rig.context.budget.used < 10 * len(PIECE)
    caller.transport.resumeProducing()
    await rig.until(lambda: bytes(caller.received[-5:]) == b"0\r\n\r\n")
    assert source.closed
    caller.transport.loseConnection()
    await caller.ended


@both
@pytest_twisted.ensureDeferred
async def test_a_client_that_goes_closes_the_source(make_rig: Any, secure: bool) -> None:  # noqa: F811
    source = Source()
    rig = make_rig(Recorder(answer=source.answer))
    caller = await rig.call(secure=secure)
    caller.say(get(b"/1"))
    await rig.until(lambda: len(caller.received) > 0)
    caller.transport.abortConnection()
    await caller.ended
    await rig.until(lambda: source.closed)
    assert source.made < COUNT
    await rig.until(lambda: len(rig.context.connections) == 0)


@both
@pytest_twisted.ensureDeferred
async def test_a_part_is_never_taken_for_the_whole(make_rig: Any, secure: bool) -> None:  # noqa: F811
    source = Source(failing_at=100)
    rig = make_rig(Recorder(answer=source.answer))
    caller = await rig.call(secure=secure)
    caller.say(get(b"/1"))
    assert await caller.ended is not ConnectionDone
    with pytest.raises(http.client.IncompleteRead):
        read_answers(bytes(caller.received), ["GET"])
    old = await rig.call(secure=secure)
    old.say(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    assert await old.ended is not ConnectionDone
    failures = [event["log_failure"].type for event in rig.logged]
    assert failures == [FailedError, FailedError]
    rig.logged.clear()
