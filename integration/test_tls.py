"""TLS on real sockets, through twistd: names, sessions, clients' certificates, and new certificates under load."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from cryptography import x509
from twisted.internet.threads import deferToThread

from tests.arrival.certificates import Issued, TestAuthority, trusting

from .http_client import ask
from .ports import free_port
from .processes import Processes, Proxy, twistd_command

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@define
class Stage:
    """A proxy with two certificates."""

    processes: Processes
    authority: TestAuthority = field(factory=TestAuthority)
    port: int = field(factory=free_port)

    @property
    def folder(self) -> Path:
        return self.processes.folder

    def put(self, issued: Issued, name: str) -> None:
        """Replace a certificate as renewal tools do: write a new file beside it, rename it, the certificate first."""
        for made in issued.write(self.folder / "new", name):
            os.replace(made, self.folder / made.name)

    def issue(self, name: str, *names: str) -> Issued:
        issued = self.authority.issue(*(names or (f"{name}.example",)))
        self.put(issued, name)
        return issued

    async def open(self, more: str = "", arrival: str = "certificate_check_s = 0.1") -> Proxy:
        hosp = await self.processes.hosp()
        folder, state = self.folder, self.folder / "state"
        proxy = Proxy("hospproxy", port=self.port, admin_port=free_port(), state=state)
        file = folder / "hospproxy.toml"
        file.write_text(f"""
