"""The process's privileges and user: the real ``twistd``, as root if the tests run as root."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from pathlib import Path

import pytest
import pytest_twisted

from hospproxy.keys.secrets import MasterKey

from .http_client import ask
from .ports import free_port
from .processes import Processes, Proxy, proxy_options, twistd_command
from .test_running import NOTE

pytestmark = pytest.mark.real_start

NOBODY = 65534
ROOT = os.geteuid() == 0
TEMPORARY = Path(tempfile.gettempdir()).resolve()


def of_proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


def beside(state: Path) -> set[Path]:
    """Every file of the test's folder that is not in the state folder."""
    return {path for path in state.parent.rglob("*") if state not in path.parents}


def status(pid: int, name: str) -> str:
    """A line of /proc/PID/status."""
    found = re.search(rf"^{name}:\s*(.*)$", of_proc(pid, "status"), re.MULTILINE)
    assert found is not None
    return found[1]


@pytest_twisted.ensureDeferred
async def test_it_gives_up_what_it_does_not_need(processes: Processes) -> None:
    proxy = await processes.proxy((await processes.hosp()).url)
    assert (await ask(proxy.plain_url, "POST", "/notes", NOTE, user="staff1")).status == 201
    assert status(proxy.pid, "NoNewPrivs") == "1"
    assert status(proxy.pid, "Umask") == "0077"
    limits = of_proc(proxy.pid, "limits")
    assert re.search(r"^Max core file size\s+0\s+0\s", limits, re.MULTILINE)
    # In /proc, the files of a process that is not dumpable belong to root.
    assert os.stat(f"/proc/{proxy.pid}/environ").st_uid == 0
    open_to_others = [path for path in proxy.state.rglob("*") if path.lstat().st_mode & 0o077]
    assert open_to_others == []
    assert await proxy.stop() == 0


async def started(processes: Processes, state: Path, upstream: str, uid: int, top: str = "") -> Proxy:
    """Start twistd with --uid: it changes its user once the ports are bound."""
    port = 443 if ROOT and not in_use(443) else free_port()
    proxy = Proxy("hospproxy", port=port, plain_port=free_port(), admin_port=free_port())
    proxy.state = state
    file = processes.folder / "dropping.toml"
    file.write_text(proxy_options(proxy, upstream, top))
    flags = ["--uid", str(uid), "--gid", str(uid)]
    processes.start(proxy, [*twistd_command(), *flags, "hospproxy", "--config", str(file)])
    return proxy


def in_use(port: int) -> bool:
    """Whether a process listens on the port."""
    return any(
        f":{port:04X} " in line and " 0A " in line for line in Path("/proc/net/tcp").read_text().splitlines()
    )


@pytest_twisted.ensureDeferred
async def test_after_the_ports_are_bound_it_is_somebody_else(processes: Processes, tmp_path: Path) -> None:
    """Without root it cannot change its user; then it says so, and does not run."""
    folder = tmp_path / "var"
    folder.mkdir(mode=0o755)
    for parent in (each for each in (tmp_path, *tmp_path.parents) if TEMPORARY in each.parents):
        parent.chmod(0o711 | stat.S_IMODE(parent.stat().st_mode))
    key = tmp_path / "root-only.key"
    MasterKey.load_or_create(key)
    hosp = await processes.hosp()
    other = NOBODY if ROOT else os.geteuid() + 1
    top = f'master_key_file = "{key}"\n'
    proxy = await started(processes, folder / "state", hosp.url, other, top)
    if not ROOT:
        assert await proxy.exit_status() == 1
        return
    await processes.until_open(proxy, proxy.port, proxy.plain_port, proxy.admin_port)
    await proxy.until_said("Audit records go to")
    for _ in range(2):  # the second iteration is a second start; the files of the first belong to user nobody
        assert (await ask(proxy.plain_url, "POST", "/notes", NOTE, user="staff1")).status == 201
        assert (await ask(proxy.url, "GET", "/patients", user="staff1")).status == 200
        assert status(proxy.pid, "Uid").split() == [str(NOBODY)] * 4
        assert {path.lstat().st_uid for path in proxy.state.rglob("*")} == {NOBODY}
        proxy.signal("HUP")
        await proxy.until_said("certificates reloaded for")
        assert await proxy.stop() == 0
        proxy = await started(processes, folder / "state", hosp.url, other, top)
        await processes.until_open(proxy, proxy.port, proxy.plain_port, proxy.admin_port)
        await proxy.until_said("Audit records go to")
    assert "Traceback" not in proxy.log
    assert await proxy.stop() == 0


@pytest_twisted.ensureDeferred
async def test_a_state_folder_of_somebody_else_is_said(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    other = NOBODY if ROOT else os.geteuid() + 1
    proxy = await started(processes, tmp_path / "state", "http://127.0.0.1:1", other)
    assert await proxy.exit_status() == 1
    assert (
        f"belongs to user {os.geteuid()}, but the proxy will run as user {other}: run chown -R {other}:{other}"
        in proxy.log
    )
    assert os.listdir(tmp_path / "state") == []


@pytest_twisted.ensureDeferred
async def test_certificates_that_cannot_be_read_again_stay(processes: Processes) -> None:
    """As when root has read them, and the process's later user cannot."""
    proxy = await processes.proxy((await processes.hosp()).url)
    assert (await ask(proxy.url, "GET", "/hospitals", user="staff1")).status == 200
    for name in ("self-signed.crt", "self-signed.key"):  # unreadable even for root
        (proxy.state / name).unlink()
        (proxy.state / name).mkdir()
    proxy.signal("HUP")
    await proxy.until_said("not reloaded, old ones kept")
    assert (await ask(proxy.url, "GET", "/hospitals", user="staff1")).status == 200
    assert await proxy.stop() == 0


@pytest_twisted.ensureDeferred
async def test_nothing_but_the_state_folder_is_written_to(processes: Processes, tmp_path: Path) -> None:
    """With a read-only root file system; if it cannot be mounted, the test looks for written files instead."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    proxy = Proxy("hospproxy", port=free_port(), plain_port=free_port(), admin_port=free_port())
    proxy.state = state
    file = tmp_path / "hospproxy.toml"
    hosp = await processes.hosp()
    file.write_text(proxy_options(proxy, hosp.url))
    command = [*twistd_command(), "hospproxy", "--config", str(file)]
    if ROOT:
        # The state folder becomes a mount of its own before all others become read-only.
        script = (
            'set -e; mount --bind "$0" "$0"; for m in $(awk \'{print $5}\' /proc/self/mountinfo); do '
            'case "$m" in "$0"|/proc*|/dev*) ;; *) mount -o remount,bind,ro "$m" 2>/dev/null || : ;; esac; done; '
            '! touch /tmp/x "$0/../x" 2>/dev/null; exec "$@"'
        )
        command = ["unshare", "--mount", "sh", "-c", script, str(state), *command]
    before = beside(state)
    processes.start(proxy, command, env={"PYTHONDONTWRITEBYTECODE": "1", "COVERAGE_PROCESS_START": ""})
    await processes.until_open(proxy, proxy.port, proxy.plain_port, proxy.admin_port)
    big = {"images": ["x" * 400_000]}
    assert (await ask(proxy.plain_url, "POST", "/patients/3/screen", big, user="staff1")).status == 200
    assert (await ask(proxy.plain_url, "POST", "/notes", NOTE, user="staff1")).status == 201
    assert (await ask(proxy.admin_url, "GET", "/ready")).status == 200
    assert await proxy.stop() == 0
    assert "Traceback" not in proxy.log and "Read-only" not in proxy.log
    assert beside(state) == before
