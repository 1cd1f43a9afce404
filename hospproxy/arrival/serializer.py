"""Serialise each response, or a 500 if it cannot be serialised."""

from __future__ import annotations

from twisted.logger import Logger

from ..http.messages import Request, Response
from .answer import BROKEN, Unwritable, write_answer
from .listener_context import ListenerContext
from .streamed_response import discard

_log = Logger()


def written(
    context: ListenerContext, request: Request, response: Response, *, close: bool
) -> tuple[Response, list[bytes]]:
    """Return the response that is sent, and its bytes.

    :param close: the connection closes after this response.
    """
    to_head, version, wall = request.method == "HEAD", request.version, context.wall()
    try:
        return response, write_answer(response, to_head=to_head, close=close, version=version, wall=wall)
    except Unwritable as error:
        discard(response)
        context.tally.unwritable += 1
        if context.tally.unwritable == 1:
            _log.error(
                "a response could not be serialised ({error}); sent a 500 instead; further ones are not logged",
                error=error,
            )
        if response.handed_over is not None:
            response.handed_over(False)  # a write's response is still owed to a repeated request
        return BROKEN, write_answer(BROKEN, to_head=to_head, close=close, version=version, wall=wall)
