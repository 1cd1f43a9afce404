"""Comparing a secret must not reveal how much of it was right: compare in constant time, or look up a digest."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

PACKAGE = Path(__file__).resolve().parents[2] / "hospproxy"
SECRET = (
    "password",
    "secret",
    "credential",
    "authorization",
    "token",
    "digest",
    "hmac",
    "cookie",
    "canonical",
)


def files() -> list[Path]:
    found = [PACKAGE / "keys" / "secrets.py", PACKAGE / "memory" / "accounts.py"]
    return [*found, *(PACKAGE / "guard").rglob("*.py"), *(PACKAGE / "watch" / "audit_page").rglob("*.py")]


def names_in(node: ast.expr) -> Iterator[str]:
    """The name of a compared value itself, not of the object that contains it."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.Subscript):
        yield from names_in(node.value)
    elif isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id == "len"):
        yield from names_in(node.func)


def plain_comparisons(source: str) -> list[int]:
    """Lines that compare a value named like a secret with ``==``, ``!=`` or a sequence's ``in``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare):
            continue
        operands = [node.left, *node.comparators]
        equal = any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
        constant = any(isinstance(one, ast.Constant) and not one.value for one in operands)
        secret = any(word in name.lower() for one in operands for name in names_in(one) for word in SECRET)
        if equal and secret and not constant:
            found.append(node.lineno)
    return found


class ComparisonTests(SynchronousTestCase):
    def test_no_secret_is_compared_byte_by_byte(self) -> None:
        checked = files()
        self.assertGreater(len(checked), 10)
        found = {
            f"{path.relative_to(PACKAGE)}:{line}"
            for path in checked
            for line in plain_comparisons(path.read_text())
        }
        self.assertEqual(found, set())

    def test_the_search_finds_them(self) -> None:
        for line in ("password == given", "given != self.secret", "user.password_digest == hashed(x)"):
            self.assertEqual(plain_comparisons(line), [1], line)
        for line in (
            "len(secret) != 32",
            "credentials is None",
            "hmac.compare_digest(password, given)",
            "a == b",
        ):
            self.assertEqual(plain_comparisons(line), [], line)
