"""The checkers of make lint find what they are for."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from check_jenkinsfile import Checker, makefile_targets  # noqa: E402
from check_repository import found_in, registry_hosts  # noqa: E402

JENKINSFILE = (ROOT / "Jenkinsfile").read_text()

MISTAKES = {
    "a bracket is missing": ("    stages {\n", "    stages \n"),
    "a block does not end": (JENKINSFILE[-2:], "\n"),
    "a string does not end": ("'make lint'", "'make lint"),
    "an unknown section": ("    options {", "    opinions {"),
    "no agent": ("agent { label 'debian' }", ""),
    "an agent that is none": ("agent { label 'debian' }", "agent some"),
    "a stage without steps": ("steps {\n                sh 'make lint'\n            }", ""),
    "empty steps": ("sh 'make lint'", ""),
    "a stage twice": ("stage('Test')", "stage('Lint')"),
    "a stage without a name": ("stage('Lint')", "stage('')"),
    "an unknown step": ("sh 'make lint'", "shell 'make lint'"),
    "an unknown condition": (
        "            post {\n                always {",
        "            post {\n                ever {",
    ),
    "an unknown when": ("branch 'main'", "twig 'main'"),
    "no such target": ("make wheel", "make whale"),
    "Groovy fills in the secret": ("sh '''", 'sh """$REGISTRY_PASSWORD"""\n sh \'\'\''),
    "a push from every branch": ("            when {\n                branch 'main'\n            }\n", ""),
    "an option that is none": ("timestamps()", "timestumps()"),
    "two pipelines": ("pipeline {", "pipeline { agent any }\npipeline {"),
}


class JenkinsfileTests(SynchronousTestCase):
    def problems(self, text: str) -> list[str]:
        return Checker(makefile_targets(ROOT / "Makefile")).check(text)

    def test_oursIsGood(self) -> None:
        self.assertEqual(self.problems(JENKINSFILE), [])

    def test_everyMistakeIsFound(self) -> None:
        for name, (good, bad) in MISTAKES.items():
            self.assertIn(good, JENKINSFILE, name)
            self.assertNotEqual(self.problems(JENKINSFILE.replace(good, bad, 1)), [], name)


class RepositoryTests(SynchronousTestCase):
    def test_aFolderOfAPersonIsFound(self) -> None:
        home = "/".join(["", "home", "ada", "src"])
        self.assertEqual([number for number, _ in found_in(f"fine\nsee {home}", (), ())], [2])

    def test_aFolderOfThisMachineIsFound(self) -> None:
        self.assertEqual(len(found_in("kept in /srv/here/x", (), ("/srv/here",))), 1)

    def test_whatOnlyLooksLikeIt(self) -> None:
        innocent = "https://example.org/home/ada, tests/home/x, /homework, a read-only root / and ~/jobs/x"
        self.assertEqual(found_in(innocent, (), ()), [])

    def test_aRegistryIsFound(self) -> None:
        hosts = registry_hosts(["global.index-url='https://user:word@packages.example.org:8080/simple'", ""])
        self.assertEqual(hosts, {"packages.example.org"})
        self.assertEqual(len(found_in("from packages.example.org/x", hosts, ())), 1)

    def test_aLoopbackIsNobodysRegistry(self) -> None:
        self.assertEqual(registry_hosts(["http://127.0.0.1:8080/simple https://localhost/x"]), set())
