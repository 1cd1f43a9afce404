"""A real rsyslogd with its own configuration. An independent parser reads its output."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
from pathlib import Path

from attrs import frozen
from cryptography.hazmat.primitives import serialization

from .ports import free_port
from .processes import Processes, Running
from .scripted_server import certificate
from .sink_carrier import until

COMMAND = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin:/sbin")
_MESSAGE = re.compile(
    rb"<(\d{1,3})>1 (\S+) (\S+) (\S+) (\S+) (\S+) \[(\S+)((?: [a-z]+=\"(?:[^\"\\\]]|\\.)*\")*)\] \xef\xbb\xbf(.*)\Z",
    re.DOTALL,
)
_START = re.compile(rb"<\d{1,3}>1 ")
_MEMBER = re.compile(rb" ([a-z]+)=\"((?:[^\"\\\]]|\\.)*)\"", re.DOTALL)


@frozen
class Message:
    """A parsed message."""

    priority: int
    time: str
    host: str
    app: str
    kind: str
    data: dict[str, str]
    text: bytes


def taken_apart(raw: bytes) -> Message:
    """Parse one message by RFC 5424."""
    match = _MESSAGE.match(raw)
    assert match is not None, raw[:500]
    priority, time, host, app, process, kind, name, members, text = match.groups()
    assert (process, name) == (b"-", b"hospproxy@32473"), raw[:500]
    data = {
        key.decode(): re.sub(rb"\\(.)", rb"\1", value).decode() for key, value in _MEMBER.findall(members)
    }
    return Message(int(priority), time.decode(), host.decode(), app.decode(), kind.decode(), data, text)


class Rsyslog:
    """A receiver that can be started, killed and started again on one port.

    :param secure: TLS, with a certificate for localhost; clients must show one signed by the same authority.
    """

    def __init__(self, processes: Processes, folder: Path, *, secure: bool = False) -> None:
        self._processes = processes
        self._folder = folder
        self._secure = secure
        self.port = free_port()
        self.output = folder / "received"
        self._running: Running | None = None
        self.authority = certificate(folder, "authority")
        for name in ("localhost", "client"):
            self._issue(name)
        self._write_options()

    @property
    def url(self) -> str:
        return f"tls://localhost:{self.port}" if self._secure else f"tcp://127.0.0.1:{self.port}"

    async def start(self) -> None:
        assert COMMAND is not None, "rsyslogd is not installed"
        self._running = Running("rsyslogd")
        files = ["-f", str(self._folder / "rsyslog.conf"), "-i", str(self._folder / "rsyslog.pid")]
        (self._folder / "rsyslog.pid").unlink(missing_ok=True)
        self._processes.start(self._running, [COMMAND, "-n", *files])
        await self._processes.until_open(self._running, self.port)

    async def kill(self) -> None:
        assert self._running is not None
        self._running.signal("KILL")
        await self._running.exit_status(10)

    async def stand_still(self) -> None:
        """Pause it with SIGSTOP: it neither reads nor ends."""
        self._kill(signal.SIGSTOP)
        assert self._running is not None
        status = Path(f"/proc/{self._running.pid}/status")
        await until(lambda: "State:\tT" in status.read_text(), "a process that is stopped")

    def go_on(self) -> None:
        self._kill(signal.SIGCONT)

    def limit(self, most_bytes: int | None) -> None:
        """Limit the size of its file. It ignores SIGXFSZ, so it sees a full disk.

        :param most_bytes: None: no limit.
        """
        assert self._running is not None
        most = resource.RLIM_INFINITY if most_bytes is None else most_bytes
        resource.prlimit(self._running.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

    def _kill(self, number: signal.Signals) -> None:
        assert self._running is not None
        os.kill(self._running.pid, number)

    def received(self) -> list[Message]:
        """Every complete message; one may follow another that was cut off."""
        content = self.output.read_bytes() if self.output.exists() else b""
        lines = [line for line in content.split(b"\n")[:-1] if line]
        return [taken_apart(line[[start.start() for start in _START.finditer(line)][-1] :]) for line in lines]

    def _issue(self, name: str) -> None:
        _, key = certificate(self._folder, name, issuer=self.authority)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self._folder / f"{name}.key").write_bytes(pem)

    def _write_options(self) -> None:
        folder = self._folder
        driver = (
            'StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid"'
            if self._secure
            else ""
        )
        # A queue without length: the thread that reads from the network writes to the file before it reads on.
        (folder / "rsyslog.conf").write_text(f"""
global(workDirectory="{folder}" maxMessageSize="64k" net.enableDNS="off"
    parser.escapeControlCharactersOnReceive="off"
    defaultNetstreamDriverCAFile="{folder}/authority.pem"
    defaultNetstreamDriverCertFile="{folder}/localhost.pem"
    defaultNetstreamDriverKeyFile="{folder}/localhost.key")
main_queue(queue.type="Direct")
module(load="imtcp" {driver})
input(type="imtcp" address="127.0.0.1" port="{self.port}")
template(name="raw" type="string" string="%rawmsg%\\n")
action(type="omfile" file="{self.output}" template="raw" action.resumeRetryCount="-1")
""")
