"""The checkers of make lint find the problems that they are made for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import environment  # noqa: E402
from check_jenkinsfile import Checker, makefile_targets  # noqa: E402
from check_repository import (  # noqa: E402
    found_in,
    guides,
    odd_names,
    registry_hosts,
    short_first_lines,
    tracked,
)
from environment import uv_requirement, uv_variables  # noqa: E402
from repeat_tests import failures, run_once  # noqa: E402

JENKINSFILE = (ROOT / "Jenkinsfile").read_text()

MISTAKES = {
    "a bracket is missing": ("    stages {\n", "    stages \n"),
    "a block does not end": (JENKINSFILE[-2:], "\n"),
    "a string does not end": ("'make lint'", "'make lint"),
    "an unknown section": ("    options {", "    opinions {"),
    "no agent": ("agent { label 'debian' }", ""),
    "an agent that is none": ("agent { label 'debian' }", "agent some"),
    "a stage without steps": ("steps {\n                sh 'make lint'\n            }", ""),
    "an approval without a text": ("                message 'Roll the new version out to production?'\n", ""),
    "an approval of every build": ("                beforeInput true\n", ""),
    "an unknown kind of parameter": ("        choice(name: 'ACTION'", "        choose(name: 'ACTION'"),
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
    "a push from every branch": (
        "            when {\n                branch 'main'\n"
        "                expression { params.ACTION != 'ROLLBACK' }\n            }\n",
        "",
    ),
    "an option that is none": ("timestamps()", "timestumps()"),
    "two pipelines": ("pipeline {", "pipeline { agent any }\npipeline {"),
}


class JenkinsfileTests(SynchronousTestCase):
    def problems(self, text: str) -> list[str]:
        return Checker(makefile_targets(ROOT / "Makefile")).check(text)

    def test_ours_is_good(self) -> None:
        self.assertEqual(self.problems(JENKINSFILE), [])

    def test_every_mistake_is_found(self) -> None:
        for name, (good, bad) in MISTAKES.items():
            self.assertIn(good, JENKINSFILE, name)
            self.assertNotEqual(self.problems(JENKINSFILE.replace(good, bad, 1)), [], name)


class RepositoryTests(SynchronousTestCase):
    def test_a_folder_of_aperson_is_found(self) -> None:
        home = "/".join(["", "home", "ada", "src"])
        self.assertEqual([number for number, _ in found_in(f"fine\nsee {home}", (), ())], [2])

    def test_a_folder_of_this_machine_is_found(self) -> None:
        self.assertEqual(len(found_in("kept in /srv/here/x", (), ("/srv/here",))), 1)

    def test_what_only_looks_like_it(self) -> None:
        innocent = "https://example.org/home/ada, tests/home/x, /homework, a read-only root / and ~/jobs/x"
        self.assertEqual(found_in(innocent, (), ()), [])

    def test_a_registry_is_found(self) -> None:
        hosts = registry_hosts(["global.index-url='https://user:word@packages.example.org:8080/simple'", ""])
        self.assertEqual(hosts, {"packages.example.org"})
        self.assertEqual(len(found_in("from packages.example.org/x", hosts, ())), 1)

    def test_a_loopback_is_nobodys_registry(self) -> None:
        self.assertEqual(registry_hosts(["http://127.0.0.1:8080/simple https://localhost/x"]), set())

    def test_a_name_that_is_no_text_is_told_and_stops_nothing(self) -> None:
        root = Path(self.mktemp()).absolute()
        root.mkdir()
        odd = os.fsdecode(b"\xbd-shm")
        for name in ("naïve.py", odd):
            (root / name).touch()
        for command in (["init", "-q"], ["add", "-A"]):
            subprocess.run(["git", *command], cwd=root, check=True)
        names = [path.name for path in tracked(root)]
        self.assertEqual(sorted(names), sorted(["naïve.py", odd]))
        self.assertEqual(odd_names(names), ["'\\udcbd-shm': a name that cannot be printed"])


class GuideTests(SynchronousTestCase):
    """scripts/check_repository.py compares the guide of each folder with what is in it."""

    def guides(self, guide: str) -> list[str]:
        root = Path(self.mktemp()).absolute()
        folder = root / "hospproxy" / "guard"
        (folder / "rules").mkdir(parents=True)
        for name in ("hospproxy/__init__.py", "hospproxy/guard/rules/__init__.py"):
            (root / name).write_text('"""``guard/``, ``rules/``"""')
        for name in ("who.py", "one_section.py"):
            (folder / name).touch()
        (folder / "__init__.py").write_text(f'"""{guide}"""')
        return [each.removeprefix("hospproxy/guard/__init__.py: its guide ") for each in guides(root)]

    def test_a_whole_guide(self) -> None:
        self.assertEqual(
            self.guides("``who.py``, `*_section.py`, ``rules/``; ``hospproxy/guard/who.py``"), []
        )

    def test_what_it_leaves_out_and_what_is_gone(self) -> None:
        self.assertEqual(
            self.guides("``who.py``: uses ``writers/`` and ``keeping.py``"),
            [
                "does not name one_section.py",
                "does not name rules/",
                "names keeping.py, which does not exist",
                "names writers/, which does not exist",
            ],
        )


class ReasonTests(SynchronousTestCase):
    """scripts/environment.py says what it installs, and why."""

    def test_every_package_of_the_makefile_has_a_reason(self) -> None:
        named = re.findall(r"--need '?([^ '\n]+)", (ROOT / "Makefile").read_text())
        needed = {each.rpartition("=")[2] for words in named for each in words.split(",")}
        self.assertIn("redis-server", needed)
        self.assertEqual(needed - set(environment.WHY), set())


class FirstLineTests(SynchronousTestCase):
    """scripts/check_repository.py reports docstrings that cannot say more than the signature."""

    def test_only_short_ones(self) -> None:
        root = Path(self.mktemp()).absolute()
        (root / "hospproxy").mkdir(parents=True)
        (root / "hospproxy" / "one.py").write_text(
            '"""Reads the head of a response."""\n\ndef head():\n    """The head."""\n\ndef tail(): ...\n'
        )
        self.assertEqual(
            short_first_lines(root), ["hospproxy/one.py:4: The head. (fewer than 28 characters)"]
        )


class RepeatTests(SynchronousTestCase):
    """scripts/repeat_tests.py counts what trial prints."""

    def run_once(self, source: str) -> list[str]:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        module = folder / "test_made_up.py"
        module.write_text(f"from twisted.trial.unittest import TestCase\nclass T(TestCase):\n    {source}\n")
        return run_once(Path(sys.executable), [str(module)], 0, folder / "run")

    def test_a_run_that_passes(self) -> None:
        self.assertEqual(self.run_once("def test_it(self): pass"), [])

    def test_a_run_without_a_test_is_no_success(self) -> None:
        self.assertEqual(self.run_once("pass"), ["no result, exit status 0"])

    def test_a_process_that_dies_is_a_failure(self) -> None:
        self.assertEqual(self.run_once("import os; os._exit(3)"), ["no result, exit status 3"])

    def test_each_failure_is_named_with_its_error(self) -> None:
        output = """
