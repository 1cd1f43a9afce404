"""Check what no other linter checks: what must not be in the repository, and what must be up to date in it.

* No path of the machine on which a file was written, and no host of a package registry: neither means anything
  elsewhere. The script asks pip, npm and apt for the hosts, so that this file need not name one.
* docs/options.md matches the code.
* News fragments have names that towncrier finds.
* Every file name is printable; another kind was created by mistake.
* No Python file is too long to read in one sitting, and no line of Markdown prose is longer than 100 characters.
* Each docstring of hospproxy/ begins with a line that can say more than the signature does.
* The guide of each folder of hospproxy/ (the docstring of its ``__init__.py``) names every module and folder in it, and
  nothing that is gone.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import urlsplit

from house import LONGEST_MARKDOWN, SHORT_DOCSTRING, long_lines, module_of, short_docstrings

LONGEST_FILE = 400
LONGEST_TEST = 500  # tests may be longer: tables of cases are quick to read
# Folders that belong to one person or machine: below home, and similar.
_OWN_FOLDERS = re.compile(r"(?<![\w.~-])/(?:home|Users|root|work|workspace|builds)/[\w.-]+")
# "root" and "home" occur in URLs too.
_URL = re.compile(r"\b\w+://\S+")


def tracked(root: Path) -> list[Path]:
    """Every file that git tracks, except deleted ones."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout  # noqa: S607
    return [path for name in os.fsdecode(listed).split("\0") if name and (path := root / name).is_file()]


def registry_hosts(asked: Iterable[str]) -> set[str]:
    """Host names of the URLs in some texts.

    :param asked: output of pip, npm and apt.
    """
    hosts = set()
    for text in asked:
        for address in re.findall(r"https?://[^\s\"',\]]+", text):
            host = urlsplit(address).hostname
            # A bare name or a loopback address is not a registry.
            if host and "." in host and not host.startswith("127."):
                hosts.add(host)
    return hosts


def told_by_tools() -> list[str]:
    """Ask pip, npm and apt where packages come from; return their output."""
    from pip._internal.models.index import PyPI

    told = [PyPI.url, PyPI.file_storage_domain and f"https://{PyPI.file_storage_domain}"]
    for command in (
        [sys.executable, "-m", "pip", "config", "list"],
        ["npm", "config", "get", "registry"],
        ["npm", "config", "list", "--json", "--long"],
    ):
        if shutil.which(command[0]):
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            told.append(_registry_of(ran.stdout) if "--json" in command else ran.stdout)
    folder = Path("/etc/apt")
    for sources in (*folder.glob("sources.list"), *folder.glob("sources.list.d/*")):
        told.append(sources.read_text(errors="replace"))
    return told


def _registry_of(listed: str) -> str:
    try:
        return str(json.loads(listed).get("registry", ""))
    except ValueError:
        return ""


def found_in(text: str, hosts: Iterable[str], folders: Iterable[str]) -> list[tuple[int, str]]:
    """Find forbidden names in one file's text; return (line, problem) pairs.

    :param folders: absolute paths of folders of this machine.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        found += [(number, f"names the package registry {host}") for host in hosts if host in line]
        found += [
            (number, f"names a folder of this machine: {folder}") for folder in folders if folder in line
        ]
        own = _OWN_FOLDERS.search(_URL.sub("", line))
        if own:
            found.append((number, f"names a folder of some machine: {own.group()}"))
    return found


def fragments(root: Path) -> list[str]:
    """News fragments whose names towncrier would not accept."""
    with (root / "pyproject.toml").open("rb") as file:
        settings = tomllib.load(file)["tool"]["towncrier"]
    types = {each["directory"] for each in settings["type"]}
    problems = []
    for path in sorted((root / settings["directory"]).iterdir()):
        parts = path.name.split(".")
        if path.name in (".gitignore", "README.md"):
            continue
        if len(parts) != 3 or parts[1] not in types or parts[2] != "md":
            problems.append(
                f"{path.relative_to(root)}: NAME.TYPE.md was expected, TYPE one of {sorted(types)}"
            )
    return problems


def odd_names(names: Iterable[str]) -> list[str]:
    """File names that cannot be printed.

    :param names: as ``os.fsdecode`` returns them; bytes that are not UTF-8 appear as surrogates.
    """
    return [f"{name!a}: a name that cannot be printed" for name in names if not name.isprintable()]


def options_page(root: Path) -> list[str]:
    """Report docs/options.md if it lacks the tables that the code generates."""
    command = [sys.executable, "-m", "hospproxy.config", "--markdown"]
    made = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    if made.strip() in (root / "docs/options.md").read_text():
        return []
    return ["docs/options.md: not what python -m hospproxy.config --markdown prints"]


def guides(root: Path, package: str = "hospproxy") -> list[str]:
    """Report guides of folders that leave out a module or folder, or name one that does not exist.

    A guide may also name files of other folders, and a group of modules such as ``*_section.py``.
    """
    problems = []
    everywhere = {each.name for each in (root / package).rglob("*") if each.suffix == ".py" or each.is_dir()}
    for file in sorted((root / package).rglob("__init__.py")):
        name = file.relative_to(root)
        named = set(
            re.findall(
                r"`((?:[\w*]+/)*[\w*]+(?:\.py|/))`", ast.get_docstring(ast.parse(file.read_text())) or ""
            )
        )
        there = [each.name for each in file.parent.glob("*.py") if each != file]
        there += [f"{each.parent.name}/" for each in file.parent.glob("*/__init__.py")]
        left_out = [each for each in there if not any(fnmatch(each, one) for one in named)]
        gone = [
            each
            for each in named
            if "*" not in each and each.rstrip("/").rpartition("/")[2] not in everywhere
        ]
        problems += [f"{name}: its guide does not name {each}" for each in sorted(left_out)]
        problems += [f"{name}: its guide names {each}, which does not exist" for each in sorted(gone)]
    return problems


def short_first_lines(root: Path, package: str = "hospproxy") -> list[str]:
    """Docstrings whose first line is too short to say more than the signature."""
    return [
        f"{words} (fewer than {SHORT_DOCSTRING} characters)"
        for path in sorted((root / package).rglob("*.py"))
        for words in short_docstrings(module_of(str(path.relative_to(root)), path.read_text()))
    ]


def check(root: Path) -> list[str]:
    """Every problem of the repository."""
    hosts = registry_hosts(told_by_tools())
    folders = {str(root)} if len(root.parts) > 2 else set()
    problems = fragments(root) + options_page(root) + guides(root) + short_first_lines(root)
    files = tracked(root)
    problems += odd_names(str(path.relative_to(root)) for path in files)
    for path in files:
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        name = path.relative_to(root)
        problems += [f"{name}:{line}: {words}" for line, words in found_in(text, hosts, folders)]
        if path.suffix == ".md":
            problems += [
                f"{name}:{line}: longer than {LONGEST_MARKDOWN} characters" for line in long_lines(text)
            ]
        most = LONGEST_TEST if name.parts[0] in ("tests", "integration") else LONGEST_FILE
        if path.suffix == ".py" and (lines := text.count("\n")) > most:
            problems.append(f"{name}: {lines} lines; {most} are the most")
    return problems


def main() -> int:
    """Print every problem; return 1 if there is one."""
    problems = check(Path(__file__).resolve().parent.parent)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
