"""The image: its steps run in an empty folder, and its command runs as a user without write access to it."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .dockerfile import Image, Replay, context, parse
from .http_client import unverified
from .ports import free_port

ROOT = Path(__file__).resolve().parent.parent
IS_ROOT = os.geteuid() == 0
# As in the image, if the test runs as root; only root can start processes of another user.
UID, GID = (10001, 10001) if IS_ROOT else (os.geteuid(), os.getegid())
START_S = 60.0


def as_user(command: list[str], image: Image) -> subprocess.Popen[str]:
    """Start a command as the image would: its user, its environment and nothing else."""
    return subprocess.Popen(
        [shutil.which(command[0], path=image.environment["PATH"]) or command[0], *command[1:]],
        cwd=image.path("."),
        env=image.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        user=UID if IS_ROOT else None,
        group=GID if IS_ROOT else None,
        extra_groups=[] if IS_ROOT else None,
    )


def base_python() -> str:
    """A Python that the image's user may run, so not one in root's home."""
    for name in (sys.executable, "python3", "python3.13", "python3.12", "python3.11"):
        found = [os.path.realpath(sys.executable)] if name == sys.executable else everywhere(name)
        for path in found:
            check = [path, "-I", "-c", "import sys, ssl, venv; sys.exit(sys.version_info < (3, 11))"]
            user = {"user": UID, "group": GID} if IS_ROOT else {}
            try:
                done = subprocess.run(check, capture_output=True, check=False, cwd="/", **user)  # type: ignore[call-overload]
            except PermissionError:
                continue
            if done.returncode == 0:
                return path
    raise AssertionError(f"user {UID} can run no Python here")


def everywhere(name: str) -> list[str]:
    folders = [*os.environ.get("PATH", "").split(":"), "/usr/local/bin", "/usr/bin"]
    return [os.path.join(folder, name) for folder in folders if os.path.exists(os.path.join(folder, name))]


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    # Not pytest's own folder, which other users cannot enter.
    base = Path(tempfile.mkdtemp(prefix="hospproxy-image-"))
    base.chmod(0o755)
    old = os.umask(0o022)
    try:
        sent = base / "context"
        sent.mkdir()
        context(ROOT, sent)
        python = base / "base-python"
        subprocess.run([base_python(), "-m", "venv", "--without-pip", python], check=True)
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python / "bin" / "python"),
            "install",
            "--quiet",
            "pip",
        ]
        subprocess.run(pip, check=True, cwd=base)
        replay = Replay(
            base,
            sent,
            f"{python}/bin:/usr/bin:/bin",
            {"UID": str(UID), "GID": str(GID), "VERSION": "1.2.3", "PIP_CACHE_DIR": str(base)},
        )
        yield replay.build(parse((ROOT / "Dockerfile").read_text()))
    finally:
        os.umask(old)
        for folder, _, _ in os.walk(base):
            os.chmod(folder, 0o755)
        shutil.rmtree(base)


def ran(command: list[str], image: Image) -> tuple[int, str]:
    process = as_user(command, image)
    said, _ = process.communicate(timeout=START_S)
    return process.returncode, said


def test_it_holds_the_proxy_and_not_the_stand_in(image: Image) -> None:
    status, said = ran(["twistd", "--help"], image)
    assert status == 0, said
    assert "    hospproxy " in said
    assert "hosp-standin" not in said
    for left_out in ("*hosp_standin*", "simulation"):
        assert [str(path) for path in image.root.rglob(left_out) if "RECORD" not in path.name] == []
    assert list(image.root.rglob("dropin.cache")) != []
    for extra in ("psycopg", "boto3"):  # what the options can name works without another image
        assert ran(["python", "-c", f"import {extra}"], image) == (0, "")
    assert image.labels["org.opencontainers.image.version"] == "1.2.3"


def test_it_runs_as_somebody_who_is_not_root(image: Image) -> None:
    default = {step.rest for step in parse((ROOT / "Dockerfile").read_text()) if step.name == "ARG"}
    assert {"UID=10001", "GID=10001"} <= default
    assert image.user == f"{UID}:{GID}"
    # A killed container would leave a pid file in the volume, and the next container could not start.
    assert "--pidfile=" in image.command
    assert image.path("/var/lib/hospproxy").stat().st_uid == UID


def settle(image: Image, admin: int) -> None:
    """Mount an options file with free ports over the image's own, and make everything else unwritable."""
    file = image.path("/etc/hospproxy/hospproxy.toml")
    text = image.place(file.read_text())
    file.write_text(
        text.replace("0.0.0.0:8443", f"127.0.0.1:{free_port()}").replace("0.0.0.0:9443", f"127.0.0.1:{admin}")
    )
    image.healthcheck = [part.replace("9443", str(admin)) for part in image.healthcheck]
    state = image.path("/var/lib/hospproxy")
    for path in [image.root, *image.root.rglob("*")]:
        if path != state and not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)


def fingerprint(image: Image) -> dict[str, tuple[int, int]]:
    """The present state of every file outside the volume."""
    state = image.path("/var/lib/hospproxy")
    every = [path for path in image.root.rglob("*") if state not in path.parents and path != state]
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in every}


def live(port: int) -> int | None:
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=unverified())
    try:
        connection.request("GET", "/live")
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def test_it_lives_where_nothing_can_be_written(image: Image) -> None:
    admin = free_port()
    settle(image, admin)
    before = fingerprint(image)
    process = as_user(image.command, image)
    try:
        latest = time.monotonic() + START_S
        while live(admin) is None and process.poll() is None and time.monotonic() < latest:
            time.sleep(0.05)
        assert live(admin) == 200, (
            process.communicate(timeout=5)[0] if process.poll() is not None else "not live"
        )
        assert os.stat(f"/proc/{process.pid}").st_uid == UID
        assert ran(image.healthcheck, image) == (0, "")
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=45)
        assert process.returncode == 0, said
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert fingerprint(image) == before
    kept = {path.name: path.stat() for path in image.path("/var/lib/hospproxy").iterdir()}
    assert kept["master.key"].st_uid == UID
    assert kept["master.key"].st_mode & 0o777 == 0o600
    assert ran(image.healthcheck, image)[0] != 0, "the health check must fail when nobody is there"
