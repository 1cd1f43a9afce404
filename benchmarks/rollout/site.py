"""HAProxy, two production instances, Redis and two stand-ins, and the plan of a rollout among them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from attrs import frozen

from integration.ports import free_port

from ..chaos.processes import Daemon, Hosp
from ..machines.redis_server import Store
from ..processes import NotStarted, get, is_open
from .production import Production
from .version import command, install_versions

NAMES = ("one", "two", "canary", "baseline", "staging")
_LEASES = "heartbeat_s = 1.0\nlease_s = 5.0\ntimeout_s = 2.0\nsettle_s = 1.0"
_START_S = 90.0


@frozen
class Site:
    """All that runs.

    :param front: HAProxy's port.
    :param hosp: the stand-in behind production.
    :param staging_hosp: the one behind the staging instance.
    :param versions: folder of the installed versions.
    :param ports: of each instance: for clients, and of its admin listener.
    """

    folder: Path
    front: int
    hosp: Hosp
    staging_hosp: Hosp
    versions: Path
    ports: dict[str, tuple[int, int]]

    def admin(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name][1]}"

    def plan(self, rules: str, percent: int) -> Path:
        """Write the plan of a rollout."""
        starts = {
            name: json.dumps(command(self.versions, version, self.folder / f"{name}.toml"))
            for name, version in (("staging", "{new}"), ("canary", "{new}"), ("baseline", "{old}"))
        }
        control = json.dumps([sys.executable, "-m", "hospproxy.control.cli"])
        note = json.dumps(json.dumps({"title": "Visit", "body": "smoke", "patient_id": 1}))
        staging = f"http://127.0.0.1:{self.ports['staging'][0]}"
        access = 'Authorization = "Basic c3RhZmYxOnBhc3N3b3JkMQ=="'  # staff1, password1: of the stand-in
        text = f"""
