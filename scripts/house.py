"""Counts what makes hospproxy/ and the Markdown files hard to read or hard to change.

Run ``python scripts/house.py`` for one line for each figure, and add ``--list`` for the names behind it. The figures
are for comparing two commits: nothing fails because of them. They are taken from the source text; no module is
imported.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

PACKAGE = "hospproxy"
SHORT_DOCSTRING = 28
"""Characters: a shorter first line rarely says more than the signature."""
LONGEST_MARKDOWN = 100
"""Characters in a line of prose."""
SMALL_MODULE = 60
"""Lines."""

Graph = Mapping[str, frozenset[str]]
"""For each node, the nodes that it points to."""


class When(Enum):
    """When an import takes place."""

    RUNNING = "running"
    """While the module is loaded, or later, inside a function."""
    TYPING = "typing"
    """Only for a type checker: under ``if TYPE_CHECKING``."""


@dataclass(frozen=True)
class Import:
    """An import of one module of the package by another.

    :param source: dotted name of the importing module.
    :param target: dotted name of the imported one.
    """

    source: str
    target: str
    when: When


@dataclass(frozen=True)
class Module:
    """One parsed Python file.

    :param name: dotted; a package has the name of its folder.
    :param path: as it is printed.
    """

    name: str
    path: str
    is_package: bool
    lines: int
    tree: ast.Module


@dataclass(frozen=True)
class Figure:
    """One printed line.

    :param names: what is behind the number, for ``--list``.
    """

    words: str
    number: int
    names: tuple[str, ...] = ()


def module_of(path: str, text: str) -> Module:
    """Parse one file.

    :param path: relative to the repository, with forward slashes.
    :raise SyntaxError: the text is not Python.
    """
    parts = path.removesuffix(".py").split("/")
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    return Module(name, path, is_package, len(text.splitlines()), ast.parse(text, path))


def repeated_classes(modules: Iterable[Module]) -> dict[str, list[str]]:
    """Class names that are defined more than once, each with the paths and lines of its definitions."""
    places: dict[str, list[str]] = defaultdict(list)
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{module.path}:{node.lineno}")
    return {name: found for name, found in sorted(places.items()) if len(found) > 1}


def short_docstrings(module: Module, limit: int = SHORT_DOCSTRING) -> list[str]:
    """Docstrings of modules, classes and functions whose first line is shorter than the limit."""
    found = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            first = text.split("\n", 1)[0].strip() if text else ""
            if text is not None and len(first) < limit:
                line = node.body[0].lineno
                found.append((line, f"{module.path}:{line}: {first}"))
    return [words for _, words in sorted(found)]


def long_lines(text: str, limit: int = LONGEST_MARKDOWN) -> list[int]:
    """Numbers of the Markdown lines of prose that are longer than the limit.

    Tables, fenced code and indented code do not count. Neither do the targets of links and bare addresses, which
    cannot be wrapped.
    """
    found = []
    fence, indented, in_list, blank = "", False, False, True
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.lstrip()
        opening = re.match(r"`{3,}|~{3,}", stripped)
        if fence or opening:
            if not fence and opening:
                fence = opening.group()
            elif stripped.startswith(fence) and not stripped.strip(fence[0]).strip():
                fence = ""
            continue
        if stripped and not line.startswith(" "):
            in_list = bool(re.match(r"[*+-] |\d+[.)] ", stripped))
        indented = line.startswith("    ") and not in_list and (blank or indented)
        blank = not stripped
        if not indented and not stripped.startswith("|") and len(_without_links(line)) > limit:
            found.append(number)
    return found


def _without_links(line: str) -> str:
    without = re.sub(r"\]\([^)]*\)", "]", line)
    return re.sub(r"<?https?://\S+", "", without)


def imports_of(module: Module, known: frozenset[str]) -> Iterator[Import]:
    """The imports of modules of the package, each named as often as it stands in the file.

    ``from .folder import name`` is an import of ``folder.name`` if that is a module, else of ``folder``.

    :param known: dotted names of all modules of the package.
    """
    for node, when in _import_nodes(module.tree, When.RUNNING):
        for target in _targets(module, node, known):
            if target != module.name:
                yield Import(module.name, target, when)


def _import_nodes(node: ast.AST, when: When) -> Iterator[tuple[ast.Import | ast.ImportFrom, When]]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node, when
    elif isinstance(node, ast.If) and _asks_for_typing(node.test):
        for each in node.body:
            yield from _import_nodes(each, When.TYPING)
        for each in node.orelse:
            yield from _import_nodes(each, when)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _import_nodes(child, when)


def _asks_for_typing(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return name == "TYPE_CHECKING"


def _targets(module: Module, node: ast.Import | ast.ImportFrom, known: frozenset[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name in known]
    base = node.module or ""
    if node.level:
        parts = module.name.split(".")
        kept = len(parts) - node.level + (1 if module.is_package else 0)
        base = ".".join([*parts[:kept], *([node.module] if node.module else [])])
    targets = []
    for alias in node.names:
        whole = f"{base}.{alias.name}"
        targets += [whole] if whole in known else [base] if base in known else []
    return targets


def graph_of(imports: Iterable[Import], names: Iterable[str]) -> dict[str, frozenset[str]]:
    """For each module, the modules that it imports.

    :param names: all modules, so that those without imports are nodes too.
    """
    found: dict[str, set[str]] = {name: set() for name in names}
    for each in imports:
        found[each.source].add(each.target)
    return {name: frozenset(targets) for name, targets in found.items()}


def circles(graph: Graph) -> list[list[str]]:
    """Strongly connected components of two or more modules, the largest first.

    Each module in one can reach every other by imports.
    """
    reached = {name: _reached(graph, name) for name in graph}
    found = {
        tuple(sorted(each for each in others if name in reached[each]))
        for name, others in reached.items()
        if name in others
    }
    return sorted((list(each) for each in found if len(each) > 1), key=lambda each: (-len(each), each))


def _reached(graph: Graph, name: str) -> frozenset[str]:
    seen: set[str] = set()
    ahead = [*graph[name]]
    while ahead:
        target = ahead.pop()
        if target not in seen:
            seen.add(target)
            ahead += graph[target]
    return frozenset(seen)


def folder_of(name: str, packages: frozenset[str]) -> str | None:
    """The top-level folder of the package that holds a module; None for a module beside the folders.

    :param packages: dotted names of the packages. ``hospproxy.guard`` is in the folder ``guard`` only if it is one.
    """
    parts = name.split(".")
    return parts[1] if len(parts) > 2 or (len(parts) == 2 and name in packages) else None


def both_ways(imports: Iterable[Import], packages: frozenset[str]) -> dict[tuple[str, str], list[str]]:
    """Pairs of top-level folders that import from each other, with the imports in both directions.

    :param packages: dotted names of the packages (folders with an ``__init__``).
    """
    between: dict[tuple[str, str], set[str]] = defaultdict(set)
    for each in imports:
        source, target = folder_of(each.source, packages), folder_of(each.target, packages)
        if source and target and source != target:
            between[source, target].add(f"{each.source} -> {each.target}")
    return {
        (one, other): sorted(found | between[other, one])
        for (one, other), found in sorted(between.items())
        if one < other and (other, one) in between
    }


def importers(imports: Iterable[Import]) -> dict[str, frozenset[str]]:
    """For each imported module, the modules that import it."""
    found: dict[str, set[str]] = defaultdict(set)
    for each in imports:
        found[each.target].add(each.source)
    return {name: frozenset(sources) for name, sources in found.items()}


def module_figures(modules: list[Module]) -> list[Figure]:
    """The figures about names, sizes and docstrings. Packages' ``__init__`` count as modules only in the first line."""
    plain = [module for module in modules if not module.is_package]
    classes = repeated_classes(modules)
    short = [words for module in modules for words in short_docstrings(module)]
    ing = tuple(module.path for module in plain if module.name.endswith("ing"))
    small = tuple(f"{module.path}: {module.lines}" for module in plain if module.lines <= SMALL_MODULE)
    return [
        Figure("modules", len(modules)),
        Figure("lines", sum(module.lines for module in modules)),
        Figure(
            "class names defined more than once",
            len(classes),
            tuple(f"{name}: {', '.join(places)}" for name, places in classes.items()),
        ),
        Figure(f"docstrings with a first line under {SHORT_DOCSTRING} characters", len(short), tuple(short)),
        Figure("modules ending in -ing", len(ing), ing),
        Figure(f"modules of {SMALL_MODULE} lines or fewer", len(small), small),
    ]


