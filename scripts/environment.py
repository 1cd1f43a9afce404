"""Create the virtual environment for all other commands, on a machine that has little more than Python.

    python3 scripts/environment.py [--venv FOLDER] [--extras test,lint] [--need node=nodejs,npm] [--npm FOLDER …]

It uses only the standard library, and does not reinstall what is already there.
"""

from __future__ import annotations

import argparse
import ast
import configparser
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
_DESCRIBED_IN = ("setup.cfg", "pyproject.toml")
_UV_EXTRA = "lint"
"""The extra of setup.cfg that has uv in it."""
_UV_NAMES = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "constraint": ("UV_CONSTRAINT", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "no-index": ("UV_NO_INDEX", " "),
    "cert": ("SSL_CERT_FILE", " "),
}
"""Setting of pip → uv's variable for the same, and what stands between its values."""
_NO_SOURCE = frozenset(
    {
        "cache-dir",
        "default-timeout",
        "disable-pip-version-check",
        "progress-bar",
        "quiet",
        "root-user-action",
        "timeout",
    }
)
"""Settings of pip that uv may ignore: they do not change where packages come from, or which."""
_dpkg = threading.Lock()
"""apt-get fails while another one runs."""

WHY = {
    "chromium": "opens the status page and the audit page in tests",
    "curl": "sends the requests of the documentation",
    "docker.io": "builds the container image",
    "git": "lists the files of the repository for linters",
    "goaccess": "counts the same log as hospproxy-report",
    "haproxy": "stands in front of the proxy in tests, as a balancer",
    "kustomize": "builds deploy/kubernetes for linters and tests",
    "nginx": "is measured beside the proxy",
    "nodejs": "runs JavaScript clients in tests",
    "npm": "installs the packages of those clients",
    "postgresql": "holds the index of the audit trail in tests",
    "promtool": "checks the rules in deploy/prometheus",
    "python3-venv": "makes virtual environments",
    "redis-server": "is shared by workers and machines in tests",
    "rsyslog": "receives audit records in tests",
    "rsyslog-gnutls": "lets rsyslog receive them with TLS",
    "ruby": "runs an example for clients in tests",
    "slowhttptest": "sends slow requests in tests",
    "systemd": "checks the units in deploy/systemd",
    "testssl.sh": "scans the TLS of the proxy in tests",
    "valgrind": "counts instructions",
    "varnish": "is measured beside the proxy",
    "wrk": "sends load",
}
"""What each Debian package is for."""


class CannotPrepare(Exception):
    """Something is missing that this script cannot install; the message says what to do."""


def prepare(venv: Path, extras: Sequence[str] = ()) -> Path:
    """Create `venv` if needed, install the project into it (editable), and return its Python.

    :param extras: extras of setup.cfg to install.
    :raise CannotPrepare: with a message for the person who typed the command.
    """
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:3]))
        raise CannotPrepare(f"Python 3.11 or newer is needed; {sys.executable} is {found}.")
    python = venv / "bin" / "python"
    if not _works(python):
        _make(venv)
    installed = venv / ".installed"
    lines = installed.read_text().splitlines() if installed.exists() else []
    wanted = _fingerprint()
    have = set(lines[1:]) if lines and lines[0] == wanted else None
    if have is None or not set(extras) <= have:
        every = sorted(set(extras) | (have or set()))
        _install(python, every)
        installed.write_text("\n".join([wanted, *every]) + "\n")
    return python


def need(commands: dict[str, str]) -> None:
    """Install Debian packages for missing commands.

    :param commands: command → package. A path (with a slash) stands for a file that need not be a command, or is one
        outside users' PATH; ``*`` in it stands for any name.
    :raise CannotPrepare: the packages cannot be installed from here.
    """
    missing = {command: package for command, package in commands.items() if not _is_here(command)}
    if missing:
        install_packages(sorted(set(missing.values())), f"{', '.join(sorted(missing))} not found")


def _is_here(command: str) -> bool:
    return bool(glob.glob(command)) if "/" in command else shutil.which(command) is not None


def install_packages(packages: Sequence[str], why: str) -> None:
    """Run apt-get install, as root.

    :param why: what is missing, for the error message.
    :raise CannotPrepare: not root, no apt-get, or it failed.
    """
    by_hand = f"{why}. Install it: apt-get install {' '.join(packages)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise CannotPrepare(by_hand)
    say(f"{why}: installing from Debian")
    for package in packages:
        print(f"    {package}: {WHY.get(package, 'no reason is written down')}", flush=True)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    with _dpkg:
        for command in (["apt-get", "update", "-qq"], install):
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise CannotPrepare(by_hand)


def npm(folder: Path) -> None:
    """Install the packages of the lock file in `folder`, if they are missing.

    :raise CannotPrepare: npm failed.
    """
    lock, installed = folder / "package-lock.json", folder / "node_modules" / ".installed"
    if installed.exists() and installed.read_bytes() == lock.read_bytes():
        return
    say(f"installing what {_short(lock)} names into {_short(folder)}: JavaScript clients for tests")
    command = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
    if subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=False).returncode:
        raise CannotPrepare("npm could not install; what it says stands above.")
    installed.write_bytes(lock.read_bytes())


