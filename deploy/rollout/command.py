"""The command line: ``run``, ``resume``, ``abort``, ``rollback`` and ``status``."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from .plan import Plan, read_plan
from .plan_table import PlanError
from .progress import AbortRequest, Busy, Journal, NoRollout, StateLock
from .rollout import Aborted, Outcome, Rollout
from .splitter import splitter_for
from .system import RealSystem, System

USAGE = 3
"""Exit status of wrong usage, a wrong plan, or a rollout in the way. The others are those of `Outcome`."""

MakeSystem = Callable[[Path], System]


class Signals:
    """Turns SIGINT, SIGTERM and the file of ``abort`` into a request to abort."""

    def __init__(self, request: AbortRequest) -> None:
        self._request = request
        self._asked = False
        self._may_raise = False

    @property
    def is_asked(self) -> bool:
        return self._asked or self._request.is_made

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a signal raise `Aborted` at once."""
        self._may_raise = True
        try:
            if self.is_asked:
                raise Aborted
            yield
        finally:
            self._may_raise = False

    def install(self) -> None:
        """Install the handlers. They stay, so that no second signal ends a rollback in the middle."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        if self._may_raise:
            self._may_raise = False
            raise Aborted


def printer(*, as_json: bool) -> Callable[[str, str], None]:
    """Return what prints a line for each step."""

    def tell(stage: str, words: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        line = {"time": now, "stage": stage, "text": words}
        text = json.dumps(line) if as_json else f"{now} {stage:<10} {' '.join(words.split())}"
        with contextlib.suppress(BrokenPipeError):  # nobody reads: no reason to stop half way
            print(text, flush=True)

    return tell


def main(arguments: Sequence[str], make_system: MakeSystem = RealSystem) -> int:
    """Run one command; return the exit status."""
    try:
        options = _options(arguments)
    except SystemExit as end:
        return USAGE if end.code else 0
    tell = printer(as_json=options.json)
    try:
        found: int = options.do(options, tell, make_system)
        return found
    except PlanError as error:
        for problem in error.problems:
            print(f"rollout: {options.where}: {problem}", file=sys.stderr)
    except Busy:
        print(
            "rollout: another rollout runs in this state folder (rollout status, rollout abort)",
            file=sys.stderr,
        )
    except NoRollout:
        print("rollout: there is no rollout in this state folder", file=sys.stderr)
    except OSError as problem:
        print(f"rollout: {problem}", file=sys.stderr)
    return USAGE


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="rollout",
        description="Bring a new version into production by a canary, and take it back by itself if it is worse.",
        epilog="Exit status: 0 promoted, 1 rolled back, 2 inconclusive or held, 3 wrong usage.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, words: str, do: Callable[..., int]) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=words, description=words)
        found.set_defaults(do=do)
        found.add_argument("--json", action="store_true", help="print JSON lines")
        return found

    run = command("run", "Begin a rollout.", _run)
    run.add_argument("where", type=Path, metavar="PLAN", help="the plan file (TOML)")
    run.add_argument("--old", required=True, help="the version that runs in production")
    run.add_argument("--new", required=True, help="the version that is to run")
    run.add_argument("--check", action="store_true", help="check the plan, and do nothing")
    back = command("rollback", "Bring the old version back to all of production, at once.", _rollback)
    back.add_argument("where", type=Path, metavar="PLAN", help="the plan file (TOML)")
    back.add_argument("--old", required=True, help="the version to bring back")
    back.add_argument("--new", required=True, help="the version that runs in production")
    for name, words, do in (
        ("resume", "Go on with a rollout that was interrupted.", _resume),
        ("abort", "Roll back the rollout that runs, or that was interrupted.", _abort),
        ("status", "Say how far the rollout is.", _status),
    ):
        each = command(name, words, do)
        each.add_argument("where", type=Path, metavar="STATE", help="the folder `state` of the plan")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace, tell: Callable[[str, str], None], make_system: MakeSystem) -> int:
    if options.check:
        read_plan(options.where.read_text(), options.old, options.new)
        tell("plan", "good")
        return 0
    with _begun(options, tell, make_system) as rollout:
        return rollout.go()


def _rollback(options: argparse.Namespace, tell: Callable[[str, str], None], make_system: MakeSystem) -> int:
    with _begun(options, tell, make_system) as rollout:
        outcome = rollout.take_back("asked for")
        return 0 if outcome is Outcome.ROLLED_BACK else int(outcome)


@contextlib.contextmanager
def _begun(
    options: argparse.Namespace, tell: Callable[[str, str], None], make_system: MakeSystem
) -> Iterator[Rollout]:
    """Take the lock and begin a journal.

    :raise PlanError: the plan is wrong, or an earlier rollout is not over.
    :raise Busy: another one runs.
    """
    text = options.where.read_text()
    plan = read_plan(text, options.old, options.new)
    folder = Path(plan.state)
    with _locked(folder):
        journal = Journal(folder)
        with contextlib.suppress(NoRollout):
            journal.read()
            if not journal.is_over:
                raise PlanError(
                    [f"{folder} holds a rollout that is not over (rollout resume, rollout abort)"]
                )
        AbortRequest(folder).clear()
        journal.begin({"plan": text, "old": options.old, "new": options.new, "at": time.time()})
        tell("begin", f"{options.old} → {options.new}; state in {folder}")
        yield _rollout(plan, folder, journal, tell, make_system)


def _resume(options: argparse.Namespace, tell: Callable[[str, str], None], make_system: MakeSystem) -> int:
    with _locked(options.where):
        journal, plan = _journal(options.where)
        over = journal.last("end")
        if over is not None:
            tell("result", f"it is over: {over['words']}")
            return int(over["outcome"])
        tell("resume", f"{plan.old} → {plan.new}")
        return _rollout(plan, options.where, journal, tell, make_system).go()


def _abort(options: argparse.Namespace, tell: Callable[[str, str], None], make_system: MakeSystem) -> int:
    try:
        with _locked(options.where):
            journal, plan = _journal(options.where)
            over = journal.last("end")
            if over is not None:
                tell("result", f"it is over: {over['words']}")
                return int(over["outcome"])
            return _rollout(plan, options.where, journal, tell, make_system).abort()
    except Busy:
        AbortRequest(options.where).make()
        tell("abort", "asked the rollout that runs to roll back")
        return int(Outcome.ROLLED_BACK)


def _status(options: argparse.Namespace, tell: Callable[[str, str], None], _make_system: MakeSystem) -> int:
    journal = Journal(options.where)
    journal.read()
    begun = journal.entries[0]
    tell(
        "begin",
        f"{begun['old']} → {begun['new']}, {datetime.fromtimestamp(begun['at'], UTC):%Y-%m-%d %H:%M:%SZ}",
    )
    for entry in journal.all("done"):
        tell(entry["stage"], f"done in {entry['seconds']:.1f} s")
    restored = {entry["instance"] for entry in journal.all("restored")}
    for entry in journal.all("replaced"):
        tell(
            "promote", f"{entry['instance']} runs {begun['old' if entry['instance'] in restored else 'new']}"
        )
    over, decided, stage = journal.last("end"), journal.last("decided"), journal.last("begun")
    if over is not None:
        tell("result", over["words"])
        return 0
    if decided is not None:
        tell("rollback", f"not complete: {decided['why']}")
    elif stage is not None and not journal.has_done(stage["stage"]):
        tell(stage["stage"], "begun")
    lock = StateLock(options.where)
    try:
        lock.take()
    except Busy:
        tell("status", "runs")
    else:
        lock.free()
        tell("status", "interrupted (rollout resume, rollout abort)")
    return 0


def _journal(folder: Path) -> tuple[Journal, Plan]:
    journal = Journal(folder)
    journal.read()
    begun = journal.entries[0]
    return journal, read_plan(begun["plan"], begun["old"], begun["new"])


def _rollout(
    plan: Plan, folder: Path, journal: Journal, tell: Callable[[str, str], None], make_system: MakeSystem
) -> Rollout:
    abort = Signals(AbortRequest(folder))
    abort.install()
    system = make_system(folder)
    return Rollout(plan, system, splitter_for(plan.split, system), journal, abort, tell)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = StateLock(folder)
    lock.take()
    try:
        yield
    finally:
        lock.free()
