"""Make the secrets of a site into an empty folder, once: keys, passwords, a token, and Redis' list of users.

    python make_secrets.py FOLDER REDIS_CONF

Needs no package. Files that are there already are kept, so that it can run at each start. deploy/compose.yaml runs it
in a container; docs/kubernetes.md fills a Secret with what it makes.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import sys
from pathlib import Path

PLACEHOLDER = "REPLACE-BY-SHA256-OF-THE-PASSWORD"


def kept(path: Path, content: bytes) -> bytes:
    """Return a file's content; write it first if the file is missing (mode 0600, complete or not at all)."""
    if not path.exists():
        draft = path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    return path.read_bytes()


def users_of(redis_conf: str, password: bytes) -> str:
    """Return Redis' list of users: the lines of redis.conf that say what hospproxy may do, with its password."""
    lines = [line.strip() for line in redis_conf.splitlines() if re.match(r"\s*user\s", line)]
    users = "\n".join(lines) + "\n"
    if PLACEHOLDER not in users:
        raise SystemExit(f"✗ the users in redis.conf do not have {PLACEHOLDER} in place of a password")
    return users.replace(PLACEHOLDER, hashlib.sha256(password).hexdigest())


def main(folder: Path, redis_conf: Path) -> None:
    """Make what is missing."""
    kept(folder / "master.key", secrets.token_bytes(32))
    kept(folder / "database-password", secrets.token_hex(32).encode())
    kept(folder / "scrape-token", secrets.token_hex(32).encode())
    password = kept(folder / "redis-password", secrets.token_hex(32).encode())
    kept(folder / "redis.acl", users_of(redis_conf.read_text(), password).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
