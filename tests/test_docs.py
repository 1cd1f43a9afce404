"""The documents are true: links resolve, commands exist, every dependency has its reason."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.http import errors
from hospproxy.service.chain import ORDER

ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_MAKE = re.compile(r"\bmake ([a-z][a-z-]*)(?=[\s`,.:;)]|$)", re.MULTILINE)


def pages() -> list[Path]:
    """Every document except news fragments."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    assert len(found) > 15
    return found


def links(page: Path) -> Iterator[str]:
    """The targets of a page's links, except in code."""
    prose = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text()))
    for match in _LINK.finditer(prose):
        yield match[1]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def requirements(text: str) -> set[str]:
    """The names in a list of requirements of setup.cfg."""
    return {re.split(r"[\s<>=~;\[]", line.strip())[0].lower() for line in text.splitlines() if line.strip()}


def table(heading: str, text: str) -> set[str]:
    """The first column of the table under a heading."""
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    return {row.strip().lower() for row in rows} - {"package", "---"}


class LinkTests(SynchronousTestCase):
    def test_links_resolve(self) -> None:
        broken = []
        for page in pages():
            for link in links(page):
                path, _, anchor = link.partition("#")
                if "://" in path or path.startswith("mailto:"):
                    continue
                target = (page.parent / path).resolve() if path else page
                if not target.exists() or (anchor and anchor not in anchors(target)):
                    broken.append(f"{page.relative_to(ROOT)}: {link}")
        self.assertEqual(broken, [])

    def test_every_page_can_be_reached(self) -> None:
        """A page without a link to it would not be found."""
        seen: set[Path] = set()
        ahead = [ROOT / "README.md"]
        while ahead:
            page = ahead.pop()
            if page in seen or page.suffix != ".md" or not page.exists():
                continue
            seen.add(page)
            paths = (link.partition("#")[0] for link in links(page) if "://" not in link)
            ahead += [(page.parent / path).resolve() for path in paths if path]
        self.assertEqual(set((ROOT / "docs").rglob("*.md")) - seen, set())

    def test_every_decision_is_listed(self) -> None:
        folder = ROOT / "docs" / "adr"
        listed = set(links(folder / "README.md"))
        self.assertEqual(listed, {page.name for page in folder.glob("[0-9]*.md")})


class FailureTests(SynchronousTestCase):
    def test_the_architecture_names_every_failure(self) -> None:
        page = (ROOT / "docs" / "architecture.md").read_text()
        section = page.partition("## The path of a failure\n")[2].partition("\n## ")[0]
        cells = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
        named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
        defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
        raised = {name for name in defined if issubclass(getattr(errors, name), Exception)}
        self.assertEqual(sorted(named), sorted(raised - {"ProxyError"}))


class CommandTests(SynchronousTestCase):
    def test_make_targets_exist(self) -> None:
        makefile = (ROOT / "Makefile").read_text()
        targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
        named = {}
        for page in pages():
            code = "\n".join(re.findall(r"`[^`\n]+`|^ {4,}\S.*$", page.read_text(), re.MULTILINE))
            for target in _MAKE.findall(code):
                named[target] = page.name
        self.assertIn("run", named)
        self.assertEqual({name: page for name, page in named.items() if name not in targets}, {})

    def test_the_tests_without_coverage_exist(self) -> None:
        makefile = (ROOT / "Makefile").read_text()
        lists = re.findall(r"^(?:LONG|UNMEASURED) := ((?:.*\\\n)*.*)$", makefile, re.MULTILINE)
        self.assertEqual(len(lists), 2)
        modules = " ".join(lists).replace("\\\n", " ").split()
        self.assertGreater(len(modules), 10)
        self.assertEqual(len(modules), len(set(modules)))
        paths = [ROOT / "tests" / name.replace(".", "/") for name in modules]
        self.assertEqual(
            [str(path) for path in paths if not (path.is_dir() or path.with_suffix(".py").is_file())], []
        )

    def test_every_target_says_what_it_is_for(self) -> None:
        makefile = (ROOT / "Makefile").read_text()
        public = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE)) - {"python", "environment"}
        self.assertEqual(public - set(re.findall(r"^([a-z][a-z-]*):.*## ", makefile, re.MULTILINE)), set())

    def test_files_that_are_named_exist(self) -> None:
        """Checks paths in backticks that begin with a folder of the repository."""
        begin = (
            "hospproxy|hosp_standin|tests|integration|benchmarks|scripts|docs|deploy|newsfragments|twisted"
        )
        missing = []
        for page in pages():
            for name in re.findall(rf"`((?:{begin})/[\w./-]*\w)`", page.read_text()):
                if not (ROOT / name).exists():
                    missing.append(f"{page.relative_to(ROOT)}: {name}")
        self.assertEqual(missing, [])


