"""Write the manual pages of all commands, deploy/man/*.1, from their argument parsers: ``python scripts/man_pages.py``.

With ``--check`` it only reports pages that are not as it would write them. The help texts stand in the parsers and
nowhere else; this file adds examples, files and exit statuses, which no parser knows.
"""

from __future__ import annotations

import argparse
import configparser
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "deploy/man"

COMMANDS = (
    "hospproxy",
    "hospproxy-audit",
    "hospproxy-copy",
    "hospproxy-report",
    "hospproxy-state",
    "hospproxyctl",
)


@dataclass(frozen=True)
class Notes:
    """What a manual page says beyond the parser's help.

    :param examples: (what for, command).
    :param files: (path, what it is).
    :param statuses: (exit status, meaning).
    """

    examples: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...] = ()
    statuses: tuple[tuple[str, str], ...] = (("0", "success"), ("1", "failure; stderr says why"))


_STATE = "/var/lib/hospproxy"
_OPTIONS = ("/etc/hospproxy/hospproxy.toml", "the options file of the service")
NOTES = {
    "hospproxy": Notes(
        (
            ("check an options file", "twistd -n hospproxy --config hospproxy.toml --check"),
            ("run in the foreground", "twistd -n hospproxy --config hospproxy.toml"),
            ("try without an options file", "twistd -n hospproxy --upstream http://127.0.0.1:3000"),
        ),
        (_OPTIONS, (_STATE, "the state folder: audit trail, ledger of writes, cache")),
        (
            ("0", "it was stopped, or --check found no error"),
            ("1", "the options are wrong, or a port is taken"),
        ),
    ),
    "hospproxy-audit": Notes(
        (
            (
                "check chain and signatures",
                f"hospproxy-audit verify {_STATE}/audit --public-key audit-signing.pub",
            ),
            ("see who has looked at a patient", f"hospproxy-audit search {_STATE}/audit --patient 7"),
            ("add a user of the audit page", f"hospproxy-audit user --file {_STATE}/audit-users add anna"),
        ),
        ((f"{_STATE}/audit", "the audit trail"), (f"{_STATE}/audit-users", "the users of the audit page")),
        (
            ("0", "success"),
            ("1", "the trail is not intact, or a part of it could not be read"),
            ("2", "nothing could be checked or read"),
        ),
    ),
    "hospproxy-copy": Notes(
        (
            ("see how complete the copy is", f"hospproxy-copy status --state {_STATE}"),
            (
                "the records of one day",
                f"hospproxy-copy export --at 2026-11-24T08:00Z --to day.jsonl --state {_STATE}",
            ),
            ("erase a patient for good", f"hospproxy-copy forget patient 7 --state {_STATE}"),
        ),
        ((f"{_STATE}/copy", "the copy of HOSP's records"),),
        (("0", "success"), ("1", "failure, damage, or a record that cannot be read")),
    ),
    "hospproxy-report": Notes(
        (
            ("figures of a folder of logs", "hospproxy-report /var/log/balancer"),
            ("two periods beside each other", "hospproxy-report --compare before/ after/"),
            ("one page to send to somebody", "hospproxy-report --html report.html /var/log/balancer"),
        ),
    ),
    "hospproxy-state": Notes(
        (
            ("back up while the proxy runs", f"hospproxy-state backup --state {_STATE} /backup/hospproxy"),
            ("restore into an empty folder", f"hospproxy-state restore /backup/hospproxy {_STATE}"),
        ),
        ((_STATE, "the state folder"),),
    ),
    "hospproxyctl": Notes(
        (
            ("apply an edited options file", "hospproxyctl --config /etc/hospproxy/hospproxy.toml reload"),
            ("see which options are in force", f"hospproxyctl --state {_STATE} config"),
            ("go back to the options before", f"hospproxyctl --state {_STATE} undo"),
        ),
        (_OPTIONS, (f"{_STATE}/control.sock", "the socket of the running proxy")),
    ),
}


