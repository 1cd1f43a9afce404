"""docs/contract.md explains every key that a contract document may have, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from attrs import fields
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.contract import document as contract_document
from hospproxy.contract.contract import IdentityRule, LookupRule, NoteShape, Resource
from hospproxy.contract.permissions import Permission

PAGE = Path(__file__).resolve().parent.parent / "docs" / "contract.md"
HOSP = Path(contract_document.__file__).with_name("hosp.openapi.yaml").read_text("utf-8")


def explained(heading: str) -> set[str]:
    """The first column of the one table under a heading."""
    section = re.split(r"^#+ ", PAGE.read_text("utf-8").partition(f"# {heading}\n")[2], flags=re.MULTILINE)[0]
    return set(re.findall(r"^\| `([a-z_-]+)` \|", section, re.MULTILINE))


def names(kind: type) -> set[str]:
    return {one.name for one in fields(kind)}


class PageTests(SynchronousTestCase):
    def test_every_key_is_explained(self) -> None:
        self.assertEqual(explained("At the top of the document"), contract_document.TOP_KEYS)
        self.assertEqual(explained("In an operation"), contract_document.OPERATION_KEYS)
        self.assertEqual(explained("`identity`"), names(IdentityRule))
        self.assertEqual(explained("`resources`"), names(Resource) - {"name"})
        self.assertEqual(explained("`permissions`"), names(Permission) - {"name"})
        self.assertEqual(explained("`lookup`"), names(LookupRule))
        self.assertEqual(explained("`becomes_note`"), names(NoteShape))

    def test_so_are_the_texts_and_the_keys_of_fields(self) -> None:
        ours = yaml.safe_load(HOSP)["x-hospproxy"]
        self.assertEqual(explained("`unauthorized`"), set(ours["unauthorized"]))
        self.assertEqual(explained("`errors`"), set(ours["errors"]))
        self.assertEqual(
            explained("What is taken from OpenAPI itself"), set(re.findall(r"x-hospproxy-[a-z-]+", HOSP))
        )

    def test_actions_and_retries_are_named(self) -> None:
        page = PAGE.read_text("utf-8")
        for word in (*contract_document.ACTIONS, *contract_document.RETRY):
            self.assertIn(f"`{word}`", page)

    def test_defaults_are_those(self) -> None:
        page = PAGE.read_text("utf-8")
        for one in fields(Resource):
            if isinstance(one.default, (str, bool)):
                self.assertIn(f"| `{one.name}` | `{str(one.default).lower()}` |", page)
        self.assertIn("| `late_commit_s` | 25 |", page)
        self.assertIn("| `max_body_bytes` | 1048576 |", page)
        self.assertIn("| `status` | 201 |", page)
