"""Known vulnerabilities are found without a network, and none is accepted for ever."""

from __future__ import annotations

import datetime
import json
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.version import Version
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import advisories  # noqa: E402

TODAY = datetime.date(2026, 11, 24)
HOLE = {
    "id": "PYSEC-2026-1",
    "aliases": ["CVE-2026-1"],
    "events": [{"introduced": "2.0"}, {"fixed": "2.0.7"}, {"introduced": "0"}, {"fixed": "1.26.18"}],
    "versions": [],
}


def snapshot(**more: Any) -> dict[str, Any]:
    return {"as_of": "2026-11-20", "packages": {"urllib3": [HOLE], "twisted": []}, **more}


def accepting(
    until: object, id: str = "CVE-2026-1", package: str = "urllib3", reason: str = "not used"
) -> str:
    return f'[[accepted]]\nid = "{id}"\npackage = "{package}"\nreason = "{reason}"\nuntil = {until}\n'


def check(version: str, accepted: str = "", **more: Any) -> advisories.Report:
    return advisories.check({"requirements.lock": {"urllib3": version}}, snapshot(**more), accepted, TODAY)


class CoverageTests(SynchronousTestCase):
    def test_age_and_gaps_are_told_before_any_verdict(self) -> None:
        places = {"requirements.lock": {"urllib3": "2.8.0", "treq": "1.0"}, "this environment": {"ruff": "1"}}
        self.assertEqual(
            advisories.coverage(places, snapshot(), TODAY),
            "security/advisories.json is of 2026-11-20, 4 days old: 1 vulnerabilities of 1 of the 2 packages that"
            " we ship",
        )


class AffectedTests(SynchronousTestCase):
    def test_in_and_out_of_ranges(self) -> None:
        for version, hit in {
            "1.26.17": True,
            "1.26.18": False,
            "1.26.19": False,
            "2.0.0": True,
            "2.0.7rc1": True,
            "2.0.7": False,
            "0.1": True,
            "2.8.0": False,
        }.items():
            self.assertIs(advisories.affects(HOLE, version), hit, version)

    def test_the_last_affected_one_is(self) -> None:
        advisory = {"events": [{"introduced": "1"}, {"last_affected": "1.5"}]}
        self.assertEqual(
            [advisories.affects(advisory, each) for each in ("0.9", "1", "1.5", "1.5.1")],
            [False, True, True, False],
        )

    def test_named_versions(self) -> None:
        self.assertTrue(advisories.affects({"events": [], "versions": ["3.1"]}, "3.1"))
        self.assertFalse(advisories.affects({"events": [], "versions": ["3.1"]}, "3.10"))

    def test_what_is_no_version_is_not_taken_for_safe(self) -> None:
        self.assertTrue(advisories.affects(HOLE, "unknown-build"))

    @given(
        st.tuples(*[st.integers(0, 30)] * 3),
        st.tuples(*[st.integers(0, 30)] * 3),
        st.tuples(*[st.integers(0, 30)] * 3),
    )
    def test_one_range(self, first: tuple[int, ...], fixed: tuple[int, ...], asked: tuple[int, ...]) -> None:
        first, fixed = sorted([first, fixed])
        low, high, version = (".".join(map(str, each)) for each in (first, fixed, asked))
        advisory = {"events": [{"introduced": low}, {"fixed": high}]}
        within = Version(low) <= Version(version) < Version(high)
        self.assertIs(advisories.affects(advisory, version), within)


class CheckTests(SynchronousTestCase):
    def test_a_vulnerable_version_is_found_wherever_it_stands(self) -> None:
        places = {"requirements.lock": {"urllib3": "2.8.0"}, "this environment": {"urllib3": "2.0.6"}}
        (failure,) = advisories.check(places, snapshot(), "", TODAY).failures
        for part in ("this environment", "urllib3 2.0.6", "CVE-2026-1", "2.0.7"):
            self.assertIn(part, failure)

    def test_a_good_one_passes(self) -> None:
        self.assertEqual(check("2.0.7"), advisories.Report())

    def test_accepted_until_its_last_day(self) -> None:
        self.assertEqual(check("2.0.6", accepting(TODAY)), advisories.Report())
        for name in ("PYSEC-2026-1", "CVE-2026-1"):
            self.assertEqual(check("2.0.6", accepting("2026-12-24", id=name)).failures, [])

    def test_an_acceptance_that_is_over_fails(self) -> None:
        report = check("2.0.6", accepting("2026-11-23"))
        self.assertEqual(len(report.failures), 2)
        self.assertIn("accepted until 2026-11-23", report.failures[0])
        # An entry of the file is checked even if no package has that vulnerability any more.
        self.assertEqual(len(check("2.0.7", accepting("2026-11-23")).failures), 1)

    def test_an_acceptance_is_for_one_hole_in_one_package(self) -> None:
        for other in (accepting(TODAY, package="twisted"), accepting(TODAY, id="CVE-2026-2")):
            report = check("2.0.6", other)
            self.assertEqual(len(report.failures), 1)
            self.assertEqual(len(report.warnings), 1)

    def test_an_acceptance_has_areason_and_aday_that_is_not_far_off(self) -> None:
        self.assertEqual(len(check("2.8.0", accepting(TODAY, reason="")).failures), 1)
        self.assertEqual(len(check("2.8.0", accepting('"soon"')).failures), 1)
        self.assertEqual(len(check("2.8.0", '[[accepted]]\nid = "CVE-2026-1"\n').failures), 1)
        self.assertEqual(check("2.0.6", accepting("2027-05-23")).failures, [])
        self.assertEqual(len(check("2.0.6", accepting("2027-05-24")).failures), 2)

    def test_an_old_snapshot_is_warned_of(self) -> None:
        self.assertEqual(check("2.8.0", as_of="2026-10-25").warnings, [])
        self.assertIn("31 days old", check("2.8.0", as_of="2026-10-24").warnings[0])
        self.assertIn("only a part", check("2.8.0", partial=True).warnings[0])

    def test_what_the_snapshot_does_not_know_is_warned_of(self) -> None:
        places = {"requirements.lock": {"treq": "26.7.0"}, "this environment": {"pytest": "9.2.0"}}
        self.assertEqual(
            advisories.check(places, snapshot(), "", TODAY).warnings,
            ["nothing is known of 1 packages: treq"],
        )


