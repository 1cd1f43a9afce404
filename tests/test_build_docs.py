"""scripts/build_docs.py: the site has every page, and links that it cannot follow name the file instead."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Attribute, Interface

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import build_docs  # noqa: E402


class AdaptedTests(SynchronousTestCase):
    def adapted(self, text: str) -> str:
        return build_docs.adapted(text, Path("docs"), {Path("docs/tls.md"), Path("README.md")}.__contains__)

    def test_links_within_the_site_stay(self) -> None:
        for text in (
            "[TLS](tls.md)", "[names](tls.md#names)", "[start](../README.md)", "[here](#words)",
            "[TOML](https://toml.io/en/v1.0.0)", "![picture](status.png)", "[mail](mailto:a@example.org)",
        ):  # fmt: skip
            self.assertEqual(self.adapted(text), text)

    def test_a_file_outside_is_named(self) -> None:
        self.assertEqual(
            self.adapted("See [the rules](../deploy/prometheus/alerts.yml)."),
            "See the rules (`deploy/prometheus/alerts.yml`).",
        )
        self.assertEqual(self.adapted("[hosp.yaml](../hospproxy/hosp.yaml)"), "hosp.yaml")
        self.assertEqual(self.adapted("[`deploy/scale`](../deploy/scale)"), "`deploy/scale`")


class ContentsTests(SynchronousTestCase):
    def test_the_contents_list_every_page(self) -> None:
        contents = (ROOT / build_docs.SETTINGS / "index.rst").read_text()
        listed = re.findall(r"^   ([\w/*\[\]-]+)$", contents, re.MULTILINE)
        self.assertEqual(len(listed), len(set(listed)))
        named = {page for entry in listed for page in ROOT.glob(f"{entry}.md")}
        self.assertEqual({ROOT / page for page in build_docs.pages(ROOT)} - named, set())


class InterfaceTests(SynchronousTestCase):
    def test_methods_and_attributes_with_their_docstrings(self) -> None:
        class IThing(Interface):
            """Does one thing."""

            name = Attribute("Its name.")

            def do(batch, twice=False):  # type: ignore[no-untyped-def]
                """Do it.

                :param batch: what to do it with.
                """

        page = build_docs.interface_page([IThing])
        self.assertIn(".. py:class:: hospproxy.interfaces.IThing\n\n   Does one thing.\n", page)
        self.assertIn("   .. py:attribute:: name\n\n      Its name.\n", page)
        self.assertIn("   .. py:method:: do(batch, twice=False)\n\n      Do it.\n\n      :param batch:", page)