state_dir = {json.dumps(str(state))}
[upstream]
url = "{hosp.url}"
[admin]
url = "http://127.0.0.1:{proxy.admin_port}"
[arrival]
{arrival}
[[listeners]]
url = "https://127.0.0.1:{proxy.port}"
certificate_file = "{folder}/a.pem"
private_key_file = "{folder}/a.key"
{more}
[[listeners.certificates]]
certificate_file = "{folder}/b.pem"
private_key_file = "{folder}/b.key"
""")
        self.processes.start(proxy, [*twistd_command(), "hospproxy", "--config", str(file)])
        await self.processes.until_open(proxy, proxy.port, proxy.admin_port)
        return proxy

    def shake(self, name: str, context: ssl.SSLContext | None = None, session: Any = None) -> ssl.SSLSocket:
        """Open a connection and do the handshake (blocks)."""
        plain = socket.create_connection(("127.0.0.1", self.port), 30)
        try:
            used = context or trusting(self.authority)
            return used.wrap_socket(plain, server_hostname=name, session=session)
        except BaseException:
            plain.close()
            raise

    def shown(self, name: str) -> x509.Certificate:
        """The certificate that is served for a name (blocks)."""
        with self.shake(name) as connection:
            data = connection.getpeercert(True)
        assert data is not None
        return x509.load_der_x509_certificate(data)


def talk(connection: ssl.SSLSocket) -> http.client.HTTPResponse:
    """Send one request on a connection; return the result (blocks)."""
    connection.sendall(b"GET /hospitals HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer


@pytest.fixture
def stage(processes: Processes) -> Stage:
    made = Stage(processes)
    made.issue("a")
    made.issue("b")
    return made


@pytest_twisted.ensureDeferred
async def test_names_pick_and_sessions_are_taken_up(stage: Stage) -> None:
    await stage.open()

    def check() -> None:
        for name in ("a", "b"):
            assert stage.shown(f"{name}.example").subject.rfc4514_string() == f"CN={name}.example"
        assert stage.shown("c.example").subject.rfc4514_string() == "CN=a.example"
        for version in VERSIONS:
            context = trusting(stage.authority, version)
            with stage.shake("a.example", context) as first:
                assert talk(first).status == 401
                session = first.session
                assert first.selected_alpn_protocol() is None
            with stage.shake("a.example", context, session) as again:
                assert again.session_reused
                assert talk(again).status == 401
            with stage.shake("b.example", context, session) as other:
                assert not other.session_reused

    await deferToThread(check)


@pytest_twisted.ensureDeferred
async def test_old_versions_are_refused(stage: Stage) -> None:
    await stage.open()
    old = trusting(stage.authority)
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")

    def refused() -> None:
        with pytest.raises(ssl.SSLError, match=r"(?i)version|alert"):
            stage.shake("a.example", old)

    await deferToThread(refused)


@pytest_twisted.ensureDeferred
async def test_clients_show_who_they_are(stage: Stage) -> None:
    ca = stage.authority.write(stage.folder / "ca.pem")
    proxy = await stage.open(f'client_ca_file = "{ca}"\nclient_certificates = "required"\nhsts_s = 300')
    issued = stage.authority.issue("ward7.example", client=True)
    known = trusting(stage.authority)
    known.load_cert_chain(*issued.write(stage.folder, "client"))

    def check() -> None:
        with stage.shake("b.example", known) as connection:
            answer = talk(connection)
        assert (answer.status, answer.getheader("strict-transport-security")) == (401, "max-age=300")
        with pytest.raises((ssl.SSLError, ConnectionError)), stage.shake("b.example") as stranger:
            talk(stranger)

    await deferToThread(check)
    (record,) = [each for each in proxy.records() if each["kind"] == "request"]
    certificate = record["client"]["certificate"]
    assert (certificate["subject"], certificate["names"]) == ("CN=ward7.example", ["ward7.example"])


@define
class Load:
    """Clients that open connections as fast as they can, and one that keeps its own."""

    stage: Stage
    done: threading.Event = field(factory=threading.Event)
    shaken: int = 0
    kept: int = 0
    failed: list[str] = field(factory=list)

    def open_and_close(self) -> None:
        context = trusting(self.stage.authority)
        while not self.done.is_set():
            try:
                with self.stage.shake("a.example", context) as connection:
                    assert talk(connection).status == 401
                self.shaken += 1
            except Exception as error:
                self.failed.append(repr(error))

    def keep(self) -> None:
        with contextlib.ExitStack() as stack:
            try:
                connection = stack.enter_context(self.stage.shake("a.example"))
                while not self.done.is_set():
                    assert talk(connection).status == 401
                    self.kept += 1
            except Exception as error:
                self.failed.append(f"kept: {error!r}")


@pytest_twisted.ensureDeferred
async def test_certificates_are_exchanged_under_load(stage: Stage) -> None:
    proxy = await stage.open()
    load = Load(stage)
    threads = [
        threading.Thread(target=each) for each in (load.open_and_close, load.open_and_close, load.keep)
    ]
    for thread in threads:
        thread.start()

    def exchange() -> list[int]:
        before = []
        for _ in range(20):
            new, begun = stage.issue("a").certificate, load.shaken
            for _ in range(3000):
                if stage.shown("a.example") == new:
                    break
            else:
                raise AssertionError("it was never shown")
            while load.shaken < begun + 3 and not load.failed:
                threading.Event().wait(0.01)
            before.append(load.shaken)
        return before

    try:
        await deferToThread(exchange)
    finally:
        load.done.set()
        for thread in threads:
            await deferToThread(thread.join)
    assert load.failed == []
    assert load.shaken >= 60
    assert load.kept > 20
    metrics = (await ask(f"http://127.0.0.1:{proxy.admin_port}", "GET", "/metrics")).body.decode()
    assert 'hospproxy_certificate_reloads_total{result="renewed"} 20.0' in metrics
    assert 'certificate_reloads_total{result="failed"}' not in metrics


@pytest_twisted.ensureDeferred
async def test_a_bad_file_keeps_the_old_one(stage: Stage) -> None:
    proxy = await stage.open()
    before = await deferToThread(stage.shown, "a.example")
    (stage.folder / "a.pem").write_text("nonsense")
    await proxy.until_said("a.pem: holds no certificate in PEM form")
    assert await deferToThread(stage.shown, "a.example") == before
    new = stage.issue("a").certificate
    await proxy.until_said("certificate files reloaded: ")
    assert await deferToThread(stage.shown, "a.example") == new


@pytest_twisted.ensureDeferred
async def test_asked_for_by_a_signal(stage: Stage) -> None:
    proxy = await stage.open(arrival="certificate_check_s = 3600")
    new = stage.issue("b").certificate
    assert await deferToThread(stage.shown, "b.example") != new
    proxy.signal("HUP")
    await proxy.until_said("certificates reloaded for")
    assert await deferToThread(stage.shown, "b.example") == new


@pytest_twisted.ensureDeferred
async def test_whoever_never_shakes_hands_is_let_go(stage: Stage) -> None:
    await stage.open(arrival="handshake_timeout_s = 0.2\nmax_handshakes_per_address = 2")

    def check() -> None:
        mute = [socket.create_connection(("127.0.0.1", stage.port), 30) for _ in range(3)]
        for each in mute:
            with contextlib.suppress(ConnectionError):
                assert each.recv(1) == b""
            each.close()

    await deferToThread(check)
    assert (await deferToThread(stage.shown, "a.example")).subject.rfc4514_string() == "CN=a.example"
