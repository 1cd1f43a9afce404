"""The options file: what is read, what is refused, and that docs/options.md says the same."""

from __future__ import annotations

import ipaddress
import re
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy import config
from hospproxy.config import (
    ConfigError,
    ListenerSettings,
    Overrides,
    Settings,
    UpstreamSettings,
    load,
    parse_address,
    structure,
)
from hospproxy.options.fields import SPEC
from hospproxy.options.loader import LISTED, known_keys

ROOT = Path(__file__).parent.parent
UPSTREAM = {"url": "http://127.0.0.1:3000"}


def problems(document: dict[str, object], overrides: Overrides = config.NO_FLAGS) -> list[str]:
    try:
        structure(document, overrides)
    except ConfigError as error:
        return list(error.problems)
    return []


class ReadingTests(SynchronousTestCase):
    def test_an_address_of_the_upstream_is_enough(self) -> None:
        self.assertEqual(
            structure({"upstream": UPSTREAM}),
            Settings(
                upstream=UpstreamSettings(url="http://127.0.0.1:3000"),
                state_dir=Path.cwd() / "hospproxy-state",
            ),
        )

    def test_every_kind_of_value(self) -> None:
        settings = structure(
            {
                "upstream": UPSTREAM,
                "deadline_s": 10,
                "public_hosts": ["Hosp.Example:8443"],
                "trusted_proxies": ["10.0.0.0/8", "::1"],
                "cache": {"enabled": False, "lifetimes": {"listNotes": 7}},
                "ownership": {"policy": "refuse"},
                "listeners": [{"url": "http://localhost:80", "plain": "serve"}],
            }
        )
        self.assertEqual((settings.deadline_s, type(settings.deadline_s)), (10.0, float))
        self.assertEqual(settings.public_hosts, ("hosp.example:8443",))
        self.assertEqual(
            settings.trusted_proxies, (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1"))
        )
        self.assertEqual(settings.cache.lifetimes, {"listNotes": 7.0})
        self.assertIs(settings.cache.enabled, False)
        self.assertEqual(settings.ownership.policy, "refuse")
        self.assertEqual(settings.listeners, (ListenerSettings(url="http://localhost:80", plain="serve"),))

    def test_paths_are_made_absolute(self) -> None:
        settings = structure({"upstream": UPSTREAM, "state_dir": "here", "audit": {"directory": "there"}})
        self.assertEqual(settings.state_dir, Path.cwd() / "here")
        self.assertEqual(settings.audit_path, Path.cwd() / "there")
        self.assertEqual(settings.master_key_path, Path.cwd() / "here" / "master.key")

    def test_flags_go_before_the_file(self) -> None:
        settings = structure(
            {
                "upstream": {**UPSTREAM, "connect_timeout_s": 1},
                "listeners": [{"url": "https://[::1]:1"}],
                "state_dir": "a",
            },
            Overrides("http://127.0.0.1:4000", ("https://127.0.0.1:2", "http://127.0.0.1:3"), "/b"),
        )
        self.assertEqual(
            settings.upstream, UpstreamSettings(url="http://127.0.0.1:4000", connect_timeout_s=1.0)
        )
        self.assertEqual(
            [each.url for each in settings.listeners], ["https://127.0.0.1:2", "http://127.0.0.1:3"]
        )
        self.assertEqual(settings.state_dir, Path("/b"))

    def test_a_flag_does_not_change_the_document(self) -> None:
        document = {"upstream": dict(UPSTREAM)}
        structure(document, Overrides(upstream="http://127.0.0.1:9"))
        self.assertEqual(document, {"upstream": UPSTREAM})


class RefusingTests(SynchronousTestCase):
    def test_all_errors_at_once_with_their_key_paths(self) -> None:
        self.assertEqual(
            problems(
                {
                    "deadline": 5,
                    "gate": {"concurrency": "five"},
                    "retry": {"max_attempts": 0},
                    "ownership": {"policy": "asign"},
                    "listeners": [{"url": "ftp://x"}, {"plane": "serve"}],
                    "trusted_proxies": ["10.0.0.1", "10.0.0.1/8"],
                    "cache": {"lifetimes": {"listNotes": "long"}},
                }
            ),
            [
                "trusted_proxies[1]: expected IP addresses or networks, got '10.0.0.1/8': 10.0.0.1/8 has host bits set",
                "listeners[0].url: expected https://host:port or http://host:port, got 'ftp://x': "
                "it does not start with a known scheme",
                "listeners[1].plane: unknown key; did you mean plain?",
                "upstream.url: it is required (or give --upstream)",
                'ownership.policy: expected "assign" or "refuse", got \'asign\'',
                "cache.lifetimes.listNotes: expected a number from 0 to 86400, got 'long'",
                "retry.max_attempts: expected a whole number from 1 to 100, got 0",
                "gate.concurrency: expected a whole number from 1 to 1000, got 'five'",
                "deadline: unknown key; did you mean deadline_s?",
            ],
        )

    def test_a_key_of_another_section_is_found_there(self) -> None:
        self.assertEqual(
            problems({"upstream": UPSTREAM, "concurrency": 3}),
            ["concurrency: unknown key; did you mean gate.concurrency?"],
        )

    def test_a_true_is_no_number_and_a_number_no_switch(self) -> None:
        found = problems(
            {"upstream": UPSTREAM, "deadline_s": True, "gate": {"concurrency": True, "enabled": 1}}
        )
        self.assertEqual(
            found,
            [
                "deadline_s: expected a number from 0.1 to 600, got true",
                "gate.enabled: expected true or false, got 1",
                "gate.concurrency: expected a whole number from 1 to 1000, got true",
            ],
        )

    def test_nan_and_infinity_are_outside_all_bounds(self) -> None:
        for value in (float("nan"), float("inf"), -float("inf")):
            self.assertEqual(len(problems({"upstream": UPSTREAM, "deadline_s": value})), 1)

    def test_a_section_that_is_no_table(self) -> None:
        self.assertEqual(
            problems({"upstream": 5, "listeners": {"url": "x"}, "gate": []}),
            [
                "listeners: expected [[listeners]] tables, got {'url': 'x'}",
                "upstream: expected a table, got 5",
                "gate: expected a table, got []",
            ],
        )

    def test_wrong_flags_are_named_as_flags(self) -> None:
        found = problems({}, Overrides("127.0.0.1:3000", ("https://127.0.0.1:1", "nowhere"), ""))
        self.assertEqual([each.split(":")[0] for each in found], ["--state", "--listen", "--upstream"])

    def test_bounds_are_the_fields_own(self) -> None:
        """Every number accepts its bounds and nothing beyond them."""
        seen = 0
        for path, each in known_keys():
            spec = each.metadata[SPEC]
            if not spec.takes.startswith(("a number", "a whole number")):
                continue
            seen += 1
            low, high = (float(text) for text in spec.takes.partition("from ")[2].split(" to "))
            kind = int if "whole" in spec.takes else float
            for good in (kind(low), kind(high)):
                self.assertEqual(spec.read(good), good, path)
            for bad in (kind(low) - 1, kind(high) + 1):
                self.assertRaises(ValueError, spec.read, bad)
            if kind is int:
                self.assertRaises(ValueError, spec.read, low)
        self.assertTrue(seen > 20)

    def test_the_defaults_are_values_that_the_file_would_take(self) -> None:
        for path, each in known_keys():
            default = each.default.factory() if hasattr(each.default, "factory") else each.default
            if default is None or default is attrs.NOTHING:
                continue
            value = list(default) if isinstance(default, tuple) else default
            value = str(default) if isinstance(default, Path) else value
            self.assertEqual(
                each.metadata[SPEC].read(value),
                default.absolute() if isinstance(default, Path) else default,
                path,
            )


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name, "hospproxy.toml")

    def refusal(self) -> str:
        error = self.assertRaises(ConfigError, load, self.file)
        self.assertEqual(len(error.problems), 1)
        return str(error.problems[0]).replace(str(self.file), "FILE")

    def test_a_good_file(self) -> None:
        self.file.write_text('[upstream]\nurl = "http://127.0.0.1:3000"\n[gate]\nconcurrency = 7\n')
        self.assertEqual(load(self.file).gate.concurrency, 7)

    def test_a_missing_file(self) -> None:
        self.assertEqual(self.refusal(), "FILE: it cannot be read: No such file or directory")

    def test_not_toml(self) -> None:
        self.file.write_text("[upstream\n")
        self.assertTrue(self.refusal().startswith("FILE: it is not TOML: "), self.refusal())
        self.assertIn("line 1", self.refusal())

    def test_not_utf8(self) -> None:
        self.file.write_bytes(b"# \xff")
        self.assertEqual(self.refusal(), "FILE: it is not UTF-8 (byte 2)")

    def test_the_example_is_right(self) -> None:
        settings = load(ROOT / "deploy" / "hospproxy.example.toml")
        self.assertEqual(settings.listeners[0].url, "https://0.0.0.0:8443")

    def test_the_examples_commented_keys_are_right_too(self) -> None:
        lines = (ROOT / "deploy" / "hospproxy.example.toml").read_text().splitlines()
        self.file.write_text(
            "\n".join(
                line.removeprefix("# ") if re.match(r"# (\[|[a-z_A-Z]+ = )", line) else line for line in lines
            )
        )
        settings = load(self.file)
        self.assertEqual(len(settings.listeners), 2)
        self.assertEqual(settings.cache.lifetimes, {"listHospitals": 600.0})