===============================================================================
[ERROR]
Traceback (most recent call last):
  File "x.py", line 1, in test_it
    clock.advance(1)
builtins.ValueError: list modified during sort

tests.memory.test_credentials.CredentialsTests.test_it
===============================================================================
[FAIL]
Traceback (most recent call last):
  File "x.py", line 2, in test_other
    self.fail()
twisted.trial.unittest.FailTest: None

tests.test_x.Tests.test_other
-------------------------------------------------------------------------------
Ran 2 tests in 0.001s
"""
        self.assertEqual(
            failures(output),
            [
                "tests.memory.test_credentials.CredentialsTests.test_it: "
                "builtins.ValueError: list modified during sort",
                "tests.test_x.Tests.test_other: twisted.trial.unittest.FailTest: None",
            ],
        )


class EnvironmentTests(SynchronousTestCase):
    """uv installs in place of pip, so it has to find the same packages in the same places."""

    def test_the_stronger_setting_of_pip_counts(self) -> None:
        settings = r"""
:env:.find-links='/wheels'
:env:.timeout='180'
global.cert='/etc/ssl/all.crt'
global.find-links='/other'
global.constraint='/etc/one.txt\n/etc/two.txt'
global.index-url='https://mirror.example/simple'
install.index-url='https://inner.example/simple'
freeze.exclude='pip'
"""
        wanted = {
            "UV_FIND_LINKS": "/wheels",
            "SSL_CERT_FILE": "/etc/ssl/all.crt",
            "UV_CONSTRAINT": "/etc/one.txt /etc/two.txt",
            "UV_DEFAULT_INDEX": "https://inner.example/simple",
        }
        self.assertEqual(uv_variables(settings), wanted)

    def test_no_settings(self) -> None:
        self.assertEqual(uv_variables(""), {})

    def test_what_uv_cannot_be_told_is_left_to_pip(self) -> None:
        for line in (
            "global.proxy='inner.example:3128'",
            "install.only-binary=':all:'",
            ":env:.client-cert='/own'",
        ):
            self.assertIsNone(uv_variables(f"global.timeout='60'\n{line}\n"), line)

    def test_it_is_the_uv_that_make_lock_uses(self) -> None:
        self.assertRegex(uv_requirement((ROOT / "setup.cfg").read_text()), r"^uv >= [\d.]+, < [\d.]+$")
