"""The access log of a running proxy: its courier is killed, its format changes, and its files go to a bucket."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest_twisted
from twisted.internet.threads import deferToThread

from hospproxy.record.access_log.log_folder import OPEN
from hospproxy.report.formats import ALB_FIELDS
from hospproxy.report.log_files import find
from hospproxy.report.measure import measure

from .http_client import ask
from .processes import Processes, Proxy
from .test_courier import courier_of, kill
from .test_reload import options_file
from .test_writers_bucket import Moto
from .worker_processes import until

ASKED = (
    ("GET", "/patients/7"),
    ("GET", "/patients/7"),
    ("GET", "/notes?patient_id=7&password=hunter2"),
    ("GET", "/nowhere/hunter2"),
    ("DELETE", "/patients/999999"),
)


def options(moto: Moto) -> str:
    return f"""
[access_log]
format = "alb"
[access_log_bucket]
enabled = true
endpoint_url = "http://127.0.0.1:{moto.port}"
bucket = "trails"
prefix = "ward"
access_key_id = "k"
secret_access_key_file = {json.dumps(str(moto.folder / "secret"))}
path_style = true
"""


async def requests(proxy: Proxy) -> None:
    for method, target in ASKED:
        await ask(proxy.plain_url, method, target, user="staff1", headers={"User-Agent": f'a "b" {target}'})


def recorded(proxy: Proxy) -> list[str]:
    """The request ids of the journal."""
    return [record["request_id"] for record in proxy.records() if record["kind"] == "request"]


def alb_ids(content: bytes) -> list[str]:
    """The request ids in an access log."""
    entries = list(csv.reader(content.decode("ascii").splitlines(), delimiter=" ", strict=True))
    assert {len(entry) for entry in entries} == {len(ALB_FIELDS)}
    return [dict(zip(ALB_FIELDS, entry, strict=True))["trace_id"] for entry in entries]


def shipped(moto: Moto, folder: Path) -> bytes:
    """Download every object, under its key; return their lines."""
    found = b""
    for key in moto.objects():
        content = moto.client().get_object(Bucket="trails", Key=key)["Body"].read()
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(content)
        found += gzip.decompress(content)
    return found


@pytest_twisted.ensureDeferred
async def test_each_request_has_one_line_and_closed_files_reach_the_bucket(
    processes: Processes, tmp_path: Path
) -> None:
    moto = Moto(processes, tmp_path)
    await moto.start()
    hosp = await processes.hosp()
    proxy = await processes.proxy(hosp.url, options=options(moto))
    log = proxy.state / "access-log"
    pid = await courier_of(proxy)
    await requests(proxy)
    await until(lambda: (log / OPEN).exists() and (log / OPEN).stat().st_size > 0)
    kill(pid)
    await requests(proxy)
    pid = await courier_of(proxy, pid)
    await until(lambda: len((log / OPEN).read_bytes().splitlines()) >= len(recorded(proxy)))
    first = recorded(proxy)
    content = (log / OPEN).read_bytes()
    assert alb_ids(content) == first
    assert b"hunter2 HTTP" not in content
    assert b"/patients/7 " not in content
    assert b'"GET http://127.0.0.1' in content
    of_journal = await deferToThread(lambda: measure(find([proxy.state / "audit"])))
    of_log = await deferToThread(lambda: measure(find([log])))
    assert of_log.routes == of_journal.routes
    assert (of_log.counts, of_log.errors) == (of_journal.counts, of_journal.errors)
    assert of_log.sent_bytes == of_journal.sent_bytes > 0
    # Another format closes the file at once.
    file = options_file(processes)
    file.write_text(file.read_text().replace('format = "alb"', 'format = "json"'))
    assert (await ask(proxy.admin_url, "POST", "/reload", {})).status == 200
    await courier_of(proxy, pid)
    await requests(proxy)
    await until(lambda: deferToThread(moto.objects))
    there = await deferToThread(shipped, moto, tmp_path / "back")
    assert alb_ids(there) == first
    [key] = moto.objects()
    assert key.startswith("ward/AWSLogs/000000000000/elasticloadbalancing/us-east-1/20")
    assert (log / "shipped" / key.rpartition("/")[2]).exists()
    await until(lambda: len((log / OPEN).read_bytes().splitlines()) >= len(ASKED))
    found = [json.loads(line)["request_id"] for line in (log / OPEN).read_bytes().splitlines()]
    assert found == recorded(proxy)[len(first) :]
    assert await proxy.stop() == 0
