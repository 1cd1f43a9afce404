"""An option's default stands in its section only. Elsewhere it would have to be changed a second time."""

from __future__ import annotations

import ast
import importlib
import operator
from collections.abc import Iterator
from pathlib import Path

from attrs import fields, has
from twisted.trial.unittest import SynchronousTestCase

import hospproxy

PACKAGE = Path(hospproxy.__file__).resolve().parent
OPTIONS = PACKAGE / "options"
_OPERATORS = {ast.Mult: operator.mul, ast.LShift: operator.lshift, ast.Pow: operator.pow}


def number(node: ast.expr) -> float | None:
    """The value of a number, also if it is written as a product, a shift or a power; None for anything else."""
    match node:
        case ast.Constant(int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.BinOp(left, how, right) if type(how) in _OPERATORS:
            values = number(left), number(right)
            if values[0] is not None and values[1] is not None:
                found: float = _OPERATORS[type(how)](*values)  # type: ignore[arg-type]
                return found
    return None


def defaults(tree: ast.AST) -> Iterator[tuple[str, float]]:
    """Names and numeric defaults of all parameters, and of all annotated attributes of classes."""
    for node in ast.walk(tree):
        pairs: list[tuple[str, ast.expr | None]] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            positional = [each.arg for each in (*given.posonlyargs, *given.args)]
            pairs += zip(positional[len(positional) - len(given.defaults) :], given.defaults, strict=True)
            pairs += zip([each.arg for each in given.kwonlyargs], given.kw_defaults, strict=True)
        if isinstance(node, ast.ClassDef):
            pairs += [
                (each.target.id, each.value)
                for each in node.body
                if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
            ]
        for name, default in pairs:
            value = None if default is None else number(default)
            if value is not None:
                yield name, value


def declared() -> set[tuple[str, float]]:
    """Names and numeric defaults of all options. 0 is left out: it means that something is off."""
    found = set()
    for path in OPTIONS.glob("*section*.py"):
        module = importlib.import_module(f"hospproxy.options.{path.stem}")
        for each in vars(module).values():
            for one in fields(each) if isinstance(each, type) and has(each) else ():
                if isinstance(one.default, int | float) and not isinstance(one.default, bool) and one.default:
                    found.add((one.name, float(one.default)))
    return found


class DeclaredOnceTests(SynchronousTestCase):
    def test_no_default_of_an_option_stands_elsewhere(self) -> None:
        options = declared()
        self.assertIn(("heartbeat_s", 0.5), options)
        again = [
            f"{path.relative_to(PACKAGE)}: {name} = {value:g}"
            for path in sorted(PACKAGE.rglob("*.py"))
            if OPTIONS not in path.parents
            for name, value in defaults(ast.parse(path.read_text()))
            if (name, float(value)) in options
        ]
        self.assertEqual(again, [], "take the section of the options, or its default")

    def test_a_copy_is_found(self) -> None:
        for text in (
            "def f(a, lease_s: float = 2.0): ...",
            "async def f(*, lease_s=2): ...",
            "class C:\n    lease_s: float = 1 << 1",
        ):
            self.assertIn(("lease_s", 2), list(defaults(ast.parse(text))), text)
