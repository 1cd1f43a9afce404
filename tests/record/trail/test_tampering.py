"""Every later change to a trail is found, and nothing is reported for an unchanged one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.keys.signing_key import Signer
from hospproxy.record.trail.hash_chain import ChainHead, link_of, linked, linked_and_signed
from hospproxy.record.trail.names import parse

from .trails import KEYS, Trail, eventful, read, verify, write

FORGER = Signer.generate()


def _pick_lines(random: Random, folder: Path) -> tuple[Path, list[bytes]]:
    path = random.choice([path for path in _files(folder) if path.suffix != ".tombstone"])
    return path, read(path).splitlines(keepends=True)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if parse(path.name) is not None)


def change(random: Random, folder: Path) -> None:
    """Change one byte of one line, possibly its end."""
    path, lines = _pick_lines(random, folder)
    at = random.randrange(len(lines))
    line = bytearray(lines[at])
    place = random.randrange(len(line))
    line[place] = random.choice([byte for byte in b'0123456789abcdefz{}", \n' if byte != line[place]])
    write(path, b"".join([*lines[:at], bytes(line), *lines[at + 1 :]]))


def remove(random: Random, folder: Path) -> None:
    path, lines = _pick_lines(random, folder)
    first = random.randrange(len(lines))
    del lines[first : first + random.randint(1, 3)]
    write(path, b"".join(lines))


def insert(random: Random, folder: Path) -> None:
    path, lines = _pick_lines(random, folder)
    new = random.choice([random.choice(lines), b'{"v":1,"kind":"request"}\n', b"\n", b"x"])
    lines.insert(random.randrange(len(lines)), new)
    write(path, b"".join(lines))


def reorder(random: Random, folder: Path) -> None:
    path, lines = _pick_lines(random, folder)
    one, other = random.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]
    write(path, b"".join(lines))


def cut(random: Random, folder: Path) -> None:
    path = random.choice(_files(folder))
    content = read(path)
    whole = content.rindex(b"\n") + 1 if path in _newest(folder) else len(content)
    write(path, content[: random.randrange(whole)])


def append(random: Random, folder: Path) -> None:
    """Behind a file that is over; behind the newest it is what a crash leaves too, unless it is a whole line."""
    path = random.choice(_files(folder))
    content = read(path)
    write(
        path, content + (b"x\n" if path in _newest(folder) else random.choice([b"x", b"\n", b" ", b'{"torn']))
    )


def delete(random: Random, folder: Path) -> None:
    random.choice(_files(folder)).unlink()


def rename(random: Random, folder: Path) -> None:
    path = random.choice(_files(folder))
    name = parse(path.name)
    assert name is not None
    other = random.choice(
        [
            name.name.replace(f"-{name.number:08d}-", f"-{name.number + random.choice([-1, 1, 50]):08d}-"),
            name.name.replace("Z.jsonl", "Z.jsonl.bak"),
            name.name.replace("-w", "-w1"),
            name.name.replace("-2023", "-2022"),
        ]
    )
    path.rename(folder / other)


def swap(random: Random, folder: Path) -> None:
    files = [path for path in _files(folder) if path.suffix != ".tombstone"]
    one, other = random.sample(files, 2)
    first, second = read(one), read(other)
    write(one, second)
    write(other, first)


def edit_digest(random: Random, folder: Path) -> None:
    """Change a field of a signed record, or its signature."""
    path = random.choice([path for path in _files(folder) if b'"signature"' in read(path)])
    lines = read(path).splitlines(keepends=True)
    at = random.choice([at for at, line in enumerate(lines) if b'"signature"' in line])
    before = random.choice(
        [b'"records":', b'"sha256":"', b'"head":"', b'"time":"', b'"signature":"', b'"key":"', b'"v":']
    )
    place = lines[at].find(before)
    place = place + len(before) if place >= 0 else 5
    old = lines[at][place : place + 1]
    lines[at] = lines[at][:place] + (b"7" if old != b"7" else b"8") + lines[at][place + 1 :]
    write(path, b"".join(lines))


def chain_anew(random: Random, folder: Path) -> None:
    """Whoever knows how the chain is made changes a record and computes all that follow in that file; with a key of
    his own he signs them too."""
    path, lines = _pick_lines(random, folder)
    whole = [line[:-1] for line in lines if line.endswith(b"\n")]
    at = random.randrange(len(whole))
    link = link_of(whole[at])
    assert link is not None
    head = ChainHead(link.seq - 1, link.prev)
    sign = FORGER.sign if random.random() < 0.5 else None
    made = whole[:at]
    for number, line in enumerate(whole[at:]):
        bare = line[: line.rindex(b',"seq":')] + b"}"
        if number == 0:
            bare = bare[:-1] + b',"changed":true}'
        if sign is not None and b'"signature"' in line:
            new, head = linked_and_signed(bare, head, sign)
        else:
            [new], head = linked([bare], head)
        made.append(new)
    torn = b"" if lines[-1].endswith(b"\n") else lines[-1]
    write(path, b"\n".join([*made, torn]))


def _newest(folder: Path) -> list[Path]:
    """The newest file of each journal."""
    return list({path.name[:8]: path for path in _files(folder)}.values())


TAMPERINGS: list[Callable[[Random, Path], None]] = [
    change, remove, insert, reorder, cut, append, delete, rename, swap, edit_digest, chain_anew,
]  # fmt: skip


def _snapshot(folder: Path) -> dict[str, bytes]:
    """What is in the folder, but the torn end of the newest file: nobody has said what it was."""
    found = {path.name: read(path) for path in _files(folder)}
    for newest in _newest(folder):
        found[newest.name] = found[newest.name][: found[newest.name].rfind(b"\n") + 1]
    return found


class Tampering(SynchronousTestCase):
    def setUp(self) -> None:
        self.trail = eventful(Path(self.mktemp()))
        self.other_head = sha256(read(self.trail.folder / self._last("w1")).split(b"\n")[-2]).hexdigest()

    def _last(self, journal: str) -> str:
        return [path.name for path in self.trail.paths if f"-{journal}-" in path.name][-1]

    def _head(self) -> str:
        return sha256(read(self.trail.folder / self._last("w0")).split(b"\n")[-2]).hexdigest()

    def test_nothing_is_found_where_nothing_was_done(self) -> None:
        forms = {path.suffix for path in self.trail.paths}
        self.assertEqual(forms, {".jsonl", ".gz", ".tombstone"})
        report = self.trail.verify(self._head(), self.other_head)
        self.assertEqual(report.problems, [])
        self.assertEqual([journal.head for journal in report.journals], [self._head(), self.other_head])

    def test_a_tombstone_that_lacks_the_end_of_its_line(self) -> None:
        """A change of the last byte alone, which random changes would hit once in thirty thousand."""
        [path] = [path for path in self.trail.paths if path.suffix == ".tombstone"]
        write(self.trail.folder / path.name, read(self.trail.folder / path.name)[:-1])
        problems = self.trail.verify(self._head(), self.other_head).problems
        self.assertTrue(problems and problems[0].startswith(path.name), problems)

    def test_whatever_is_done_is_found(self) -> None:
        anchors = (self._head(), self.other_head)

        @settings(
            max_examples=1000,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        )
        @given(st.sampled_from(TAMPERINGS), st.integers(0, 2**32))
        def found(tamper: Callable[[Random, Path], None], number: int) -> None:
            with tempfile.TemporaryDirectory(dir=self.trail.folder.parent) as name:
                folder = Path(name) / "trail"
                shutil.copytree(self.trail.folder, folder)
                before = _snapshot(folder)
                tamper(Random(number), folder)
                report = verify(folder, KEYS, anchors)
                if _snapshot(folder) == before:
                    self.assertEqual(report.problems, [])
                else:
                    self.assertNotEqual(report.problems, [], f"{tamper.__name__} {number}")

        found()


class Untouched(SynchronousTestCase):
    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("keep"), st.integers(1, 40)),
                st.tuples(st.just("pass"), st.sampled_from([100.0, 4000.0, 200_000.0, 1_000_000.0])),
                st.sampled_from(
                    [("stop", 0), ("crash", 0), ("crash", 9), ("tend", 0), ("tend", 3), ("tick", 0)]
                ),
            ),
            max_size=25,
        )
    )
    def test_nothing_is_found_in_what_any_life_leaves(self, events: list[tuple[str, float]]) -> None:
        with tempfile.TemporaryDirectory() as name:
            trail = Trail(Path(name) / "trail")
            trail.start()
            for what, much in events:
                if what != "pass" and trail.keeper is None:
                    trail.start()
                self._happens(trail, what, much)
            report = trail.verify()
            self.assertEqual(report.problems, [])
            self.assertEqual(len(report.journals), 1)

    def _happens(self, trail: Trail, what: str, much: float) -> None:
        if what == "keep":
            trail.keep(int(much))
        elif what == "pass":
            trail.now += much
        elif what == "stop":
            trail.stop()
        elif what == "crash":
            trail.crash(b'{"torn and lost"'[: int(much)])
        elif what == "tend":
            trail.tend(much)
        else:
            assert trail.keeper is not None
            trail.keeper.tend()
