"""Defects planted where workers and machines share what they know of writes and cached responses."""

from __future__ import annotations

from .injection import Mutant

_AMONG_MANY = ("machines", "workers")
SHARING = (
    Mutant(
        "serves-without-lease",
        "hospproxy/sharing/member.py",
        "        return self._running and self._lease.holds(self._clock.seconds())",
        "        return self._running",
        "a worker that cannot hear the others serves from memory",
        shapes=_AMONG_MANY,
        scene="edits among many",
    ),
    Mutant(
        "news-not-told",
        "hospproxy/memory/memory.py",
        "        await self.sharing.announce(*self._news(call, sending.reference, doubt_s, hidden_from))\n",
        "",
        "other workers do not hear of a write",
        shapes=_AMONG_MANY,
        scene="edits among many",
    ),
    Mutant(
        "claims-nothing",
        "hospproxy/outward/writes/processor.py",
        "            await self._others.claim(entry)\n",
        "",
        "two machines carry out one write",
        shapes=_AMONG_MANY,
        scene="lost notes among many",
    ),
    Mutant(
        "equal-elsewhere-unseen",
        "hospproxy/outward/writes/redis/claims.py",
        '        if found[0] != b"join":\n            return None\n',
        '        if found[0] == b"join":\n            return None\n',
        "what is repeated at another machine is a write of its own",
        shapes=_AMONG_MANY,
        scene="lost notes among many",
    ),
    Mutant(
        "nobodys-record",
        "hospproxy/outward/writes/seen_ids.py",
        "        if lasting:\n            made = self._lately",
        "        return True\n        if lasting:\n            made = self._lately",
        "two lost writes find the same record",
        shapes=("machines",),
        scene="lost notes among many",
        seeds=200,
    ),
    Mutant(
        "hosp-not-asked-at-a-retry",
        "hospproxy/outward/writes/elsewhere.py",
        "        if isinstance(self.claims, NoClaims):\n            return False\n        overwritten",
        "        if self.claims is not None:\n            return False\n        overwritten",
        "a change that another machine was shown is overlooked, and its retry is answered with what was there before",
        shapes=_AMONG_MANY,
        scene="A, changed outside, A",
        seeds=120,
    ),
    Mutant(
        "found-before-it-is-read",
        "hospproxy/outward/writes/elsewhere.py",
        "            if key is None and await self.was_overwritten(",
        '            exchange.trace.outcome = "found" if known.state is WriteState.FOUND else ""\n'
        "            if key is None and await self.was_overwritten(",
        "a retry whose outcome is told as unknown is recorded as found",
        shapes=_AMONG_MANY,
        scene="A, changed outside, A",
    ),
)
