"""Combinations of options: meaningless ones are refused, risky ones give a warning."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Any

from attrs import evolve

from hospproxy.checks import against_contract, check, load_and_check
from hospproxy.config import (
    AdminSettings,
    ArrivalSettings,
    AuditSettings,
    BreakerSettings,
    CacheSettings,
    ConfigError,
    IdentitySettings,
    ListenerSettings,
    OwnershipSettings,
    RetrySettings,
    ScreeningSettings,
    UpstreamSettings,
    ValidationSettings,
    WritesSettings,
)
from hospproxy.contract import document as contract_document
from hospproxy.options.http_section import HttpSinkSettings
from hospproxy.options.page_section import AuditPageSettings
from hospproxy.options.plugins_section import AuditPluginSettings
from hospproxy.options.source import source_of
from tests.settings_case import SettingsTestCase

OFF = {"enabled": False}


class Case(SettingsTestCase):
    def errors(self, **changes: Any) -> list[str]:
        return [line.replace(str(self.folder), "DIR") for line in check(evolve(self.good, **changes)).errors]

    def warnings(self, **changes: Any) -> list[str]:
        return [
            line.replace(str(self.folder), "DIR") for line in check(evolve(self.good, **changes)).warnings
        ]

    def paths(self, **changes: Any) -> list[str]:
        return [line.split(": ")[0] for line in self.errors(**changes)]

    def warned(self, **changes: Any) -> list[str]:
        self.assertEqual(self.errors(**changes), [])
        return [line.split(": ")[0] for line in self.warnings(**changes)]

    def listen(self, *urls: str, **more: Any) -> tuple[ListenerSettings, ...]:
        return tuple(ListenerSettings(url=url, **more) for url in urls)


class SenselessTests(Case):
    def test_the_defaults_are_good(self) -> None:
        self.assertEqual((self.errors(), self.warnings()), ([], []))
        self.assertEqual(os.listdir(self.folder), [], "a check makes nothing")

    def test_writers_of_the_record(self) -> None:
        http = HttpSinkSettings(enabled=True)
        self.assertEqual(self.paths(audit_http=http), ["audit_http.url"])
        plain = evolve(http, url="http://127.0.0.1/", ca_file=self.folder)
        self.assertEqual(
            self.paths(audit_http=plain, audit=AuditSettings(**OFF)),
            ["audit_http.ca_file", "audit_http.enabled", "audit_http.ca_file"],
        )
        twins = tuple(AuditPluginSettings(name=name, kind="k") for name in ("a", "http", "a"))
        self.assertEqual(self.paths(audit_plugins=twins), ["audit_plugins[1].name", "audit_plugins[2].name"])
        self.assertEqual(self.paths(audit_plugins=twins[:1], audit=AuditSettings(**OFF)), ["audit_plugins"])
        secret = evolve(http, url="http://127.0.0.1/", secret_file=self.folder / "none")
        self.assertEqual(self.paths(audit_http=secret), ["audit_http.secret_file"])

    def test_what_needs_identity(self) -> None:
        found = self.paths(identity=IdentitySettings(enabled=False))
        self.assertEqual(found, ["ownership.enabled", "screening.enabled", "cache.enabled"])
        without = {
            "identity": IdentitySettings(**OFF),
            "ownership": OwnershipSettings(**OFF),
            "screening": ScreeningSettings(**OFF),
        }
        self.assertEqual(self.paths(**without, cache=CacheSettings(**OFF)), [])

    def test_a_screening_needs_writes(self) -> None:
        self.assertEqual(self.paths(writes=WritesSettings(enabled=False)), ["screening.enabled"])

    def test_two_on_one_port(self) -> None:
        for one, other, clash in (
            ("https://127.0.0.1:1", "http://127.0.0.1:1", True),
            ("https://0.0.0.0:1", "https://127.0.0.1:1", True),
            ("https://127.0.0.1:1", "https://[::]:1", True),
            ("https://localhost:1", "https://127.0.0.1:1", True),
            ("https://0.0.0.0:1", "https://[::1]:1", False),
            ("https://127.0.0.1:1", "https://127.0.0.2:1", False),
            ("https://127.0.0.1:1", "https://127.0.0.1:2", False),
            ("https://127.0.0.1:0", "https://127.0.0.1:0", False),
        ):
            expected = ["listeners[1].url: port 1 is taken by listeners[0].url already"] if clash else []
            self.assertEqual(self.errors(listeners=self.listen(one, other)), expected, (one, other))

    def test_admin(self) -> None:
        self.assertEqual(self.paths(listeners=self.listen("https://0.0.0.0:9443")), ["admin.url"])
        self.assertEqual(self.paths(admin=AdminSettings(url="http://0.0.0.0:9443")), ["admin.url"])
        self.assertEqual(self.paths(admin=AdminSettings(url="http://[::1]:9443")), [])
        self.assertEqual(self.paths(admin=AdminSettings(url="https://0.0.0.0:9444")), ["admin.hosts"])
        self.assertEqual(self.paths(admin=AdminSettings(url="https://10.0.0.9:9444")), [])
        named = AdminSettings(url="https://0.0.0.0:9444", hosts=("audit.example",))
        self.assertEqual(self.paths(admin=named), [])
        self.assertEqual(self.paths(admin=AdminSettings(enabled=False, url="http://0.0.0.0:9443")), [])
        self.assertEqual(self.paths(admin=AdminSettings(url="https://0.0.0.0:9444", access="login")), [])

    def test_who_may_read_the_admin_listener(self) -> None:
        key = Path(self.mktemp())
        key.write_bytes(b"a token of the metrics collector")
        key.chmod(0o600)
        off, on = AuditPageSettings(enabled=False), AuditPageSettings()
        for admin, page, path in (
            (AdminSettings(scrape_token_files=(key,)), on, "admin.scrape_token_files"),
            (AdminSettings(access="login"), off, "admin.access"),
            (AdminSettings(access="login", scrape_token_files=(key,) * 3), off, "admin.scrape_token_files"),
            (
                AdminSettings(access="login", scrape_token_files=(key / "x",)),
                on,
                "admin.scrape_token_files[0]",
            ),
            (AdminSettings(access="login", client_ca_file=key), off, "admin.client_ca_file"),
            (AdminSettings(access="login", scrape_token_files=(key,)), off, None),
            (AdminSettings(access="login"), on, None),
        ):
            self.assertEqual(self.paths(admin=admin, audit_page=page), [path] if path else [], admin)

    def test_a_listener_is_on_an_address(self) -> None:
        self.assertEqual(
            self.errors(listeners=self.listen("https://hosp.example:8443")),
            ["listeners[0].url: 'hosp.example' is neither localhost nor an IP address"],
        )
        self.assertEqual(self.paths(listeners=()), ["listeners"])

    def test_the_upstream_is_not_the_proxy(self) -> None:
        for listener in ("https://0.0.0.0:3000", "https://127.0.0.1:3000"):
            self.assertEqual(
                self.errors(listeners=self.listen(listener)),
                ["upstream.url: it is the proxy itself (listeners[0].url)"],
            )

    def test_plain_is_for_http(self) -> None:
        self.assertEqual(
            self.paths(listeners=self.listen("https://127.0.0.1:1", plain="serve")), ["listeners[0].plain"]
        )

    def test_numbers_that_contradict(self) -> None:
        for changes, path in (
            ({"retry": RetrySettings(base_s=3)}, "retry.cap_s"),
            ({"retry": RetrySettings(budget_ratio=0, budget_min=0)}, "retry.budget_min"),
            ({"retry": RetrySettings(max_attempts=1)}, "retry.max_attempts"),
            ({"screening": ScreeningSettings(retry_base_s=61)}, "screening.retry_cap_s"),
            ({"cache": CacheSettings(max_bytes=1024, max_entry_bytes=2048)}, "cache.max_entry_bytes"),
            ({"arrival": ArrivalSettings(max_target_bytes=20000)}, "arrival.max_target_bytes"),
            ({"arrival": ArrivalSettings(body_memory_bytes=1 << 20)}, "arrival.body_memory_bytes"),
            ({"deadline_s": 3.0}, "upstream.connect_timeout_s"),
        ):
            self.assertEqual(self.paths(**changes), [path])


class ContractTests(Case):
    def test_lifetimes_name_what_is_read(self) -> None:
        contract = contract_document.load()
        write = next(each.id for each in contract.operations.values() if each.is_write)
        lifetimes = {next(iter(contract.operations)): 5.0, "listNobody": 5.0, write: 5.0}
        found = self.errors(cache=CacheSettings(lifetimes=lifetimes))
        self.assertEqual(
            [line.split(";")[0] for line in found],
            [
                "cache.lifetimes.listNobody: the contract has no such operation",
                f"cache.lifetimes.{write}: it is not a read, so it cannot be cached",
            ],
        )

    def test_without_identity_only_what_is_public_is_kept(self) -> None:
        contract = contract_document.load()
        settings = evolve(self.good, identity=IdentitySettings(**OFF))
        self.assertEqual([path for path, _ in against_contract(settings, contract)], ["cache.enabled"])
        public = {name: evolve(each, public=True) for name, each in contract.operations.items()}
        self.assertEqual(list(against_contract(settings, evolve(contract, operations=public))), [])

    def test_identity_must_be_in_the_contract(self) -> None:
        contract = evolve(contract_document.load(), identity=None)
        self.assertEqual([path for path, _ in against_contract(self.good, contract)], ["identity.enabled"])

    def test_a_contract_that_is_none(self) -> None:
        file = self.folder / "other.yaml"
        file.write_text("openapi: 3.1.0\n")
        for path in (file, self.folder / "missing.yaml"):
            self.assertEqual(self.paths(contract_file=path), ["contract_file"])


class RiskyTests(Case):
    def test_a_record_that_leaves_unprotected(self) -> None:
        for url, expected in (
            ("http://siem.example/x", ["audit_http.url", "audit_http.secret_file"]),
            ("https://siem.example?x", ["audit_http.secret_file"]),
            ("http://127.0.0.1:1/x", ["audit_http.secret_file"]),
        ):
            self.assertEqual(self.warned(audit_http=HttpSinkSettings(enabled=True, url=url)), expected)

    def test_open_text(self) -> None:
        for url, expected in (
            ("http://192.0.2.1:80", ["upstream.url"]),
            ("http://hosp:80", ["upstream.url"]),
            ("https://hosp:80", []),
            ("http://localhost:80", []),
            ("http://[::1]:80", []),
        ):
            self.assertEqual(self.warned(upstream=UpstreamSettings(url=url)), expected, url)

    def test_plain_listeners(self) -> None:
        secure = self.listen("https://127.0.0.1:1")
        for url, plain, expected in (
            ("http://127.0.0.1:2", "serve", ["listeners[1].plain"]),
            ("http://0.0.0.0:2", "redirect", ["listeners[1].url"]),
            ("http://[::]:2", "serve", ["listeners[1].plain", "listeners[1].url"]),
            ("http://127.0.0.1:2", "reject", []),
        ):
            self.assertEqual(self.warned(listeners=secure + self.listen(url, plain=plain)), expected)
        for plain in ("reject", "redirect"):
            self.assertEqual(
                self.warned(listeners=self.listen("http://127.0.0.1:2", plain=plain)), ["listeners"]
            )

    def test_who_is_trusted(self) -> None:
        networks = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "0.0.0.0/0", "::/0", "fd00::/16")))
        self.assertEqual(self.warned(trusted_proxies=networks), ["trusted_proxies[1]", "trusted_proxies[2]"])

    def test_what_is_switched_off(self) -> None:
        off = {
            "audit": AuditSettings(**OFF),
            "validation": ValidationSettings(**OFF),
            "ownership": OwnershipSettings(**OFF),
            "breaker": BreakerSettings(**OFF),
        }
        for name, section in off.items():
            self.assertEqual(self.warned(**{name: section}), [f"{name}.enabled"])
        self.assertEqual(self.warned(validation=ValidationSettings(mode="report")), ["validation.mode"])
        self.assertEqual(self.warned(ownership=OwnershipSettings(mode="report")), ["ownership.mode"])

    def test_times(self) -> None:
        self.assertEqual(self.warned(deadline_s=30.0), ["deadline_s"])
        self.assertEqual(self.warned(drain_s=5.0), ["drain_s"])
        self.assertEqual(self.warned(arrival=ArrivalSettings(keep_alive_s=60)), ["arrival.keep_alive_s"])
        self.assertEqual(self.warned(identity=IdentitySettings(offline_grace_s=43200)), [])
        self.assertEqual(
            self.warned(identity=IdentitySettings(offline_grace_s=43201)), ["identity.offline_grace_s"]
        )


class LoadAndCheckTests(Case):
    def refusal(self, text: str) -> list[str]:
        file = self.folder / "bad.toml"
        file.write_text(f'state_dir = "{self.folder}/state"\n' + text)
        error = self.assertRaises(ConfigError, load_and_check, source_of(file))
        return [line.split(": ")[0] for line in error.problems]

    def test_combinations_are_found_beside_wrong_keys(self) -> None:
        self.assertEqual(
            self.refusal(
                """
                [identity]
                enabled = false
                [cache]
                enabled = false
                [screening]
                enabled = false
                [gate]
                concurrency = "five"
                [[listeners]]
                url = "https://localhost:1"
                private_key_file = "key"
                """
            ),
            [
                "upstream.url",
                "gate.concurrency",
                "ownership.enabled",
                "listeners[0].certificate_file",
                "listeners[0].private_key_file",
            ],
        )

    def test_nothing_is_said_of_a_default_that_stands_in(self) -> None:
        """cap_s is 2 only because the value in the file is not a number."""
        text = '[upstream]\nurl = "http://127.0.0.1:1"\n[retry]\nbase_s = 3\ncap_s = "4"\n'
        self.assertEqual(self.refusal(text), ["retry.cap_s"])
        text = '[upstream]\nurl = "http://127.0.0.1:1"\n[retry]\nbase_s = "1"\ncap_s = 0.01\n'
        self.assertEqual(self.refusal(text), ["retry.base_s"])

    def test_wrong_members_of_lists(self) -> None:
        text = (
            'trusted_proxies = ["x"]\nlisteners = [5, {url = "https://localhost:1", plain = "serve"}]\n'
            '[upstream]\nurl = "http://127.0.0.1:1"\n[retry]\nmax_attempts = 1\n'
        )
        self.assertEqual(self.refusal(text), ["trusted_proxies[0]", "listeners[0]", "retry.max_attempts"])

    def test_a_good_file_gives_its_warnings(self) -> None:
        file = self.folder / "good.toml"
        file.write_text('[upstream]\nurl = "http://192.0.2.1:1"\n')
        settings, warnings = load_and_check(source_of(file))
        self.assertEqual(settings.upstream.address.host, "192.0.2.1")
        self.assertEqual(len(warnings), 1)