RECORD: dict[str, Any] = {
    "id": "PYSEC-2026-9",
    "aliases": ["GHSA-x", "CVE-2026-9"],
    "details": "prose",
    "affected": [
        {"package": {"ecosystem": "npm", "name": "zope-interface"}, "versions": ["1"]},
        {
            "package": {"ecosystem": "PyPI", "name": "Zope.Interface"},
            "ranges": [
                {"type": "GIT", "events": [{"introduced": "0"}]},
                {"type": "ECOSYSTEM", "events": [{"introduced": "1"}, {"fixed": "2"}]},
            ],
            "versions": ["1", "1.5"],
        },
    ],
}


class UpdateTests(SynchronousTestCase):
    def test_facts_are_kept_and_no_prose(self) -> None:
        made = advisories.made(
            ["zope-interface", "treq"], {"zope-interface": [RECORD], "treq": []}.__getitem__, TODAY
        )
        kept = {
            "id": "PYSEC-2026-9",
            "aliases": ["CVE-2026-9", "GHSA-x"],
            "events": [{"introduced": "1"}, {"fixed": "2"}],
            "versions": [],
        }
        self.assertEqual(made, {"as_of": "2026-11-24", "packages": {"treq": [], "zope-interface": [kept]}})

    def test_what_is_withdrawn_or_about_another_is_not(self) -> None:
        self.assertIsNone(
            advisories.reduced({**RECORD, "withdrawn": "2026-11-01T00:00:00Z"}, "zope-interface")
        )
        self.assertIsNone(advisories.reduced(RECORD, "treq"))

    def test_a_folder_of_files(self) -> None:
        for name, suffix in (("zope.interface", "json"), ("treq", "yaml")):
            folder = Path(self.mktemp()) / name
            folder.mkdir(parents=True)
            (folder / f"PYSEC-2026-9.{suffix}").write_text(json.dumps(RECORD))
            (folder / "README.md").write_text("about")
            self.assertEqual(advisories.from_folder(folder.parent, name.replace(".", "-")), [RECORD])


class RepositoryTests(SynchronousTestCase):
    def test_the_lock_names_what_setup_allows(self) -> None:
        packaged = ConfigParser(interpolation=None)
        packaged.read(ROOT / "setup.cfg")
        always = packaged["options"]["install_requires"]
        extras = packaged["options.extras_require"]
        for file, wanted in (
            ("requirements.lock", always),
            ("requirements-all.lock", always + extras["postgresql"] + extras["bucket"] + extras["zstd"]),
        ):
            versions = advisories.locked((ROOT / file).read_text())
            for line in filter(None, wanted.splitlines()):
                one = Requirement(line)
                name = advisories.canonicalize_name(one.name)
                self.assertIn(name, versions, file)
                self.assertIn(versions[name], one.specifier, f"{file}: {name}; make lock")

    def test_every_locked_file_has_its_hash(self) -> None:
        for file in advisories.LOCKS:
            entries = (ROOT / file).read_text().replace("\\\n", " ").splitlines()
            self.assertGreater(len(entries), 20)
            for entry in entries:
                self.assertRegex(entry, r"^[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}")

    def test_both_locks_agree(self) -> None:
        image, everything = (advisories.locked((ROOT / name).read_text()) for name in advisories.LOCKS)
        self.assertEqual({name: everything.get(name) for name in image}, image)

    def test_the_snapshot_and_the_list_can_be_read(self) -> None:
        kept = json.loads((ROOT / "security/advisories.json").read_text())
        datetime.date.fromisoformat(kept["as_of"])
        found = {
            package
            for package, listed in kept["packages"].items()
            for one in listed
            if advisories.affects(one, "0.5")
        }
        self.assertIn("twisted", found)
        tomllib.loads((ROOT / "security/accepted.toml").read_text())
