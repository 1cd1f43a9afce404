"""The client of the control socket: sends one command and reads the response. It blocks."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .command import Arguments, Result
from .control_socket import connected
from .messages import MOST_RESPONSE, ControlError, ControlRequest, encoded, response_of

SILENCE_S: Final = 300.0
"""Seconds without a line after which the client gives up."""


def ask(folder: Path, command: str, arguments: Arguments, progress: Callable[[str], None]) -> Result:
    """Give a command to the proxy that owns a state folder, and return its result.

    :param progress: gets each line of progress.
    :raise ControlError: no proxy runs, it refused the command, or the command failed.
    """
    try:
        with connected(folder, SILENCE_S) as peer, peer.makefile("rb") as lines:
            peer.sendall(encoded(ControlRequest(command, arguments)))
            while line := lines.readline(MOST_RESPONSE + 1):
                response = response_of(line)
                if response.error is not None:
                    raise ControlError(*response.error)
                if response.result is not None:
                    return response.result
                progress(response.progress or "")
    except OSError as error:
        raise ControlError(_why(folder, error)) from None
    raise ControlError("the proxy closed the connection without a result; its log says why")


def _why(folder: Path, error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
        return f"no proxy runs with the state folder {folder} (name another one with --state or --config)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{folder} belongs to another user: run this command as that user, or as root"
    return f"the proxy of {folder} cannot be reached: {error.strerror or error}"