class ArchitectureTests(SynchronousTestCase):
    def test_the_processors_stand_in_their_order(self) -> None:
        text = (ROOT / "docs" / "architecture.md").read_text()
        listed = re.findall(r"^\| (\w+\.\w+) \| `([\w/]+\.py)`", text, re.MULTILINE)
        self.assertEqual(tuple(name for name, _ in listed), ORDER)
        for name, module in listed:
            self.assertTrue((ROOT / "hospproxy" / module).exists(), f"{name}: {module}")

    def test_the_drawing_of_failures_has_every_processor_in_order(self) -> None:
        section = (ROOT / "docs" / "architecture.md").read_text().partition("## The path of a failure\n")[2]
        drawing = section.partition("\n    client ")[2].partition("\n    HOSP ")[0]
        self.assertEqual(tuple(re.findall(r"^    (\w+\.\w+) ", drawing, re.MULTILINE)), ORDER)

    def test_the_drawing_names_every_module_beside_the_folders(self) -> None:
        drawing = (ROOT / "docs" / "architecture.md").read_text().partition("\n    hosp_standin/")[0]
        named = set(re.findall(r"^      (\w+\.py) ", drawing, re.MULTILINE))
        beside = {path.name for path in (ROOT / "hospproxy").glob("*.py")}
        self.assertEqual(named, beside - {"__init__.py"})

    def test_every_folder_is_named(self) -> None:
        text = (ROOT / "docs" / "architecture.md").read_text()
        folders = {path.parent.name for path in (ROOT / "hospproxy").glob("*/__init__.py")}
        self.assertEqual(folders - set(re.findall(r"^ +(\w+)/ ", text, re.MULTILINE)), set())


class ContractTests(SynchronousTestCase):
    def test_every_key_that_hosps_contract_uses_is_explained(self) -> None:
        document = yaml.safe_load((ROOT / "hospproxy" / "contract" / "hosp.openapi.yaml").read_text())
        page = (ROOT / "docs" / "contract.md").read_text()
        top = set(document["x-hospproxy"])
        keys: set[str] = set()
        for item in document["paths"].values():
            for operation in item.values():
                if isinstance(operation, dict):
                    keys |= set(operation.get("x-hospproxy", {}))
        explained = set(re.findall(r"`([\w-]+)`", page))
        self.assertEqual((top | keys) - explained, set())


class DependencyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.packaged = configparser.ConfigParser(interpolation=None)
        self.packaged.read(ROOT / "setup.cfg")
        self.page = (ROOT / "docs" / "dependencies.md").read_text()

    def test_each_has_areason(self) -> None:
        extras = self.packaged["options.extras_require"]
        for heading, listed in (
            ("To run", self.packaged["options"]["install_requires"]),
            ("To run, when asked for", extras["postgresql"] + extras["bucket"] + extras["zstd"]),
            ("To test", extras["test"]),
            ("To lint and build", extras["lint"] + extras["docs"]),
        ):
            self.assertEqual(table(heading, self.page), requirements(listed), heading)

    def test_what_runs_has_arange(self) -> None:
        """Upper bounds keep a new major version out until it was tested."""
        for line in self.packaged["options"]["install_requires"].split("\n"):
            if line.strip():
                self.assertRegex(line, r">= ?[\d.]+, ?< ?[\d.]+$")
