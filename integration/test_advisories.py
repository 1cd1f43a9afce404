"""Asking an OSV service for advisories, with the server's own paging, and while it is away."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from .ports import free_port

ROOT = Path(__file__).resolve().parent.parent


def record(id: str, name: str) -> dict[str, Any]:
    events = [{"introduced": "0"}, {"fixed": "999"}]
    package = {"ecosystem": "PyPI", "name": name}
    return {"id": id, "affected": [{"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}]}


class Osv(BaseHTTPRequestHandler):
    """Answers a query in two pages, as the service does for packages with many records."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = asked["package"]["name"]
        page: dict[str, Any] = {}
        if name == "twisted":
            second = asked.get("page_token") == "more"
            page = {"vulns": [record("OSV-2" if second else "OSV-1", name)]}
            page |= {} if second else {"next_page_token": "more"}
        body = json.dumps(page).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Keep stderr empty."""


@pytest.fixture
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Osv)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy the files that the script reads and writes, so that the repository's own stay unchanged."""
    for name in ("scripts/advisories.py", "security", "requirements.lock", "requirements-all.lock"):
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(ROOT / name, target) if (ROOT / name).is_dir() else shutil.copy(ROOT / name, target)
    return tmp_path


def run(copy: Path, *arguments: str, address: str = "") -> tuple[int, str]:
    environment = {**os.environ, "OSV_URL": address, "no_proxy": "127.0.0.1"}
    command = [sys.executable, str(copy / "scripts/advisories.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.returncode, done.stdout + done.stderr


def test_what_the_service_knows_fails_the_check(copy: Path, service: str) -> None:
    status, said = run(copy, "--update", address=service)
    assert status == 0, said
    assert said.startswith("» 2 advisories about ")
    status, said = run(copy)
    assert status == 1
    assert "✗ requirements.lock: twisted" in said
    assert "OSV-1" in said
    assert "OSV-2" in said
    assert "!" not in said, "a fresh and complete snapshot is warned of by nobody"


def test_a_service_that_is_away_changes_nothing(copy: Path) -> None:
    before = (copy / "security/advisories.json").read_bytes()
    status, said = run(copy, "--update", address=f"http://127.0.0.1:{free_port()}/v1/query")
    assert status == 1
    assert "Nothing was changed" in said
    assert run(copy, "--update")[0] == 2
    assert (copy / "security/advisories.json").read_bytes() == before


def test_strict_takes_no_warning(copy: Path) -> None:
    snapshot = json.loads((copy / "security/advisories.json").read_text())
    (copy / "security/advisories.json").write_text(json.dumps({**snapshot, "partial": True}))
    assert run(copy)[0] == 0
    assert run(copy, "--strict")[0] == 1
