"""The trail in a bucket of an S3 server that is stopped, killed, slow and full; and reading it back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
import pytest_twisted
from twisted.internet.protocol import Protocol

from hospproxy.config import Settings, UpstreamSettings
from hospproxy.options.bucket_section import BucketSettings
from hospproxy.record.sinks.bucket import BucketSink, ObjectDiffers, writer_for

from .freezing_relay import Freezer
from .ports import free_port
from .processes import Processes, Running
from .relay import Relay
from .sink_carrier import Trail, clock, until

SECRET = "a-secret-that-no-log-holds"


class Moto:
    """An S3 server with one bucket, in a process of its own; it loses everything when it ends."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self._processes = processes
        self.port = free_port()
        self.folder = folder
        self.running = Running("moto")
        secret = folder / "secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)

    async def start(self) -> None:
        self.running = Running("moto")
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._processes.start(self.running, command)
        await self._processes.until_open(self.running, self.port)
        self.client().create_bucket(Bucket="trails")

    def client(self) -> Any:
        """A client of the server itself, without the relay. Its calls block."""
        url = f"http://127.0.0.1:{self.port}"
        return boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="k",
            aws_secret_access_key=SECRET,
        )

    def objects(self) -> list[str]:
        found = self.client().list_objects_v2(Bucket="trails").get("Contents", [])
        return sorted(each["Key"] for each in found)

    def download(self, folder: Path) -> list[str]:
        """Download every object into a folder; return the chain heads of their metadata."""
        folder.mkdir()
        heads = []
        for key in self.objects():
            found = self.client().get_object(Bucket="trails", Key=key)
            (folder / key.rpartition("/")[2]).write_bytes(found["Body"].read())
            heads.append(found["Metadata"]["head"])
        return heads

    def writer(self, port: int, **options: Any) -> BucketSink:
        section = BucketSettings(
            enabled=True,
            endpoint_url=f"http://127.0.0.1:{port}",
            bucket="trails",
            prefix="hospital/ward",
            access_key_id="AKIAEXAMPLE",
            secret_access_key_file=self.folder / "secret",
            path_style=True,
            **options,
        )
        upstream = UpstreamSettings(url="http://127.0.0.1:1")
        made = writer_for(Settings(upstream=upstream, audit_bucket=section), clock)
        assert isinstance(made, BucketSink)
        return made


class FullRelay(Relay):
    """A relay in front of the service that can make it seem full.

    :ivar answer: to every request, or None to forward it.
    """

    answer: bytes | None = None
    refused = 0

    def buildProtocol(self, addr: object) -> Protocol:
        return super().buildProtocol(addr) if self.answer is None else _Full(self, self.answer)


class _Full(Protocol):
    def __init__(self, relay: FullRelay, answer: bytes) -> None:
        self._relay = relay
        self._answer = answer

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        self._relay.refused += 1
        transport.write(self._answer)
        transport.loseConnection()


def refusal(status: bytes, code: bytes) -> bytes:
    body = b"<Error><Code>%b</Code><Message>no</Message></Error>" % code
    return b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


@pytest.fixture
def moto(processes: Processes, tmp_path: Path) -> Moto:
    """A server that is not started yet."""
    return Moto(processes, tmp_path)


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    """Four closed files, two of them packed, and one open file."""
    made = Trail(tmp_path)
    for number in range(4):
        made.keep(100)
        made.turn_over()
        if number == 1:
            made.pack()
    made.keep(10)
    return made


def verified(folder: Path, trail: Trail, heads: list[str]) -> str:
    command = [sys.executable, "-m", "hospproxy.record.commands.cli", "verify", str(folder)]
    anchors = [word for head in heads for word in ("--anchor", head)]
    more = ["--public-key", str(trail.key_file), *anchors]
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest_twisted.ensureDeferred
async def test_what_comes_back_from_the_bucket_verifies(moto: Moto, trail: Trail, tmp_path: Path) -> None:
    await moto.start()
    files = trail.closed_files()
    assert {file.path.suffix for file in files} == {".gz", ".jsonl"}
    for _ in range(2):
        carrying = trail.carrying(moto.writer(moto.port))
        await carrying.carry()
        assert (carrying.taken, carrying.troubles) == (4, [])
        trail.pack()
        trail.forget()  # existing objects are not replaced, however they were packed
    assert moto.objects() == [f"hospital/ward/{trail.name}/{file.stem}.gz" for file in files]
    heads = moto.download(tmp_path / "back")
    assert heads == [file.head for file in files]
    assert "in 4 files" in verified(tmp_path / "back", trail, heads)


