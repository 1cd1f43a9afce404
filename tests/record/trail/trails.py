"""Trails on a real disk, as a proxy leaves them: several files, restarts, torn lines, packed and removed files."""

from __future__ import annotations

import gzip
from pathlib import Path

from hospproxy.keys.signing_key import PublicKeys, Signer
from hospproxy.record.trail.current import RotationPlan
from hospproxy.record.trail.files import OsFiles
from hospproxy.record.trail.keeper import TrailKeeper
from hospproxy.record.trail.names import parse
from hospproxy.record.trail.record_line import encode_record
from hospproxy.record.trail.upkeep import TrailUpkeep
from hospproxy.record.trail.verify import VerifyReport, verify

SIGNER = Signer.generate()
KEYS = PublicKeys.of([SIGNER.public_pem])
EPOCH = 1_700_000_000.0
DAY = 86_400.0


def lines(first: int, count: int) -> list[bytes]:
    """So many records; each differs from every other."""
    numbers = range(first, first + count)
    return [
        encode_record({"v": 1, "kind": "request", "n": n, "time": f"t{n}", "filler": "x" * (n % 7)})
        for n in numbers
    ]


class Trail:
    """A folder in which time passes.

    :param folder: created by this class.
    """

    def __init__(self, folder: Path, signer: Signer = SIGNER) -> None:
        self.folder = folder
        self.signer = signer
        self.now = EPOCH
        self.count = 0
        self.keeper: TrailKeeper | None = None
        self.files = OsFiles()
        self.plan = RotationPlan(rotate_bytes=3000, rotate_s=2 * DAY, digest_s=3600)

    def wall(self) -> float:
        return self.now

    def start(self) -> TrailKeeper:
        self.files = OsFiles()
        self.keeper = TrailKeeper(self.folder, self.wall, self.files, signer=self.signer, plan=self.plan)
        self.keeper.open()
        return self.keeper

    def keep(self, records: int, group: int = 3) -> None:
        keeper = self.keeper or self.start()
        while records > 0:
            keeper.keep(lines(self.count, min(group, records)))
            self.count += min(group, records)
            records -= group
            self.now += 60

    def stop(self) -> None:
        assert self.keeper is not None
        self.keeper.close()
        self.keeper = None

    def crash(self, torn: bytes = b"") -> None:
        """End the process as kill -9 does."""
        assert self.keeper is not None
        assert self.keeper.path is not None
        with self.keeper.path.open("ab") as file:
            file.write(torn)
        self.files.release()
        self.keeper = None

    def tend(self, retention_days: float = 0.0) -> None:
        keeper = self.keeper or self.start()
        assert keeper.committed is not None
        done = TrailUpkeep(self.folder, self.signer, self.wall, retention_days).run(keeper.committed)
        assert done.troubles == [], done.troubles

    @property
    def paths(self) -> list[Path]:
        """The journal's files in their order."""
        return sorted(path for path in self.folder.iterdir() if parse(path.name) is not None)

    @property
    def head(self) -> str:
        """The hash of the newest complete record, as an auditor may have noted it elsewhere."""
        from hashlib import sha256

        return sha256(read(self.paths[-1]).split(b"\n")[-2]).hexdigest()

    def verify(self, *anchors: str) -> VerifyReport:
        return verify(self.folder, KEYS, anchors)


def read(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def write(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def eventful(folder: Path) -> Trail:
    """A trail with every kind of file: w0 with removed, packed, closed, torn and open files, and w1 beside it."""
    trail = Trail(folder)
    trail.keep(30)
    trail.now += 10 * DAY
    trail.tend(retention_days=5)
    trail.keep(20)
    trail.tend()
    trail.crash(b'{"v":1,"kind":"requ')
    trail.start()
    other = Trail(folder)
    other.now = trail.now
    other.keep(5)
    other.stop()
    trail.keep(7)
    trail.stop()
    trail.start()
    trail.keep(4)
    trail.now += 4000
    assert trail.keeper is not None
    trail.keeper.tend()
    trail.keep(10)
    trail.crash(b'{"torn')
    return trail