state = {json.dumps(str(self.folder / "rollout"))}
[test]
run = [{json.dumps(sys.executable)}, "-c", "import benchmarks.rollout"]
[staging]
start = {starts["staging"]}
admin = "http://{self.admin("staging")}"
[[smoke]]
name = "begin with an empty journal"
url = "http://{self.staging_hosp.control}/reset"
method = "POST"
[[smoke]]
name = "hospitals can be read"
url = "{staging}/hospitals"
headers = {{ {access} }}
fields = {{ "content-type" = "json" }}
[[smoke]]
name = "a wrong password is refused"
url = "{staging}/hospitals"
headers = {{ Authorization = "Basic c3RhZmYxOnh4eA==" }}
status = 401
[[smoke]]
name = "a note is stored"
url = "{staging}/notes"
method = "POST"
headers = {{ {access}, "Content-Type" = "application/json" }}
body = {note}
status = 201
json = {{ "body" = "smoke" }}
[[smoke]]
name = "it is stored once"
url = "http://{self.staging_hosp.control}/journal?kind=stored&resource=notes"
json = {{ "entries.length" = 1 }}
[split]
driver = "haproxy"
socket = {json.dumps(str(self.folder / "admin.sock"))}
backend = "hosp"
percent = {percent}
[canary]
start = {starts["canary"]}
admin = "http://{self.admin("canary")}"
server = "canary"
stop_s = 10
[baseline]
start = {starts["baseline"]}
admin = "http://{self.admin("baseline")}"
server = "baseline"
[production]
control = {control}
versions = {json.dumps(str(self.versions))}
drain_s = 15
[[production.instances]]
name = "one"
admin = "http://{self.admin("one")}"
server = "one"
state = {json.dumps(str(self.folder / "state-one"))}
[[production.instances]]
name = "two"
admin = "http://{self.admin("two")}"
server = "two"
state = {json.dumps(str(self.folder / "state-two"))}
[rules]
{rules}
"""
        file = self.folder / "plan.toml"
        file.write_text(text)
        return file

    def version(self, name: str) -> str:
        """The version that an instance says it is."""
        text = get(self.admin(name), "/metrics").decode()
        line = next(line for line in text.splitlines() if line.startswith("hospproxy_build_info{"))
        return line.partition('version="')[2].partition('"')[0]


@contextlib.asynccontextmanager
async def site(folder: Path, version: str, defects: Mapping[str, str]) -> AsyncIterator[Site]:
    """Run everything; all of it is ended.

    :param version: runs in production at first.
    :param defects: the installed versions, and the defect of each.
    """
    async with contextlib.AsyncExitStack() as stack:
        store = Store()
        stack.callback(store.end)
        await store.start()
        hosp = await _hosp(stack, folder, "hosp", "uniform:0.02:0.1")
        staging_hosp = await _hosp(stack, folder, "staging-hosp", "none")
        versions = install_versions(folder, defects)
        ports = {name: (free_port(), free_port()) for name in NAMES}
        made = Site(folder, free_port(), hosp, staging_hosp, versions, ports)
        _write_options(made, store)
        production = Production(folder, versions)
        stack.callback(production.stop)
        for name in ("one", "two"):
            production.start(name, version)
        _write_haproxy(made)
        with (folder / "haproxy.log").open("wb") as log:
            running = subprocess.Popen(  # noqa: ASYNC220 - it is waited for below
                ["/usr/sbin/haproxy", "-db", "-f", str(folder / "haproxy.cfg")],
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        stack.callback(running.wait)
        stack.callback(running.terminate)
        latest = time.monotonic() + _START_S
        while not (is_open(made.front) and all(_is_ready(made, name) for name in ("one", "two"))):
            if time.monotonic() > latest:
                raise NotStarted((folder / "one.log").read_text(errors="replace")[-3000:])
            await asyncio.sleep(0.1)
        yield made


def _is_ready(made: Site, name: str) -> bool:
    try:
        get(made.admin(name), "/ready")
    except OSError:
        return False
    return True


async def _hosp(stack: contextlib.AsyncExitStack, folder: Path, name: str, delay: str) -> Hosp:
    ports = folder / f"{name}-ports.json"
    where = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--port-file", str(ports)]
    options = ["--delay", delay, "--places", "0", "--seed", "3"]
    hosp = Hosp(Daemon(name, ["hosp-standin", *where, *options], folder, ports.exists))
    stack.push_async_callback(hosp.daemon.end)
    await hosp.daemon.start()
    bound = json.loads(ports.read_text())
    hosp.url, hosp.control = f"http://127.0.0.1:{bound['listen']}", f"127.0.0.1:{bound['control']}"
    return hosp


def _write_options(made: Site, store: Store) -> None:
    key = made.folder / "master.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(32))
    for name, (port, admin) in made.ports.items():
        upstream = made.staging_hosp.url if name == "staging" else made.hosp.url
        redis = f'[redis]\nenabled = true\nurl = "{store.url}"\n{_LEASES}\n' if name != "staging" else ""
        (made.folder / f"{name}.toml").write_text(
            f'state_dir = "{made.folder}/state-{name}"\nmaster_key_file = "{key}"\ndrain_s = 10\n'
            f'[upstream]\nurl = "{upstream}"\n[admin]\nurl = "http://127.0.0.1:{admin}"\n'
            f'[[listeners]]\nurl = "http://127.0.0.1:{port}"\nplain = "serve"\n'
            # Without shortcuts every request passes the chain, where the defects are.
            f"[cache]\nshortcuts = 0\n[gate]\nconcurrency = 16\n{redis}"
        )


def _write_haproxy(made: Site) -> None:
    servers = "\n".join(
        f"    server {name} 127.0.0.1:{made.ports[name][0]} port {made.ports[name][1]}"
        f" weight {100 if name in ('one', 'two') else 0}"
        for name in ("one", "two", "canary", "baseline")
    )
    (made.folder / "haproxy.cfg").write_text(
        f"""global
    stats socket {made.folder}/admin.sock mode 600 level admin
    log stdout format raw local0 info
defaults
    mode tcp
    log global
    retries 3
    option redispatch 1
    timeout connect 2s
    timeout check 5s
    timeout client 90s
    timeout server 90s
frontend hosp
    bind 127.0.0.1:{made.front}
    default_backend hosp
backend hosp
    balance roundrobin
    option httpchk
    http-check send meth GET uri /ready ver HTTP/1.1 hdr Host localhost
    http-check expect status 200
    default-server check inter 500ms fall 2 rise 1
{servers}
"""
    )


def short_folder() -> Path:
    """A new folder for one run; its path is short enough for a Unix socket."""
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"rollout-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    return folder


def forget(folder: Path) -> None:
    """Delete what a run has left."""
    shutil.rmtree(folder, ignore_errors=True)
