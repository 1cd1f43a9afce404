"""The sections about proxies in front."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from hospproxy.options.cors_section import CorsSettings
from hospproxy.options.front_section import FrontSettings, OriginSettings
from hospproxy.options.loader import ConfigError, structure

from ..test_checks import Case

NETS = (ipaddress.ip_network("10.0.0.0/8"),)
UPSTREAM = {"url": "http://127.0.0.1:3000"}


class FrontTests(Case):
    def secret(self, content: str = "a secret that is long enough", mode: int = 0o600) -> Path:
        path = self.folder / "secret"
        path.write_text(content)
        path.chmod(mode)
        return path

    def plain(self, url: str = "https://127.0.0.1:8443", **more: Any) -> dict[str, Any]:
        return {"listeners": self.listen(url, **more)}

    def test_good_ones(self) -> None:
        for more in (
            {**self.plain(proxy_protocol=True), "trusted_proxies": NETS},
            self.plain(proxy_protocol=True, proxy_protocol_from=NETS),
            {"front": FrontSettings(forwarded_header="forwarded", require_https="redirect")},
            {"front": FrontSettings(forwarded_proto_header="cloudfront-forwarded-proto")},
            {"origin": OriginSettings(secret_files=(self.secret(),))},
        ):
            self.assertEqual(self.warned(**more), [])

    def test_what_makes_no_sense(self) -> None:
        secret = self.secret()
        for more, path in (
            (self.plain(proxy_protocol=True), "listeners[0].proxy_protocol"),
            (self.plain(proxy_protocol_from=NETS), "listeners[0].proxy_protocol_from"),
            ({"front": FrontSettings(forwarded_proto_header="forwarded")}, "front.forwarded_proto_header"),
            ({"origin": OriginSettings(header="Authorization", secret_files=(secret,))}, "origin.header"),
            ({"origin": OriginSettings(header="X-Forwarded-For", secret_files=(secret,))}, "origin.header"),
            ({"origin": OriginSettings(secret_files=(secret,) * 3)}, "origin.secret_files"),
            (
                {"origin": OriginSettings(secret_variables=("HOSPPROXY_NOT_SET",))},
                "origin.secret_variables[0]",
            ),
            ({"origin": OriginSettings(secret_files=(secret, self.folder / "no"))}, "origin.secret_files[1]"),
        ):
            self.assertEqual(self.paths(**more), [path])

    def test_secrets_that_cannot_be_used_are_not_shown(self) -> None:
        for content, mode in (
            ("short", 0o600),
            (" a secret with spaces around it ", 0o600),
            ("a" * 20, 0o644),
        ):
            [line] = self.errors(origin=OriginSettings(secret_files=(self.secret(content, mode),)))
            self.assertIn("origin.secret_files[0]", line)
            self.assertNotIn(content, line)

    def test_what_is_risky(self) -> None:
        everyone = (ipaddress.ip_network("0.0.0.0/0"),)
        self.assertEqual(
            self.warned(**self.plain(proxy_protocol=True, proxy_protocol_from=everyone)),
            ["listeners[0].proxy_protocol_from[0]"],
        )
        serving = self.plain("http://127.0.0.1:8080", plain="serve")
        lines = self.warnings(**serving, front=FrontSettings(require_https="reject"))
        self.assertTrue(any("without trusted_proxies" in line for line in lines), lines)
        lines = self.warnings(**serving, front=FrontSettings(require_https="reject"), trusted_proxies=NETS)
        self.assertFalse(any("without trusted_proxies" in line for line in lines), lines)

    def test_pages_without_tls_are_risky(self) -> None:
        risky = CorsSettings(
            origins=("https://a.example", "http://localhost.example", "http://localhost:1", "http://[::1]")
        )
        self.assertEqual(self.warned(cors=risky), ["cors.origins[1]"])

    def test_the_scheme_is_read_where_the_address_is(self) -> None:
        for given, expected in (
            ({}, "x-forwarded-proto"),
            ({"forwarded_header": "forwarded"}, "forwarded"),
            (
                {"forwarded_header": "forwarded", "forwarded_proto_header": "x-forwarded-proto"},
                "x-forwarded-proto",
            ),
        ):
            self.assertEqual(FrontSettings(**given).scheme_field, expected)

    def test_from_the_file(self) -> None:
        settings = structure(
            {
                "upstream": UPSTREAM,
                "listeners": [{"proxy_protocol": True, "proxy_protocol_from": ["10.0.0.0/8"]}],
                "front": {"require_https": "redirect"},
                "origin": {"header": "X-Secret", "secret_files": ["a"], "secret_variables": ["B"]},
            }
        )
        self.assertEqual(settings.listeners[0].proxy_protocol_from, NETS)
        self.assertEqual(settings.origin.secret_files, (Path("a").absolute(),))
        self.assertTrue(settings.origin.enabled)
        self.assertFalse(OriginSettings().enabled)
        for wrong in (
            {"origin": {"header": "a b"}},
            {"front": {"require_https": "yes"}},
            {"listeners": [{"proxy_protocol_from": ["10.0.0.1/8"]}]},
        ):
            self.assertRaises(ConfigError, structure, {"upstream": UPSTREAM, **wrong})
