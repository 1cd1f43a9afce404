"""The messages of the control socket: JSON lines of bounded length.

The client sends one request line. The proxy responds with any number of progress lines, then one line with a result or
an error, and closes.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

SOCKET: Final = "control.sock"
"""Name of the socket in the state folder."""
MOST_REQUEST: Final = 64 << 10
MOST_RESPONSE: Final = 4 << 20
"""Most bytes of a line."""
REQUEST_S: Final = 10.0
"""Seconds that a client has to send its request."""


class ControlRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command for the running proxy.

    :param arguments: as the command's ``given`` made them from the command line.
    """

    command: str
    arguments: dict[str, Any] = {}


class ControlResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the response; exactly one of its fields is set, and all but ``progress`` are the last line.

    :param progress: a sentence for the operator, while the command runs.
    :param result: what the command found or did; its ``show`` words it.
    :param error: why the command failed: sentences for the operator.
    """

    progress: str | None = None
    result: dict[str, Any] | None = None
    error: list[str] | None = None


class ControlError(Exception):
    """A command cannot be carried out.

    :param lines: sentences for the operator.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def encoded(message: ControlRequest | ControlResponse) -> bytes:
    """Return the message as a line."""
    return msgspec.json.encode(message) + b"\n"


def request_of(line: bytes) -> ControlRequest:
    """Decode the line that ``hospproxyctl`` has sent.

    :raise ControlError: it is no request.
    """
    try:
        return msgspec.json.decode(line, type=ControlRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ControlError(f"the request cannot be read: {error}") from None


def response_of(line: bytes) -> ControlResponse:
    """Decode a line that the running proxy has sent.

    :raise ControlError: it is no response.
    """
    try:
        return msgspec.json.decode(line, type=ControlResponse)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ControlError(f"the response of the proxy cannot be read: {error}") from None
