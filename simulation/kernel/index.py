"""What stands for the process of the audit index: DuckDB's files are not on a simulated disk."""

from __future__ import annotations

from hospproxy.record.columns.questions import Answer, Question


class NoIndex:
    """Takes every file, and finds nothing. The sink and its carrier run as they do elsewhere."""

    async def ask(self, question: Question, timeout_s: float | None = None) -> Answer:
        """Answer at once."""
        return Answer()

    async def close(self) -> None:
        """There is nothing to end."""
