"""What every command of ``hospproxyctl`` consists of."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from attrs import frozen

from ..record.admin_events import Operator
from .owner import Owner

Arguments = dict[str, Any]
Result = dict[str, Any]
Progress = Callable[[str], None]


def _no_flags(_parser: ArgumentParser) -> None:
    return None


def _nothing(_given: Namespace) -> Arguments:
    return {}


@frozen(slots=True, kw_only=True)
class Command:
    """One command: the halves in ``hospproxyctl`` and in the running proxy.

    :param summary: what it does, for ``--help``.
    :param run: in the proxy: carries the command out for an operator; raises ``ControlError``. It must not block the
        reactor.
    :param show: in ``hospproxyctl``: words the result, as lines.
    :param flags: adds its flags to its parser.
    :param given: makes its arguments of the parsed command line.
    :param alone: it changes something: the proxy carries out one such command at a time.
    """

    name: str
    summary: str
    run: Callable[[Owner, Arguments, Progress, Operator], Awaitable[Result]]
    show: Callable[[Result], Iterable[str]]
    flags: Callable[[ArgumentParser], None] = _no_flags
    given: Callable[[Namespace], Arguments] = _nothing
    alone: bool = False
