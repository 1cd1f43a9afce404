"""The files in deploy/ agree with the program: stop times, paths, ports, and what no two proxies share."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.checks import load_and_check
from hospproxy.config import Settings, UpstreamSettings
from hospproxy.options.source import source_of
from hospproxy.process.shutdown import GRACE_S
from hospproxy.watch.admin_access import HEALTH_CHECKS

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
MARGIN_S = 5.0
STOP_S = Settings(upstream=UpstreamSettings(url="http://127.0.0.1:1")).drain_s + GRACE_S + MARGIN_S
"""Seconds that whatever stops the proxy must wait before it kills."""


def documents(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


def manifests() -> Iterator[dict[str, Any]]:
    for path in sorted((DEPLOY / "kubernetes").rglob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from documents(path)


class Stops(SynchronousTestCase):
    def test_each_waits_for_a_drain(self) -> None:
        unit = (DEPLOY / "systemd" / "hospproxy.service").read_text()
        found = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
        assert found is not None
        self.assertGreaterEqual(float(found[1]), STOP_S)
        service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["hospproxy"]
        self.assertGreaterEqual(float(service["stop_grace_period"].removesuffix("s")), STOP_S)
        pod = documents(DEPLOY / "kubernetes/base/stateful-set.yaml")[0]["spec"]["template"]["spec"]
        hook = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        self.assertGreaterEqual(pod["terminationGracePeriodSeconds"], STOP_S + float(hook[-1]))


class Manifests(SynchronousTestCase):
    def setUp(self) -> None:
        self.stateful = documents(DEPLOY / "kubernetes/base/stateful-set.yaml")[0]["spec"]
        self.container = self.stateful["template"]["spec"]["containers"][0]

    def test_probes_ask_for_health_checks(self) -> None:
        ports = {each["name"]: each["containerPort"] for each in self.container["ports"]}
        self.assertEqual(ports, {"https": 8443, "admin": 9443})
        for probe, path in (
            ("startupProbe", "/live"),
            ("livenessProbe", "/live"),
            ("readinessProbe", "/ready"),
        ):
            asks = self.container[probe]["httpGet"]
            self.assertEqual(asks, {"path": path, "port": "admin", "scheme": "HTTPS"})
            self.assertIn(path.encode(), HEALTH_CHECKS)

    def test_no_two_pods_share_a_state_folder(self) -> None:
        (claim,) = self.stateful["volumeClaimTemplates"]
        self.assertEqual(claim["spec"]["accessModes"], ["ReadWriteOncePod"])
        mounted = {each["name"]: each["mountPath"] for each in self.container["volumeMounts"]}
        self.assertEqual(mounted[claim["metadata"]["name"]], "/var/lib/hospproxy")
        volumes = self.stateful["template"]["spec"]["volumes"]
        self.assertEqual([key for each in volumes for key in each if key != "name"], ["configMap", "secret"])

    def test_no_pod_has_more_rights_than_it_needs(self) -> None:
        pods = [each["spec"]["template"]["spec"] for each in manifests() if each["kind"] == "StatefulSet"]
        self.assertEqual(len(pods), 2)
        for pod in pods:
            self.assertIs(pod["automountServiceAccountToken"], False)
            self.assertIs(pod["securityContext"]["runAsNonRoot"], True)
            self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            for container in pod["containers"]:
                rights = {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }
                self.assertEqual(container["securityContext"], rights)


class Options(SynchronousTestCase):
    def test_each_options_file_is_right_once_its_secrets_are_there(self) -> None:
        for path in (
            "image.toml",
            "compose/hospproxy.toml",
            "kubernetes/overlays/one/hospproxy.toml",
            "kubernetes/overlays/two/hospproxy.toml",
        ):
            with tempfile.TemporaryDirectory() as folder:
                for name in ("master.key", "redis-password", "database-password", "scrape-token"):
                    secret = Path(folder) / name
                    secret.write_bytes(b"k" * 32)
                    secret.chmod(0o600)
                text = (DEPLOY / path).read_text()
                file = Path(folder) / "hospproxy.toml"
                file.write_text(
                    text.replace("/secrets/", f"{folder}/").replace("/var/lib/hospproxy", f"{folder}/state")
                )
                settings, _ = load_and_check(source_of(file))
            self.assertEqual(
                (settings.admin.url, settings.admin.access), ("https://0.0.0.0:9443", "login"), path
            )
            self.assertEqual([each.address.port for each in settings.listeners], [8443], path)
