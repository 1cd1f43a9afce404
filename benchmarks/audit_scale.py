"""``python -m benchmarks.audit_scale``: write a million records and time their verification.

The exit status is 1 if the trail does not verify.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from hospproxy.keys.signing_key import PublicKeys, Signer
from hospproxy.record.trail.current import RotationPlan
from hospproxy.record.trail.keeper import TrailKeeper
from hospproxy.record.trail.record_line import encode_record
from hospproxy.record.trail.upkeep import TrailUpkeep
from hospproxy.record.trail.verify import verify

GROUP = 500


def record(number: int) -> bytes:
    """A record of typical length."""
    return encode_record(
        {
            "v": 1,
            "kind": "request",
            "time": "2026-01-01T00:00:00.000Z",
            "duration_ms": 12.3,
            "request_id": f"{number:032x}",
            "who": {"id": number % 50, "name": f"Member {number % 50}", "certainty": "verified"},
            "own": None,
            "on_behalf_of": None,
            "client": {"address": "192.0.2.7", "peer": "10.0.0.1", "chain": ["10.0.0.1"], "scheme": "https"},
            "method": "GET",
            "route": "/patients/{id}",
            "action": "read",
            "resource": "patients",
            "record_id": str(number % 1000),
            "patient_id": str(number % 1000),
            "outcome": "success",
            "status": 200,
            "answered_by": "memory",
            "cache": "hospproxy; hit",
            "attempts": 0,
            "looks": 0,
            "rule_hits": [],
            "reference": None,
            "client_gone": False,
        }
    )


def _made(folder: Path, signer: Signer, records: int, *, packed: bool) -> None:
    keeper = TrailKeeper(folder, time.time, signer=signer, plan=RotationPlan())
    for start in range(0, records, GROUP):
        keeper.keep([record(number) for number in range(start, min(start + GROUP, records))])
    assert keeper.committed is not None
    last = keeper.committed
    keeper.close()
    if packed:
        TrailUpkeep(folder, signer, time.time).run(last)


def main() -> int:
    """Run the benchmark; the output is for people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--packed", action="store_true", help="pack closed files first, as the proxy does")
    given = parser.parse_args()
    signer = Signer.generate()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.monotonic()
        _made(folder, signer, given.records, packed=given.packed)
        made_s = time.monotonic() - began
        size = sum(path.stat().st_size for path in folder.glob("*.jsonl*"))
        began = time.monotonic()
        report = verify(folder, PublicKeys.of([signer.public_pem]))
        took_s = time.monotonic() - began
    records = sum(journal.records for journal in report.journals)
    print(
        f"{records} records in {report.journals[0].files} files, {size / 2**20:.0f} MiB, made in {made_s:.1f} s"
    )
    print(f"verified in {took_s:.2f} s: {records / took_s:,.0f} a second (aim: a million in less than 10 s)")
    return 1 if report.count else 0


if __name__ == "__main__":
    sys.exit(main())