@pytest_twisted.ensureDeferred
async def test_an_object_that_is_there_is_never_overwritten(moto: Moto, trail: Trail) -> None:
    await moto.start()
    made = moto.writer(moto.port)
    await made.open()
    [file, *_] = trail.closed_files()
    key = f"hospital/ward/{trail.name}/{file.stem}.gz"
    moto.client().put_object(Bucket="trails", Key=key, Body=b"forged")
    with pytest.raises(ObjectDiffers):
        await made.write_file(file)
    assert moto.client().get_object(Bucket="trails", Key=key)["Body"].read() == b"forged"
    await made.close()


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_killed_and_one_that_loses_answers(
    moto: Moto, trail: Trail, tmp_path: Path
) -> None:
    relay = Relay(moto.port)
    relay.start()
    port = int(relay.url.rpartition(":")[2])
    carrying = trail.carrying(moto.writer(port))
    carrying.start()
    await until(lambda: len(carrying.troubles) >= 2, "failures while nobody is there")
    relay.losing.extend([("PUT", "before"), ("PUT", "after"), ("PUT", "after")])
    await moto.start()
    await carrying.arrive()
    assert not relay.losing, "every accident has happened"
    assert "in 4 files" in verified(tmp_path / "back", trail, moto.download(tmp_path / "back"))
    moto.running.signal("KILL")
    await moto.running.exit_status(10)
    trail.turn_over()
    troubles = len(carrying.troubles)
    await until(lambda: len(carrying.troubles) > troubles, "a failure")
    await moto.start()
    await carrying.stop()
    await relay.stop()
    assert len(moto.objects()) == 1
    said = [repr(trouble) + str(trouble) for trouble in carrying.troubles]
    assert not any(SECRET in words for words in said)


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_slow(moto: Moto, trail: Trail, tmp_path: Path) -> None:
    await moto.start()
    os.kill(moto.running.pid, signal.SIGSTOP)
    carrying = trail.carrying(moto.writer(moto.port, timeout_s=0.5))
    carrying.start()
    await until(lambda: bool(carrying.troubles), "a time-out")
    os.kill(moto.running.pid, signal.SIGCONT)
    await carrying.arrive()
    await carrying.stop()
    assert "in 4 files" in verified(tmp_path / "back", trail, moto.download(tmp_path / "back"))


@pytest_twisted.ensureDeferred
async def test_a_server_at_the_end_of_a_long_line(moto: Moto, trail: Trail, tmp_path: Path) -> None:
    """An upload that stopped in the middle continues there."""
    await moto.start()
    line = Freezer(moto.port, delay_s=0.1)
    port = line.start()
    carrying = trail.carrying(moto.writer(port))
    carrying.start()
    await until(lambda: carrying.taken > 0, "a file")
    await carrying.stop()
    trail.keep(100)
    trail.turn_over()
    carrying = trail.carrying(moto.writer(port))
    await carrying.carry()
    assert (carrying.taken, carrying.troubles) == (1, [])
    await line.stop()
    assert "in 5 files" in verified(tmp_path / "back", trail, moto.download(tmp_path / "back"))


@pytest.mark.parametrize(
    "answer",
    [refusal(b"503 Slow Down", b"SlowDown"), refusal(b"507 Insufficient Storage", b"InsufficientStorage")],
)
@pytest_twisted.ensureDeferred
async def test_a_server_that_is_full(moto: Moto, trail: Trail, tmp_path: Path, answer: bytes) -> None:
    await moto.start()
    relay = FullRelay(moto.port)
    relay.answer = answer
    relay.start()
    carrying = trail.carrying(moto.writer(int(relay.url.rpartition(":")[2])))
    carrying.start()
    await until(lambda: len(carrying.troubles) >= 3, "refusals")
    assert (carrying.taken, moto.objects()) == (0, [])
    assert relay.refused <= len(carrying.troubles) + 1, "boto3 repeats nothing by itself"
    relay.answer = None
    await carrying.arrive()
    await carrying.stop()
    await relay.stop()
    assert "in 4 files" in verified(tmp_path / "back", trail, moto.download(tmp_path / "back"))
