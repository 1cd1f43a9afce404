"""Fixtures and hooks of the integration tests. The whole run uses one reactor: pytest-twisted's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from .processes import Processes

_PROCESSES = pytest.StashKey[Processes]()


@pytest_twisted.async_yield_fixture
async def processes(request: Any, tmp_path: Path) -> AsyncIterator[Processes]:
    """Starts processes; those that the test leaves running are ended after it."""
    started = Processes(tmp_path, forks=request.node.get_closest_marker("real_start") is None)
    request.node.stash[_PROCESSES] = started
    yield started
    await started.end_all()


_LONGEST_FIRST = (
    "test_consistency",
    "test_hostile_redis",
    "test_fates",
    "test_chaos",
    "test_state_lock",
    "test_database",
    "test_schemathesis",
    "test_writers_bucket",
    "test_make_run",
    "test_runbooks",
    "test_audit_page",
    "test_stop",
    "test_alerts_together",
    "test_audit_full",
    "test_large_bodies",
    "test_writers_syslog",
    "test_writers_http",
    "test_packaging",
    "test_shared_outage",
    "test_status_page",
    "test_courier",
    "test_leaving",
    "test_everywhere",
    "test_image",
    "test_compose",
    "test_kubernetes",
)
"""Modules that take half a minute or more. If they started last, the other core would have nothing to do.

Those that mostly wait stand between those that keep a core busy.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the modules that take longest first; keep the order of the rest."""
    rank = {name: number for number, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Show the output of a failed test's processes."""
    outcome = yield
    report = outcome.get_result()
    started = item.stash.get(_PROCESSES, None)
    if report.failed and started is not None:
        for running in started.started:
            report.sections.append((f"{running.name} (status {running.status})", running.log[-20_000:]))
