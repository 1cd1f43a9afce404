"""HAProxy in front of two machines of two workers with one Redis, set up by the files in deploy/scale themselves."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults

from .haproxy import COMMAND
from .http_client import ask, basic, unverified
from .machines import QUICK
from .ports import free_port
from .processes import Hosp, Processes, Proxy, Running, twistd_command
from .redis_server import Redis
from .test_fates import until

DEPLOY = Path(__file__).resolve().parent.parent / "deploy" / "scale"
PASSWORD = "b49e1d5fd2b0b75f4d1d0a8f6b9f6f0c"
NAMES = ("one", "two")
PAUSE_S = 0.05
"""Pause of a client between two requests: the machines get work, and time for health checks."""


def adapted(name: str, changes: Mapping[str, str]) -> str:
    """A file of deploy/scale with other addresses and paths.

    :param changes: old text → new text; each old text must occur.
    """
    text = (DEPLOY / name).read_text()
    for old, new in changes.items():
        assert old in text, f"{name} does not hold {old!r}"
        text = text.replace(old, new)
    return text


def access() -> list[str]:
    """Access rules (ACL) from deploy/scale/redis.conf."""
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    text = adapted("redis.conf", {"REPLACE-BY-SHA256-OF-THE-PASSWORD": digest})
    return re.findall(r"^(?:user|maxmemory|appendonly|appendfsync|save).*$", text, re.MULTILINE)


@define(eq=False)
class Scale:
    """HAProxy, the machines, Redis and HOSP.

    :ivar front: the port of HAProxy.
    """

    processes: Processes
    folder: Path
    hosp: Hosp
    redis: Redis
    front: int = field(factory=free_port)
    machines: dict[str, Proxy] = field(factory=dict)
    _socket: Path = field(factory=lambda: Path(tempfile.mkdtemp(prefix="haproxy-")) / "admin")

    async def build(self) -> None:
        """Start both machines, and HAProxy in front of them."""
        (self.folder / "master.key").write_bytes(os.urandom(32))
        (self.folder / "redis-password").write_text(PASSWORD)
        for secret in ("master.key", "redis-password"):
            (self.folder / secret).chmod(0o600)
        await gatherResults([Deferred.fromCoroutine(self.start(name)) for name in NAMES])
        servers = {
            f"10.0.0.1{number}:8443 port 9443": f"127.0.0.1:{each.port} port {each.admin_port}"
            for number, each in enumerate((self.machines[name] for name in NAMES), 1)
        }
        changes = {
            "/run/haproxy/admin.sock": str(self._socket),
            "bind 10.0.0.4:443": f"bind 127.0.0.1:{self.front}",
            "inter 1s": "inter 100ms",
            "maxconn 20000": "maxconn 1000",
            **servers,
        }
        file = self.folder / "haproxy.cfg"
        file.write_text(adapted("haproxy.cfg", changes))
        assert COMMAND is not None, "haproxy is not installed"
        running = Running("haproxy")
        self.processes.start(running, [COMMAND, "-db", "-f", str(file)])
        await self.processes.until_open(running, self.front)

    async def start(self, name: str) -> None:
        """Start a machine, or start it again on its ports and state."""
        before = self.machines.get(name)
        proxy = Proxy(f"hospproxy {name}", port=free_port(), admin_port=free_port())
        if before is not None:
            proxy.port, proxy.admin_port = before.port, before.admin_port
        proxy.state = self.folder / f"state-{name}"
        file = self.folder / f"{name}.toml"
        file.write_text(self._options(proxy))
        self.machines[name] = proxy
        self.processes.start(proxy, [*twistd_command(), "hospproxy", "--config", str(file)])
        await self.processes.until_open(proxy, proxy.port, proxy.admin_port)

        # The ports are open before a worker serves, and HAProxy assumes that a server is up until a check fails.
        async def ready() -> bool:
            return bool((await ask(proxy.admin_url, "GET", "/ready")).status == 200)

        await until(ready, f"{name} is ready", 90.0)

    def _options(self, proxy: Proxy) -> str:
        return adapted(
            "hospproxy.toml",
            {
                '"/var/lib/hospproxy"': json.dumps(str(proxy.state)),
                '"/etc/hospproxy/master.key"': json.dumps(str(self.folder / "master.key")),
                '"http://10.0.0.3:3000"': json.dumps(self.hosp.url),
                '"https://0.0.0.0:8443"': json.dumps(f"https://127.0.0.1:{proxy.port}"),
                '"10.0.0.4"': '"127.0.0.1"',
                'certificate_file = "/etc/hospproxy/fullchain.pem"\n': "",
                'private_key_file = "/etc/hospproxy/privkey.pem"\n': "",
                '"rediss://10.0.0.5:6379"': json.dumps(self.redis.url),
                '"/etc/hospproxy/redis-password"': json.dumps(str(self.folder / "redis-password")),
                'ca_file = "/etc/hospproxy/redis-ca.pem"\n': QUICK,
                '"https://10.0.0.11:9443"': json.dumps(f"https://127.0.0.1:{proxy.admin_port}"),
            },
        )

    def forget(self) -> None:
        """Remove HAProxy's socket."""
        shutil.rmtree(self._socket.parent, ignore_errors=True)

    def tell(self, command: str) -> str:
        """Send a command to HAProxy's own socket; return its output."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(10)
            line.connect(str(self._socket))
            line.sendall(command.encode() + b"\n")
            answer = b""
            while piece := line.recv(1 << 16):
                answer += piece
        return answer.decode()

    def column(self, name: str, column: str) -> str:
        """A machine's value in HAProxy's table."""
        head, *rows = [line.lstrip("# ").split(",") for line in self.tell("show stat").splitlines() if line]
        found = next(row for row in rows if row[:2] == ["hosp", name])
        return found[head.index(column)]


@define(eq=False)
class Client:
    """Reads and writes until told to stop; each request uses a new connection.

    :param insists: whether it retries with the same key after a failure or a missing response.
    :ivar failed: requests that did not succeed.
    :ivar stored: notes that got a 201.
    """

    port: int
    number: int
    insists: bool
    failed: Counter[str] = field(factory=Counter)
    stored: list[str] = field(factory=list)
    done: int = 0
    over: threading.Event = field(factory=threading.Event)

    def run(self) -> None:
        """Run in a thread."""
        while not self.over.is_set():
            self.done += 1
            self.over.wait(PAUSE_S)
            if self.done % 3:
                self._ask("GET", f"/patients?hospital_id={self.done % 5 + 1}", None, 200)
            else:
                self._write(f"client {self.number} note {self.done}")

    def _write(self, text: str) -> None:
        note = {"title": "Visit", "body": text, "patient_id": self.done % 100 + 1}
        while not self._ask("POST", "/notes", note, 201):
            if not self.insists:
                return
            self.over.wait(0.05)
        self.stored.append(text)

    def _ask(self, method: str, path: str, document: Mapping[str, object] | None, wanted: int) -> bool:
        fields = {"Authorization": basic(f"staff{self.number + 1}")}
        if document is not None:
            fields |= {"Content-Type": "application/json", "Idempotency-Key": f'"{document["body"]}"'}
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=45, context=unverified())
        try:
            body = None if document is None else json.dumps(document)
            connection.request(method, path, body, fields)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != wanted:
                self.failed[f"{method} {answer.status} {content[:120]!r}"] += 1
            return answer.status == wanted
        except (OSError, http.client.HTTPException) as problem:
            self.failed[f"{method} {problem!r}"] += 1
            return False
        finally:
            connection.close()