def import_figures(modules: list[Module]) -> list[Figure]:
    """The figures about imports."""
    names = frozenset(module.name for module in modules)
    packages = frozenset(module.name for module in modules if module.is_package)
    every = [each for module in modules for each in imports_of(module, names)]
    running = [each for each in every if each.when is When.RUNNING]
    single = [
        f"{name}: {next(iter(sources))}"
        for name, sources in sorted(importers(every).items())
        if len(sources) == 1 and name not in packages
    ]
    figures = [Figure("modules with one importer", len(single), tuple(single))]
    for words, imports in (("", running), (", TYPE_CHECKING included", every)):
        pairs = both_ways(imports, packages)
        found = circles(graph_of(imports, names))
        listed = [f"{one} <-> {other}: {', '.join(each)}" for (one, other), each in pairs.items()]
        figures += [
            Figure(f"pairs of folders that import each other{words}", len(pairs), tuple(listed)),
            Figure(f"circles of modules{words}", len(found), tuple(", ".join(each) for each in found)),
            Figure(f"modules in circles{words}", sum(map(len, found))),
        ]
    return figures


def markdown_figure(pages: Mapping[str, str]) -> Figure:
    """The figure about long lines of prose.

    :param pages: text by path.
    """
    found = [f"{path}:{number}" for path, text in sorted(pages.items()) for number in long_lines(text)]
    return Figure(f"Markdown lines over {LONGEST_MARKDOWN} characters", len(found), tuple(found))


def printed(figures: Iterable[Figure], names: bool) -> Iterator[str]:
    """The lines of the report.

    :param names: whether the names behind each number follow it.
    """
    for figure in figures:
        yield f"{figure.words}: {figure.number}"
        if names:
            yield from (f"    {name}" for name in figure.names)


def read(root: Path) -> dict[str, str]:
    """Text by path of the package's Python files and of every Markdown file that git knows."""
    command = ["git", "ls-files", "-z", f"{PACKAGE}/*.py", "*.md"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return {
        name: (root / name).read_text() for name in listed.split("\0") if name and (root / name).is_file()
    }


def main(arguments: list[str]) -> int:
    """Print the figures of the repository that holds this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--list", action="store_true", help="print the names behind each number")
    options = parser.parse_args(arguments)
    texts = read(Path(__file__).resolve().parent.parent)
    modules = [module_of(path, text) for path, text in texts.items() if path.endswith(".py")]
    pages = {path: text for path, text in texts.items() if path.endswith(".md")}
    figures = [*module_figures(modules), *import_figures(modules), markdown_figure(pages)]
    for line in printed(figures, options.list):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
