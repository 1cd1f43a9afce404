"""``python deploy/rollout``: see ``command.py``."""

from __future__ import annotations

import sys
from pathlib import Path

# Python has put this folder on the path; its modules import each other as a package.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from rollout.command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
