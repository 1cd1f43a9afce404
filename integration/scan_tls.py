"""Scans a running proxy's TLS with testssl.sh and SSLyze (against Mozilla's "intermediate").

    python -m integration.scan_tls [--short] [--sslyze COMMAND]

An authority made for this run signs the certificate, and both scanners are told to trust it. Exit status 1 on a
finding above "low". ``--short`` leaves out what takes testssl.sh longest: most old attacks, and simulated clients.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.arrival.certificates import TestAuthority

from .ports import free_port
from .processes import is_open, twistd_command

BAD = ("MEDIUM", "HIGH", "CRITICAL", "FATAL", "WARN")
NOT_OURS = {
    "cert_revocation": "an authority for tests has no list of what it has taken back",
    "engine_problem": "testssl.sh misses something in the openssl that it uses itself",
    "HTTP_status_code": "no HOSP stands behind this proxy",
}
STRONGER = "tls_curves: TLS curves {'secp521r1', 'X448'} are supported, but should be rejected."
"""Mozilla leaves them out because nobody uses them. Python's TLS libraries cannot switch them off."""

SHORT = ["-p", "-s", "-f", "-S", "-h", "-H", "-T", "-R"]
START_S = 30.0


def scan(folder: Path, sslyze: str, *, short: bool) -> list[str]:
    """Every finding of the scanners."""
    authority = TestAuthority()
    certificate, key = authority.issue("localhost").write(folder, "server")
    ca, port = authority.write(folder / "ca.pem"), free_port()
    file = folder / "hospproxy.toml"
    file.write_text(
        f'state_dir = "{folder}/state"\n[upstream]\nurl = "http://127.0.0.1:1"\n[admin]\nenabled = false\n'
        f'[[listeners]]\nurl = "https://127.0.0.1:{port}"\ncertificate_file = "{certificate}"\n'
        f'private_key_file = "{key}"\nhsts_s = 31536000\n'
    )
    with subprocess.Popen([*twistd_command(), "hospproxy", "--config", str(file)]) as proxy:
        try:
            until = time.monotonic() + START_S
            while not is_open(port):
                if proxy.poll() is not None or time.monotonic() > until:
                    raise SystemExit("the proxy does not start")
                time.sleep(0.05)
            return [*_testssl(folder, port, ca, short=short), *_sslyze(sslyze, port, ca)]
        finally:
            proxy.terminate()


def _testssl(folder: Path, port: int, ca: Path, *, short: bool) -> Iterator[str]:
    report = folder / "testssl.json"
    command = [
        "testssl",
        "--quiet",
        "--color",
        "0",
        "--warnings",
        "off",
        "--nodns",
        "none",
        "--ip",
        "127.0.0.1",
    ]
    command += [
        *(SHORT if short else []),
        "--add-ca",
        str(ca),
        "--jsonfile",
        str(report),
        f"localhost:{port}",
    ]
    subprocess.run(command, check=False, stdin=subprocess.DEVNULL)
    if not report.exists():
        yield "testssl.sh: it left no report"
        return
    findings: list[dict[str, Any]] = json.loads(report.read_text())
    if not any(each["id"] == "TLS1_3" for each in findings):
        yield "testssl.sh: it saw no TLS"
    for each in findings:
        if each["severity"] in BAD and each["id"] not in NOT_OURS:
            yield f"testssl.sh: {each['severity']} {each['id']}: {each['finding']}"


def _sslyze(command: str, port: int, ca: Path) -> Iterator[str]:
    options = ["--mozilla_config", "intermediate", "--certinfo_ca_file", str(ca)]
    done = subprocess.run(
        [command, *options, f"localhost:{port}"], check=False, stdout=subprocess.PIPE, text=True
    )
    print(done.stdout)
    if done.returncode and "FAILED - Not compliant" not in done.stdout:
        yield f"sslyze: it ended with {done.returncode}"
    verdict = done.stdout.partition("COMPLIANCE AGAINST TLS CONFIGURATION")[2]
    if not verdict:
        yield "sslyze: it said nothing of compliance"
    faults = (
        line.strip().removeprefix("* ") for line in verdict.splitlines() if line.strip().startswith("* ")
    )
    # The order of a printed set varies.
    yield from (f"sslyze: {each}" for each in faults if sorted(each) != sorted(STRONGER))


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Scan the TLS of a running proxy.")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--sslyze", default="sslyze", metavar="COMMAND")
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = scan(Path(folder), options.sslyze, short=options.short)
    for each in found:
        print(f"✗ {each}")
    print(f"{len(found)} findings above low, in {time.monotonic() - begun:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
