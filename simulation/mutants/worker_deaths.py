"""Defects planted in what becomes of a dead worker's work, and in what its successor leaves to live siblings."""

from __future__ import annotations

from collections.abc import Mapping

from .injection import Mutant

_WRITES = "hospproxy/outward/writes/"

MUTANTS: Mapping[str, Mutant] = {
    each.name: each
    for each in (
        Mutant(
            "siblings-turn-ended-at-start",
            f"{_WRITES}kept_turns.py",
            "        while (keeper := await self._keeping.keep_turn(entry)) is TurnKeeper.SIBLING:\n"
            "            await task.deferLater(self._clock, _ASKED_AGAIN_S, lambda: None)\n"
            "        if keeper is TurnKeeper.NOBODY:\n",
            "        keeper = await self._keeping.keep_turn(entry)\n"
            "        if keeper is TurnKeeper.SIBLING:\n"
            "            await self._keeping.end_pending(entry)\n"
            "            await self._settle(entry, entry.state)\n"
            "        if keeper is not TurnKeeper.CALLER:\n",
            "a worker that starts ends the turn that a live sibling keeps",
            shapes=("workers",),
            scene="late edits, workers die",
        ),
        Mutant(
            "siblings-turn-unseen-without-redis",
            f"{_WRITES}elsewhere.py",
            "            await self._siblings_done(entry)\n",
            "            pass\n",
            "while Redis is away a late PATCH of a sibling undoes a later one",
            shapes=("workers",),
            scene="late edits, workers without Redis",
        ),
        Mutant(
            "ledger-not-asked-at-return",
            f"{_WRITES}elsewhere.py",
            "        if turn.seen_s < _UNTOLD_S or self",
            "        if self",
            "a worker that sees Redis again before its siblings have reported sends a PATCH that theirs undoes",
            shapes=("workers",),
            scene="late edits, workers without Redis",
        ),
        Mutant(
            "live-sibling-taken-for-dead",
            "hospproxy/outward/ledger/owner.py",
            "        except BlockingIOError:\n            return False\n",
            "        except BlockingIOError:\n            return True\n",
            "a worker that starts takes over what its live sibling is sending",
            shapes=("workers",),
            scene="lost notes, workers die",
        ),
        Mutant(
            "orphan-sent-without-look",
            f"{_WRITES}redis/claims.py",
            "sent_ago_s=sent_ago if over or blind > 0 else None",
            "sent_ago_s=sent_ago if blind > 0 else None",
            "a dead worker's write is sent again by the one that takes over its claim",
            shapes=("workers",),
            scene="lost notes, workers die",
        ),
        Mutant(
            "dead-workers-journal-not-continued",
            "hospproxy/record/trail/keeper.py",
            "        self._head = before.head\n",
            "",
            "the successor's records are not linked to those of the dead worker",
            shapes=("workers",),
            scene="keys again, workers die",
        ),
    )
}