def roff(text: str) -> str:
    """Escape a text, so that it starts no request of roff and a hyphen can be copied from the page."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("…", "...")
    escaped = re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", escaped)
    return re.sub(r"^(?=[.'])", r"\&", escaped, flags=re.MULTILINE)


def page(name: str, parser: argparse.ArgumentParser, notes: Notes, version: str) -> str:
    """Write one manual page.

    :param name: of the command; the page is in section 1.
    """
    description = parser.description or ""
    first = description.split(". ")[0].rstrip(".")
    lines = [f'.TH {name.upper()} 1 "" "hospproxy {version}" "hospproxy"', ".SH NAME"]
    lines += [f"{roff(name)} \\- {roff(first[:1].lower() + first[1:])}"]
    lines += [".SH SYNOPSIS", *_synopsis(parser), ".SH DESCRIPTION", roff(description)]
    lines += [
        ".SH OPTIONS",
        *_arguments(parser),
        ".TP",
        f".B {roff('-h, --help')}",
        "Print a summary, and exit.",
    ]
    lines += [".SH COMMANDS"] if any(_commands(parser)) else []
    for command, words in _commands(parser):
        lines += [f'.SS "{roff(command.prog)}"', roff(words), *_synopsis(command), *_arguments(command)]
    lines += [".SH EXAMPLES"]
    for purpose, example in notes.examples:
        lines += [".TP", roff(purpose), f".B {roff(example)}"]
    for heading, pairs in (("FILES", notes.files), ("EXIT STATUS", notes.statuses)):
        lines += [f".SH {heading}"] if pairs else []
        for term, meaning in pairs:
            lines += [".TP", f".B {roff(term)}", roff(meaning)]
    others = [f"{roff(each)} (1)" for each in COMMANDS if each != name]
    lines += [".SH SEE ALSO", *(f".BR {each}{',' if each != others[-1] else ''}" for each in others)]
    return "\n".join(line for line in lines if line) + "\n"


def _synopsis(parser: argparse.ArgumentParser) -> list[str]:
    """The command with its arguments. Written here, because argparse's own usage differs between versions of Python."""
    words = [parser.prog]
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):
            continue
        value = "COMMAND …" if isinstance(action, argparse._SubParsersAction) else _value(action)
        if action.option_strings:
            flag = f"{action.option_strings[-1]}{' ' + value if value else ''}"
            words.append(flag if action.required else f"[{flag}]")
        else:
            many = {"*": f"[{value} …]", "+": f"{value} …", "?": f"[{value}]"}
            words.append(many.get(str(action.nargs), value))
    return [".PP", f".B {roff(' '.join(words))}"]


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if (
            isinstance(action, argparse._SubParsersAction | argparse._HelpAction)
            or action.help == argparse.SUPPRESS
        ):
            continue
        value = _value(action)
        names = [f"{flag}{' ' + value if value else ''}" for flag in action.option_strings] or [value]
        yield from (
            ".TP",
            f".B {roff(', '.join(names))}",
            roff((action.help or "") % _expanded(parser, action)),
        )


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    if action.choices is not None and action.metavar is None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return action.metavar or (action.dest.upper() if action.option_strings else action.dest)


def _expanded(parser: argparse.ArgumentParser, action: argparse.Action) -> dict[str, object]:
    return {**vars(action), "prog": parser.prog}


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """Iterate over the subcommands, each with its description or else its line in the list of commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {each.dest: each.help or "" for each in action._choices_actions}
            for name, command in action.choices.items():
                yield command, command.description or helps.get(name, "")
                yield from _commands(command)


def twistd_parser() -> argparse.ArgumentParser:
    """The flags of ``twistd hospproxy`` as an argument parser; Twisted has a kind of its own."""
    from hospproxy.tap import Options

    parser = argparse.ArgumentParser(prog="twistd [TWISTD-OPTIONS] hospproxy", add_help=False)
    parser.description = "Reverse proxy in front of HOSP. " + Options.longdesc.partition(". ")[2]
    for name, _, _, words in Options.optParameters:
        parser.add_argument(f"--{name}", metavar="VALUE", help=words)
    parser.add_argument("--listen", metavar="URL", help=" ".join((Options.opt_listen.__doc__ or "").split()))
    for name, _, words in Options.optFlags:
        parser.add_argument(f"--{name}", action="store_true", help=words)
    parser.add_argument("--version", action="store_true", help="Print the version of hospproxy, and exit.")
    return parser


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The argument parser of each command."""
    from hospproxy.control import cli as control
    from hospproxy.copy import cli as copy
    from hospproxy.record.commands import cli as audit
    from hospproxy.report import cli as report
    from hospproxy.state import cli as state

    found = (
        twistd_parser(), audit.parser(), copy.parser(), report.parser(), state.parser(), control.parser(),
    )  # fmt: skip
    return dict(zip(COMMANDS, found, strict=True))


def written(version: str) -> dict[str, str]:
    """Every manual page by its file name."""
    return {f"{name}.1": page(name, parser, NOTES[name], version) for name, parser in parsers().items()}


def stale(folder: Path, pages: Iterable[tuple[str, str]]) -> list[str]:
    """Names of the pages that a folder lacks, or has in another form."""
    return [
        name for name, text in pages if not (folder / name).exists() or (folder / name).read_text() != text
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages, or check them; return the exit status."""
    parser = argparse.ArgumentParser(description="Write the manual pages.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a page is not up to date"
    )
    given = parser.parse_args(arguments)
    described = configparser.ConfigParser(interpolation=None)
    described.read(ROOT / "setup.cfg")
    pages = written(described["metadata"]["version"])
    wrong = stale(ROOT / FOLDER, pages.items())
    if given.check:
        for name in wrong:
            print(f"{FOLDER}/{name}: not up to date; run python scripts/man_pages.py")
        return 1 if wrong else 0
    (ROOT / FOLDER).mkdir(exist_ok=True)
    for name in wrong:
        (ROOT / FOLDER / name).write_text(pages[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
