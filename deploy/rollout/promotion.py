"""Replaces the production instances one after the other, and brings the old version back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .instances import NotReady, Silent, read, wait_until_ready
from .plan import Command, Instance, Plan, filled, values_of
from .progress import Journal
from .splitter import Splitter
from .system import System

_PAUSE_S = 0.2
_AGAIN_S = 3.0
"""Seconds between two attempts to bring the old version back."""

Say = Callable[[str], None]


class Promotion:
    """The production instances of a plan.

    Each step is noted before and after, and an instance that has the wanted version keeps it. So all of it can be
    repeated after a crash.
    """

    def __init__(
        self, plan: Plan, system: System, splitter: Splitter | None, journal: Journal, say: Say
    ) -> None:
        self._plan = plan
        self._system = system
        self._splitter = splitter
        self._journal = journal
        self._say = say

    def check(self) -> None:
        """Check before anything begins that production runs the version that the plan says.

        :raise NotReady: it does not.
        """
        for instance in self._plan.production.instances:
            version = self._version(instance)
            if version != self._plan.old:
                raise NotReady(
                    f"{instance.name} runs {version or 'a version that it does not say'}, not {self._plan.old}"
                )

    def promote(self) -> None:
        """Bring the new version to every instance.

        :raise NotReady: an instance did not come up with it.
        :raise CommandFailed: the command of the plan failed.
        :raise SplitterFailed: the traffic could not be led around the instance.
        """
        for instance in self._plan.production.instances:
            if self._noted("replaced", instance):
                continue
            self._journal.note("replacing", instance=instance.name)
            self._replace(instance, self._plan.production.promote, self._plan.new)
            self._journal.note("replaced", instance=instance.name)
            self._say(f"{instance.name} runs {self._plan.new}")

    def restore(self) -> list[str]:
        """Bring the old version back to every instance that was touched, the last one first; return what failed.

        What fails is tried again, for as long as one command may take: an upgrade may still be under way after its
        command has failed, and HOSP may be so slow that no replacement succeeds.
        """
        latest = self._system.now() + self._plan.production.rollback.timeout_s
        told: list[str] = []
        while True:
            problems = list(self._restore_once())
            if not problems or self._system.now() >= latest:
                return problems
            if problems != told:
                self._say(f"tried again for {latest - self._system.now():.0f} s: {'; '.join(problems)}")
            told = problems
            self._system.sleep(_AGAIN_S)

    def _restore_once(self) -> Iterator[str]:
        for instance in reversed(self._plan.production.instances):
            if not self._noted("replacing", instance) or self._noted("restored", instance):
                continue
            try:
                self._replace(
                    instance,
                    self._plan.production.rollback,
                    self._plan.old,
                    # It says the old version also while an upgrade goes on: only hospproxyctl knows of that.
                    always=self._plan.production.by_control,
                )
                self._journal.note("restored", instance=instance.name)
                self._say(f"{instance.name} runs {self._plan.old} again")
            except Exception as problem:  # the other instances must be rolled back too
                yield f"{instance.name}: {problem}"

    def _replace(self, instance: Instance, command: Command, version: str, *, always: bool = False) -> None:
        self._drain(instance)
        if always or self._version(instance) != version:
            values = {**values_of(instance), "old": self._plan.old, "new": self._plan.new}
            words = tuple(filled(word, values) for word in command.words)
            self._system.run(Command(words=words, timeout_s=command.timeout_s))
        found = wait_until_ready(self._system, instance)
        if found != version:
            raise NotReady(f"{instance.name} runs {found}, not {version}")
        self._admit(instance)

    def _drain(self, instance: Instance) -> None:
        if self._splitter is None or not self._plan.production.drain:
            return
        self._splitter.weigh(instance.server, 0)
        wait_until_idle(self._system, self._splitter, instance.server, self._plan.production.drain_s)

    def _admit(self, instance: Instance) -> None:
        if self._splitter is None:
            return
        latest = self._system.now() + instance.ready_s
        while not self._splitter.is_up(instance.server):
            if self._system.now() > latest:
                raise NotReady(f"{instance.name} is ready, but not in the eyes of the splitter")
            self._system.sleep(_PAUSE_S)
        if self._plan.production.drain:
            self._splitter.weigh(instance.server, instance.weight)

    def _version(self, instance: Instance) -> str:
        """Return the version that an instance says it is; "" if it says nothing."""
        try:
            return read(self._system, instance).version
        except Silent:
            return ""

    def _noted(self, what: str, instance: Instance) -> bool:
        return any(entry["instance"] == instance.name for entry in self._journal.all(what))


def wait_until_idle(system: System, splitter: Splitter, server: str, most_s: float) -> None:
    """Wait until a server has no connections, at most so long; all of that time if the splitter cannot tell."""
    latest = system.now() + most_s
    while splitter.sessions(server) != 0 and system.now() < latest:
        system.sleep(_PAUSE_S)