class AddressTests(SynchronousTestCase):
    def test_parts(self) -> None:
        for text, parts, authority in (
            ("http://127.0.0.1:3000", ("http", "127.0.0.1", 3000), "127.0.0.1:3000"),
            ("https://Hosp.Example", ("https", "hosp.example", 443), "hosp.example"),
            ("http://[::1]:80/", ("http", "::1", 80), "[::1]"),
            ("https://localhost:0", ("https", "localhost", 0), "localhost:0"),
        ):
            found = parse_address(text)
            self.assertEqual((found.scheme, found.host, found.port), parts)
            self.assertEqual(found.authority, authority)

    def test_refused(self) -> None:
        for text in (
            "127.0.0.1:3000",
            "http://",
            "http://a:b@c:1",
            "http://a:99999",
            "http://a:x",
            "http://a/path",
            "http://a?q",
            "http://a#f",
            "http://1.2.3.999",
            "http://a b",
            "http://[::1",
            "ftp://a",
            "http://-a",
            "http://a..b",
            "",
        ):
            self.assertRaises(ValueError, parse_address, text)

    def test_what_only_this_host_reaches(self) -> None:
        for host, expected in (
            ("127.0.0.9", True),
            ("localhost", True),
            ("[::1]", True),
            ("0.0.0.0", False),
            ("a", False),
        ):
            self.assertIs(parse_address(f"http://{host}:1").loopback, expected, host)
        self.assertEqual(parse_address("http://localhost:1").interface, "127.0.0.1")
        self.assertRaises(ValueError, lambda: parse_address("http://a:1").interface)

    @given(st.sampled_from(["http", "https"]), st.ip_addresses(), st.integers(0, 65535))
    def test_an_address_is_read_back_as_written(
        self, scheme: str, ip: ipaddress.IPv4Address, port: int
    ) -> None:
        host = f"[{ip}]" if ip.version == 6 else str(ip)
        found = parse_address(f"{scheme}://{host}:{port}")
        self.assertEqual((found.ip, found.port), (ip, port))
        self.assertEqual(parse_address(str(found)), found)

    @given(st.text())
    def test_whatever_comes_it_is_an_address_or_refused(self, text: str) -> None:
        try:
            found = parse_address(f"http://{text}")
        except ValueError:
            return
        self.assertTrue(found.host)
        self.assertNotIn("@", found.authority)


