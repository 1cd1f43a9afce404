"""Starts instances and reads what they count, from their admin listeners alone."""

from __future__ import annotations

from .figures import Figures, NoFigures, error_lines, read_figures
from .judgement import Sample
from .plan import Instance
from .system import CommandFailed, System

READ_S = 4.0
"""Seconds that an admin listener has for its reply."""
_PAUSE_S = 0.2


class NotReady(Exception):
    """An instance does not start, or not in time, or is another version; the message says which."""


class Silent(Exception):
    """An instance did not say what it counts; the message says why."""


def ensure_started(system: System, instance: Instance) -> bool:
    """Start an instance unless it runs. Return whether it had to be started.

    :raise NotReady: its command cannot be run.
    """
    if not instance.start or system.find(instance.name) is not None:
        return False
    try:
        system.start(instance.name, instance.start)
    except CommandFailed as problem:
        raise NotReady(f"{instance.name} cannot be started: {problem}") from None
    return True


def wait_until_ready(system: System, instance: Instance) -> str:
    """Wait until an instance is ready; return the version that it says it is.

    :raise NotReady: it ended, was not ready in time, or is another version.
    """
    latest = system.now() + instance.ready_s
    said = "no reply"
    while True:
        try:
            reply = system.fetch(f"{instance.admin}/ready", READ_S, ca_file=None)
            if reply.status == 200:
                break
            said = reply.body[:300].decode("utf-8", "replace")
        except OSError as problem:
            said = str(problem)
        if instance.start and system.find(instance.name) is None:
            raise NotReady(f"{instance.name} ended by itself: {_end(system, instance)}")
        if system.now() > latest:
            raise NotReady(f"{instance.name} is not ready after {instance.ready_s:g} s: {said}")
        system.sleep(_PAUSE_S)
    try:
        version = read(system, instance).version
    except Silent as problem:
        raise NotReady(f"{instance.name} is ready, but has no metrics: {problem}") from None
    if instance.version and version != instance.version:
        raise NotReady(f"{instance.name} says that it is {version}, not {instance.version}")
    return version


def read(system: System, instance: Instance) -> Figures:
    """Read what an instance has counted since its start.

    :raise Silent: there is no reply in time, or it holds no figures.
    """
    try:
        reply = system.fetch(f"{instance.admin}/metrics", READ_S, ca_file=None)
        if reply.status != 200:
            raise Silent(f"{instance.name}: /metrics gives {reply.status}")
        return read_figures(reply.body.decode("utf-8", "replace"))
    except (OSError, NoFigures) as problem:
        raise Silent(f"{instance.name}: {problem}") from None


def sample(system: System, instance: Instance, before: Figures) -> Sample:
    """Read what an instance has counted since an earlier reading.

    :raise Silent: see `read`.
    :raise Restarted: it has started again.
    """
    figures = read(system, instance).since(before)
    return Sample(figures, error_lines(system.log(instance.name)) if instance.start else None)


def _end(system: System, instance: Instance) -> str:
    lines = system.log(instance.name)[-1000:].decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
