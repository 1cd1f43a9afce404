"""Build the documentation site from the Markdown pages of the repository: ``python scripts/build_docs.py FOLDER``.

The pages are written for a forge: they link to files of the repository, which the site does not hold. So the pages are
copied to a folder beside the site, such links become the path of the file in plain text, and Sphinx builds the copies.
A dead link, a page that no list of contents names and any other warning fail the build.
"""

from __future__ import annotations

import argparse
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = "docs/site"
"""Settings of Sphinx, the list of contents, and pages that only the site has."""
BESIDE = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "benchmarks/README.md",
    "simulation/README.md",
)
"""Pages outside docs/ that the site has too."""
PLUGINS = ("IAuditWriterMaker", "IAuditWriter", "IAuditFileWriter")
"""The interfaces that a plugin implements, of hospproxy.interfaces."""
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def pages(root: Path) -> list[str]:
    """Paths of the Markdown pages that the site shows, relative to the repository."""
    inside = [path.relative_to(root).as_posix() for path in sorted((root / "docs").rglob("*.md"))]
    return [*inside, *BESIDE]


def adapted(text: str, folder: Path, known: Callable[[Path], bool]) -> str:
    """Replace links to files that the site does not hold by the path of the file.

    :param text: of a Markdown page.
    :param folder: of the page, relative to the repository.
    :param known: whether the site holds a file; gets a path relative to the repository.
    """

    def replace(link: re.Match[str]) -> str:
        picture, words, target = link.groups()
        path = target.partition("#")[0]
        if picture or not path or "://" in path or path.startswith("mailto:"):
            return link[0]
        whole = Path(os.path.normpath(folder / path))
        if known(whole):
            return link[0]
        named = f"`{whole.as_posix()}`"
        return words if whole.as_posix() in words or whole.name in words else f"{words} ({named})"

    return _LINK.sub(replace, text)


def interface_page(interfaces: Sequence[Any]) -> str:
    """Describe zope interfaces as reStructuredText: name, purpose, methods and attributes with their docstrings."""
    lines = ["Interfaces for plugins", "======================", ""]
    lines += ["For the way to write and install a plugin, see :doc:`/docs/writers`.", ""]
    for interface in interfaces:
        lines += [f".. py:class:: hospproxy.interfaces.{interface.__name__}", ""]
        lines += _indented(interface.__doc__, 1)
        for name, description in interface.namesAndDescriptions():
            signature = getattr(description, "getSignatureString", lambda: "")()
            lines += [f"   .. py:{'method' if signature else 'attribute'}:: {name}{signature}", ""]
            lines += _indented(description.getDoc(), 2)
    return "\n".join(lines)


def _indented(doc: str | None, depth: int) -> list[str]:
    return [*(f"{'   ' * depth}{line}".rstrip() for line in inspect.cleandoc(doc or "").splitlines()), ""]


def prepare(root: Path, folder: Path) -> None:
    """Copy settings, pages and pictures into a folder, as Sphinx needs them."""
    shutil.rmtree(folder, ignore_errors=True)
    names = pages(root)
    held = {Path(name) for name in names}
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(adapted((root / name).read_text(), Path(name).parent, held.__contains__))
    for picture in (*root.glob("docs/*.svg"), *root.glob("docs/*.png")):
        shutil.copy(picture, folder / picture.relative_to(root))
    for name in ("conf.py", "index.rst"):
        shutil.copy(root / SETTINGS / name, folder / name)
    from hospproxy import interfaces

    (folder / "docs/plugins.rst").write_text(interface_page([getattr(interfaces, name) for name in PLUGINS]))


def main() -> int:
    """Build the site, and return the exit status of Sphinx."""
    parser = argparse.ArgumentParser(description="Build the documentation site.")
    parser.add_argument("folder", type=Path, help="of the site; its content is replaced")
    site = parser.parse_args().folder
    source = site.with_name(site.name + "-source")
    prepare(ROOT, source)
    shutil.rmtree(site, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-n",
        "-q",
        "-b",
        "html",
        str(source),
        str(site),
    ]
    status = subprocess.run(command, env={**os.environ, "HOSPPROXY_ROOT": str(ROOT)}, check=False).returncode
    if not status:
        print(f"» {site / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
