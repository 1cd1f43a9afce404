"""The sets of options that take turns, and the files that must be refused."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from attrs import frozen

LONG_TARGET: Final = 600
"""Bytes of a request target that is too long for the short limit only."""


@frozen
class Choice:
    """One set of options.

    :param enforce: requests that break the contract are refused.
    :param cache: responses are cached.
    :param strict: the second wrong password of an account waits, and further ones meanwhile are refused.
    :param short: request targets may have 512 bytes only.
    :param named: only requests for 127.0.0.1 are served.
    :param alerts: a threshold that only the courier reads: it is started again.
    """

    enforce: bool
    cache: bool
    strict: bool
    short: bool
    named: bool
    alerts: int

    @property
    def top(self) -> str:
        return 'public_hosts = ["127.0.0.1"]' if self.named else ""

    @property
    def sections(self) -> str:
        admission = "account_free = 1\naccount_waiting = 1" if self.strict else "account_free = 1000"
        return (
            f'[validation]\nmode = "{"enforce" if self.enforce else "report"}"\n'
            f"[cache]\nenabled = {str(self.cache).lower()}\n"
            f"[admission]\naddress_free = 100000\n{admission}\n"
            f"[arrival]\nmax_target_bytes = {512 if self.short else 8192}\n"
            f"[alerts]\npatients = {self.alerts}\n"
        )


CHOICES: Final = (
    Choice(enforce=True, cache=True, strict=False, short=False, named=False, alerts=500),
    Choice(enforce=False, cache=False, strict=True, short=True, named=True, alerts=500),
    Choice(enforce=True, cache=False, strict=True, short=False, named=False, alerts=600),
    Choice(enforce=False, cache=True, strict=False, short=True, named=True, alerts=600),
    Choice(enforce=True, cache=True, strict=False, short=True, named=True, alerts=700),
)


@frozen
class Mistake:
    """A file that must be refused.

    :param lines: at its end.
    :param said: part of what the refusal says.
    """

    name: str
    lines: str
    said: str


def mistakes(folder: Path) -> tuple[Mistake, ...]:
    """Return every kind of mistake; the first two are those of the short form.

    :param folder: where no secret is.
    """
    secret = folder / "no-such-secret"
    return (
        Mistake("unknown key", "[gate]\nconcurency = 5\n", "gate.concurency: unknown key"),
        Mistake(
            "key that needs a restart",
            "[writes]\nlate_commit_s = 30.0\n",
            "writes.late_commit_s cannot change",
        ),
        Mistake("no TOML", "[gate\n", "it is not TOML"),
        Mistake("value out of bounds", "[gate]\nconcurrency = 0\n", "gate.concurrency: expected"),
        Mistake(
            "file that is missing", f'[origin]\nenabled = true\nsecret_files = ["{secret}"]\n', str(secret)
        ),
    )
