from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.config import ConfigError, Settings, structure
from hospproxy.interfaces import IAuditWriter, IAuditWriterMaker
from hospproxy.record.sinks.build_sinks import SinkError, _makers, needed_from, writers_for
from hospproxy.record.sinks.http import HttpSink

EXAMPLE = Path(__file__).parents[3] / "docs" / "writers.md"


def example() -> str:
    """The plugin that docs/writers.md shows."""
    section = EXAMPLE.read_text().partition("## A writer of your own")[2]
    return section.partition("```python\n")[2].partition("```")[0]


class Case(SynchronousTestCase):
    def settings(self, **more: Any) -> Settings:
        return structure({"state_dir": self.mktemp(), "upstream": {"url": "http://127.0.0.1:3000"}, **more})

    def writers(self, **more: Any) -> list[Any]:
        return writers_for(self.settings(**more), MemoryReactorClock())

    def refused(self, **more: Any) -> str:
        return str(self.assertRaises(SinkError, self.writers, **more))


class BuiltIn(Case):
    def test_http(self) -> None:
        secret = Path(self.mktemp())
        secret.write_bytes(b"0123456789abcdef\n")
        secret.chmod(0o600)
        options = {"enabled": True, "url": "http://127.0.0.1:1/x", "secret_file": str(secret)}
        [writer] = [each for each in self.writers(audit_http=options) if isinstance(each, HttpSink)]
        verifyObject(IAuditWriter, writer)
        secret.chmod(0o644)
        self.assertIn("audit_http: ", self.refused(audit_http=options))

    def test_nothing_where_nothing_is_recorded(self) -> None:
        options = {"enabled": True, "url": "http://127.0.0.1:1/x"}
        self.assertEqual(self.writers(audit_http=options, audit={"enabled": False}), [])

    def test_without_writers_nothing_is_needed(self) -> None:
        self.assertIsNone(needed_from(self.settings(), [])("w0"))


class Plugins(Case):
    def setUp(self) -> None:
        folder = Path(self.mktemp())
        (folder / "hospproxy_plugins").mkdir(parents=True)
        (folder / "hospproxy_plugins" / "copying.py").write_text(example())
        (folder / "hospproxy_plugins" / "useless.py").write_text(
            "from zope.interface import implementer\n"
            "from twisted.plugin import IPlugin\n"
            "from hospproxy.interfaces import IAuditWriterMaker\n"
            "@implementer(IPlugin, IAuditWriterMaker)\n"
            "class Useless:\n"
            "    kind = 'useless'\n"
            "    def make(self, name, options, reactor):\n"
            "        return object()\n"
            "useless = Useless()\n"
        )
        self.folder = folder
        self.patch(sys, "path", [str(folder.absolute()), *sys.path])
        import hospproxy_plugins

        self.patch(
            hospproxy_plugins,
            "__path__",
            [*hospproxy_plugins.__path__, str((folder / "hospproxy_plugins").absolute())],
        )
        self.addCleanup(sys.modules.pop, "hospproxy_plugins.copying", None)
        self.addCleanup(sys.modules.pop, "hospproxy_plugins.useless", None)

    def plugin(self, **entry: Any) -> list[Any]:
        return self.writers(audit_plugins=[{"name": "archive", "kind": "copy", **entry}])

    def test_the_one_in_the_documentation(self) -> None:
        verifyObject(IAuditWriterMaker, _makers()["copy"])
        target = Path(self.mktemp()).absolute()
        writer = next(each for each in self.plugin(options={"file": str(target)}) if each.name == "archive")
        verifyObject(IAuditWriter, writer)

    def test_its_own_words_about_its_options(self) -> None:
        entry = {"name": "archive", "kind": "copy", "options": {}}
        self.assertEqual(
            self.refused(audit_plugins=[entry]), "audit_plugins[0].options: file: it is required"
        )

    def test_one_that_is_not_there(self) -> None:
        words = self.refused(audit_plugins=[{"name": "a", "kind": "other"}])
        self.assertTrue(words.startswith("audit_plugins[0].kind: no plugin makes the kind other;"), words)
        self.assertIn("copy", words)

    def test_one_that_makes_no_writer(self) -> None:
        self.assertIn("made no IAuditWriter", self.refused(audit_plugins=[{"name": "a", "kind": "useless"}]))


class Options(Case):
    def problems(self, **more: Any) -> list[str]:
        error = self.assertRaises(ConfigError, self.settings, **more)
        return sorted(error.problems)

    def test_every_mistake_in_the_list_has_its_path(self) -> None:
        entries = [
            {"kind": "x", "name": "No"},
            {"name": "b"},
            {"name": "c", "kind": "x", "options": 3, "nme": 1},
        ]
        self.assertEqual(
            [line.partition(": ")[0] for line in self.problems(audit_plugins=entries)],
            [
                "audit_plugins[0].name",
                "audit_plugins[1].kind",
                "audit_plugins[2].nme",
                "audit_plugins[2].options",
            ],
        )
        self.assertEqual(
            self.problems(audit_plugins={}), ["audit_plugins: expected [[audit_plugins]] tables, got {}"]
        )

    def test_a_free_table_is_handed_on_as_it_is(self) -> None:
        options = {"a": [1, {"b": "c"}], "d": {"e": 1.5}}
        [entry] = self.settings(audit_plugins=[{"name": "a", "kind": "k", "options": options}]).audit_plugins
        self.assertEqual(entry.options, options)

    def test_addresses_to_post_to(self) -> None:
        for url in (
            "ftp://x/",
            "https://",
            "https://u:p@x/",
            "https://x/ y",
            "https://x/#y",
            "https://x/ü",
            "x",
            3,
        ):
            [line] = self.problems(audit_http={"url": url})
            self.assertTrue(line.startswith("audit_http.url: "), line)
        for url in ("https://x.example/a?b=c%20d", "http://[::1]:80", "https://x:8443?y=/z"):
            self.assertEqual(self.settings(audit_http={"url": url}).audit_http.url, url)