def need_and_npm(commands: dict[str, str], folders: Sequence[Path]) -> None:
    """Install Debian packages, then those of npm in each folder.

    :raise CannotPrepare: one of them cannot be installed.
    """
    need(commands)
    with ThreadPoolExecutor() as threads:
        for job in [threads.submit(npm, folder) for folder in folders]:
            job.result()


def say(words: str) -> None:
    """Print progress."""
    print(f"» {words}", flush=True)


def _make(venv: Path) -> None:
    say(f"making a virtual environment in {_short(venv)}")
    shutil.rmtree(venv, ignore_errors=True)
    if _has("ensurepip") and _quiet(sys.executable, "-m", "venv", str(venv)):
        return
    # Debian has ensurepip in a separate package; an installed pip can fill an environment without it.
    shutil.rmtree(venv, ignore_errors=True)
    if _has("pip") and _quiet(sys.executable, "-m", "venv", "--without-pip", str(venv)):
        install = (sys.executable, "-m", "pip", "--python", str(venv), "install", "--quiet", "pip")
        if _quiet(*install):
            return
    shutil.rmtree(venv, ignore_errors=True)
    install_packages(["python3-venv"], "Python cannot make virtual environments")
    if not _quiet(sys.executable, "-m", "venv", str(venv)):
        raise CannotPrepare(
            f"{sys.executable} -m venv {venv} fails. Is python3-venv installed for this Python?"
        )


def _install(python: Path, extras: Sequence[str]) -> None:
    what = f".[{','.join(extras)}]" if extras else "."
    say(
        f"installing hospproxy, what it needs to run, and what setup.cfg lists for {' and '.join(extras) or 'that'}"
    )
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # pip needs two minutes of processor time for 150 packages, uv ten seconds, for the same versions.
    if _UV_EXTRA in extras and _install_with_uv(python, pip, what):
        return
    if subprocess.run([*pip, "--editable", what], cwd=ROOT, check=False).returncode:
        raise CannotPrepare("pip could not install the project; what it says stands above.")


def _install_with_uv(python: Path, pip: Sequence[str], what: str) -> bool:
    """Return False where uv cannot be had, fails, or would look for packages elsewhere than pip."""
    settings = subprocess.run(
        [*pip[:3], "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    variables = uv_variables(settings)
    if variables is None or not _quiet(*pip, uv_requirement((ROOT / "setup.cfg").read_text())):
        return False
    uv = [str(python.with_name("uv")), "pip", "install", "--quiet", "--python", str(python)]
    environment = {**variables, **os.environ}
    return not subprocess.run([*uv, "--editable", what], cwd=ROOT, env=environment, check=False).returncode


def uv_requirement(setup: str) -> str:
    """Find uv, with its range of versions, in the text of setup.cfg."""
    read = configparser.ConfigParser()
    read.read_string(setup)
    lines = read["options.extras_require"][_UV_EXTRA].splitlines()
    return next(line for line in lines if line.split()[:1] == ["uv"])


def uv_variables(settings: str) -> Mapping[str, str] | None:
    """Translate pip's settings to uv, which reads none of pip's files and variables.

    :param settings: what ``pip config list`` prints.
    :return: variables for uv's environment; None if there is a setting that uv has no like of.
    """
    found: dict[str, str] = {}
    # A section for one of pip's commands is stronger than global, and a variable is stronger than both.
    for section in ("global.", "install.", ":env:."):
        for line in settings.splitlines():
            name, _, value = line.removeprefix(section).partition("=")
            if not line.startswith(section) or name in _NO_SOURCE:
                continue
            if name not in _UV_NAMES:
                return None
            variable, between = _UV_NAMES[name]
            found[variable] = between.join(str(ast.literal_eval(value)).split())
    return found


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for name in _DESCRIBED_IN:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def _works(python: Path) -> bool:
    if not python.exists():
        return False
    check = f"import sys, pip; sys.exit(sys.version_info < {OLDEST})"
    return _quiet(str(python), "-c", check)


def _has(module: str) -> bool:
    return _quiet(sys.executable, "-c", f"import {module}")


def _quiet(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _short(path: Path) -> str:
    return os.path.relpath(path)


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the virtual environment.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    parser.add_argument("--extras", default="", help="of setup.cfg, joined by commas")
    parser.add_argument(
        "--need",
        action="append",
        default=[],
        help="each COMMAND, COMMAND=DEBIAN-PACKAGE or /PATH/WITH/*=DEBIAN-PACKAGE, by commas; may be given again",
    )
    parser.add_argument(
        "--npm",
        type=Path,
        action="append",
        default=[],
        help="a folder with a package-lock.json; may be given again",
    )
    options = parser.parse_args()
    try:
        pairs = [each.partition("=") for each in ",".join(options.need).split(",") if each]
        needed = {command: package or command for command, _, package in pairs}
        extras = [each for each in options.extras.split(",") if each]
        # Each mostly waits for other servers. npm itself may be one of the Debian packages.
        with ThreadPoolExecutor() as threads:
            jobs: list[Future[object]] = [
                threads.submit(prepare, options.venv.absolute(), extras),
                threads.submit(need_and_npm, needed, options.npm),
            ]
        for job in jobs:
            job.result()
    except CannotPrepare as problem:
        print(f"✗ {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
