"""``hospproxyctl log LEVEL``: change the level of the log now, for a while or until the next start."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from typing import Final

from .. import log_output
from ..options.log_section import LEVELS
from ..record.admin_events import Operator
from .command import Arguments, Command, Progress, Result
from .messages import ControlError
from .owner import Owner

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST_S: Final = 7 * 86400.0


def seconds_of(text: str) -> float:
    """Read a duration such as ``90s``, ``10m`` or ``2h``.

    :raise ArgumentTypeError: it is none, or longer than a week.
    """
    found = re.fullmatch(r"(\d{1,6})([smh])", text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < seconds <= _LONGEST_S:
        raise ArgumentTypeError(f"expected a duration such as 90s, 10m or 2h, got {text!r}")
    return seconds


async def _run(owner: Owner, arguments: Arguments, _progress: Progress, operator: Operator) -> Result:
    level, part, lasts_s = arguments.get("level"), arguments.get("part"), arguments.get("lasts_s")
    sound = (
        level in (*LEVELS, "default")
        and (part is None or (isinstance(part, str) and re.fullmatch(r"[\w.]{1,100}", part) is not None))
        and (lasts_s is None or (isinstance(lasts_s, int | float) and 0 < lasts_s <= _LONGEST_S))
    )
    if not sound:
        raise ControlError("the level, the part of the program or the duration cannot be used")
    result = {"level": level, "part": part, "lasts_s": lasts_s}
    [words] = _show(result)
    wanted = None if level == "default" else str(level)
    try:
        log_output.check_level(wanted, part or "")
    except log_output.NoLogError as error:
        await owner.events.note("log level", "refused", operator, f"refused: {words}")
        raise ControlError(str(error)) from None
    await owner.events.note("log level", "success", operator, words)
    log_output.set_level(wanted, part or "", lasts_s)
    return result


def _show(result: Result) -> Iterator[str]:
    part = f" of {result['part']}" if result["part"] else ""
    lasts = f" for {result['lasts_s']:g} s" if result["lasts_s"] else ""
    level = "as the options say again" if result["level"] == "default" else f"{result['level']}{lasts}"
    yield f"the level of the log{part} is {level}"


def _flags(parser: ArgumentParser) -> None:
    parser.add_argument("level", choices=(*LEVELS, "default"), metavar="LEVEL",
                        help=f"{', '.join(LEVELS)}; default: as the options say")  # fmt: skip
    parser.add_argument(
        "part", nargs="*", metavar="for PART", help="only of a part, as: for hospproxy.outward.gate"
    )
    parser.add_argument("--for", dest="lasts_s", type=seconds_of, metavar="TIME",
                        help="go back to the former level after this time, as 90s, 10m or 2h")  # fmt: skip


def _given(given: Namespace) -> Arguments:
    words = given.part
    if words and (len(words) != 2 or words[0] != "for"):
        raise ControlError("write: hospproxyctl log LEVEL [for PART] [--for TIME]")
    return {"level": given.level, "part": words[1] if words else None, "lasts_s": given.lasts_s}


LOG: Final = Command(
    name="log", summary="change the level of the log now", run=_run, show=_show, flags=_flags, given=_given
)
