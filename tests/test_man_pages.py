"""scripts/man_pages.py: each command has a manual page, and its examples can be typed."""

from __future__ import annotations

import argparse
import configparser
import shlex
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.tap import Options

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import man_pages  # noqa: E402


class PageTests(SynchronousTestCase):
    def test_each_console_script_has_a_page(self) -> None:
        packaged = configparser.ConfigParser(interpolation=None)
        packaged.read(ROOT / "setup.cfg")
        lines = packaged["options.entry_points"]["console_scripts"].split("\n")
        scripts = {line.partition("=")[0].strip() for line in lines if line}
        self.assertEqual({"hospproxy", *scripts}, set(man_pages.COMMANDS))
        installed = packaged["options.data_files"]["share/man/man1"].split()
        self.assertEqual(installed, [f"{man_pages.FOLDER}/{name}.1" for name in man_pages.COMMANDS])

    def test_the_pages_are_up_to_date(self) -> None:
        self.assertEqual(man_pages.main(["--check"]), 0)

    def test_examples_can_be_typed(self) -> None:
        parsers = man_pages.parsers()
        for name, notes in man_pages.NOTES.items():
            for _, example in notes.examples:
                _, _, arguments = example.partition(f"{name} ")
                if name != "hospproxy":
                    parsers[name].parse_args(shlex.split(arguments))
                for flag in (
                    word for word in shlex.split(arguments) if name == "hospproxy" and word[:1] == "-"
                ):
                    self.assertTrue(hasattr(Options, f"opt_{flag[2:]}") or flag in self.flags(), flag)

    def flags(self) -> set[str]:
        return {f"--{row[0]}" for row in (*Options.optParameters, *Options.optFlags)}

    def test_every_flag_and_every_subcommand_stands_in_it(self) -> None:
        parser = argparse.ArgumentParser(prog="thing", description="Does things. Well.")
        parser.add_argument("--far", metavar="KM", help="so far, 50%% of it")
        parser.add_argument("--hidden", help=argparse.SUPPRESS)
        within = parser.add_subparsers().add_parser("go", help="go there")
        within.add_argument("place", help=".where")
        notes = man_pages.Notes((("go home", "thing go home"),))
        text = man_pages.page("thing", parser, notes, "1.0")
        self.assertIn("thing \\- does things\n", text)
        self.assertIn(".B \\-\\-far KM\nso far, 50% of it\n", text)
        self.assertIn('.SS "thing go"\ngo there\n.PP\n.B thing go place\n', text)
        self.assertIn(".B place\n\\&.where\n", text)  # a line that begins with a dot would be a request
        self.assertNotIn("hidden", text)
