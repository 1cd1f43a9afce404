"""What makes a start quick: few garbage collections, and no library imported that only some configurations need."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.process import collector
from hospproxy.process.host import REAL

ROOT = Path(__file__).resolve().parent.parent
_OPTIONAL = ("boto3", "duckdb", "fakeredis", "jinja2", "psycopg", "sqlalchemy")
_PARSE_AS_TWISTD = """
import gc
from hospproxy.tap import Options
options = Options()
options.parent = {}
options.parseOptions(["--upstream", "http://127.0.0.1:1", "--state", "state"])
print(gc.get_threshold()[0])
"""


def _printed(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


class StartTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)

    def test_a_start_collects_rarely_and_serving_more_often(self) -> None:
        collector.begin_start()
        starting = gc.get_threshold()[0]
        REAL.settle()
        serving = gc.get_threshold()[0]
        self.assertGreater(starting, serving)
        self.assertGreater(serving, 700)
        self.assertGreater(gc.get_freeze_count(), 10_000, "the modules are not frozen")

    def test_twistd_begins_it(self) -> None:
        collector.begin_start()
        self.assertEqual(_printed(_PARSE_AS_TWISTD), [str(gc.get_threshold()[0])])

    def test_optional_libraries_are_not_imported(self) -> None:
        program = f"import sys, hospproxy.service.service; print(*({set(_OPTIONAL)} & set(sys.modules)))"
        self.assertEqual(_printed(program), [])
