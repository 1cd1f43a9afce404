"""Packages can be installed: the wheel in an empty environment, and the working copy as editable."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
_KEPT = (
    "pyproject.toml",
    "setup.cfg",
    "README.md",
    "LICENSE",
    "hospproxy",
    "hospproxy_plugins",
    "hosp_standin",
    "simulation",
    "twisted",
    "deploy/man",
)


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without the environment of the tests, as a new user would; return its output."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "COVERAGE", "VIRTUAL"))
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=kept,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def pip(bin_folder: Path, *arguments: str | Path, cwd: Path) -> str:
    """Run the pip of the test environment for another one."""
    return run(sys.executable, "-m", "pip", "--python", bin_folder / "python", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the packaged files, so that no build leaves files in the working copy."""
    folder = tmp_path_factory.mktemp("sources")
    leave = shutil.ignore_patterns("__pycache__", "dropin.cache")
    for name in _KEPT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=leave)
        else:
            shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, ".", cwd=sources)
    [built] = folder.glob("hospproxy-*.whl")
    return built


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an empty virtual environment; return the environment's folder of commands.

    Without compiling all dependencies, of which the tests run few: that would take longer than all else here.
    """
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    pip(folder / "bin", "install", "--quiet", "--no-compile", wheel, cwd=folder)
    return folder / "bin"


def plugins(help_text: str) -> set[str]:
    """The commands that ``twistd --help`` lists."""
    lines = help_text.partition("Commands:")[2].splitlines()
    return {line.split()[0] for line in lines if line.startswith("    ") and line.strip() and line[4] != " "}


def test_the_wheel_holds_everything_and_nothing_else(wheel: Path) -> None:
    """setup.cfg lists packages by name: one that is forgotten there is missing only from the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    own = [
        ROOT / name for name in ("hospproxy", "hospproxy_plugins", "hosp_standin", "simulation", "twisted")
    ]
    kinds = {".py", ".yaml", ".json", ".typed", ".html", ".css", ".js", ".lua"}
    every = [path for folder in own for path in folder.rglob("*")]
    files = {path for path in every if path.suffix in kinds or path.name == "LICENSE"}
    assert {name for name in held if ".data/" not in name} == {str(path.relative_to(ROOT)) for path in files}
    pages = {path.name for path in (ROOT / "deploy" / "man").iterdir()}
    assert {Path(name).name for name in held if ".data/data/share/man/man1/" in name} == pages


def test_the_wheel_works_in_an_empty_environment(bin_folder: Path, tmp_path: Path) -> None:
    assert {"hospproxy", "hosp-standin"} <= plugins(run(bin_folder / "twistd", "--help", cwd=tmp_path))
    started: list[str | Path] = [
        bin_folder / "twistd",
        "-n",
        "--pidfile=",
        "hospproxy",
        "--upstream",
        "http://127.0.0.1:3000",
    ]
    said = run(*started, "--state", tmp_path / "state", "--check", cwd=tmp_path)
    assert "options are good" in said
    assert "No broken requirements" in pip(bin_folder, "check", cwd=tmp_path)


def test_an_editable_install_works(bin_folder: Path, sources: Path, tmp_path: Path) -> None:
    pip(bin_folder, "uninstall", "--quiet", "--yes", "hospproxy", cwd=tmp_path)
    pip(bin_folder, "install", "--quiet", "--no-compile", "--editable", sources, cwd=tmp_path)
    assert {"hospproxy", "hosp-standin"} <= plugins(run(bin_folder / "twistd", "--help", cwd=tmp_path))
    where = run(bin_folder / "python", "-c", "import hospproxy; print(hospproxy.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(sources)