class DocumentationTests(SynchronousTestCase):
    def test_the_page_is_current(self) -> None:
        """If it fails, replace the tables with the output of ``python -m hospproxy.config --markdown``."""
        printed = StringIO()
        with redirect_stdout(printed):
            self.assertEqual(config.main(["--markdown"]), 0)
        page = (ROOT / "docs" / "options.md").read_text()
        self.assertTrue(page.endswith(printed.getvalue()), "docs/options.md is not what the code says")

    def test_every_key_has_a_row_a_unit_where_it_counts_and_a_sentence(self) -> None:
        page = (ROOT / "docs" / "options.md").read_text()
        for path, each in known_keys():
            spec = each.metadata[SPEC]
            self.assertIn(f"| `{each.name}` |", page)
            self.assertTrue(spec.doc.endswith("."), path)
            self.assertEqual("number" in spec.takes, bool(spec.unit), path)
            self.assertEqual(
                each.name.endswith("_s"), spec.unit == "seconds" and each.name != "lifetimes", path
            )
            self.assertEqual(each.name.endswith("_bytes"), spec.unit == "bytes", path)

    def test_every_key_is_documented(self) -> None:
        """A field without a spec would be read without bounds."""
        for cls in (value for name, value in vars(config).items() if name.endswith("Settings")):
            for each in attrs.fields(attrs.resolve_types(cls)):
                nested = each.name in (*LISTED, "certificates") or attrs.has(each.type)
                self.assertEqual(SPEC in each.metadata, not nested, f"{cls.__name__}.{each.name}")

    def test_another_argument_is_refused(self) -> None:
        with redirect_stderr(StringIO()) as said:
            self.assertEqual(config.main([]), 2)
        self.assertIn("--markdown", said.getvalue())
