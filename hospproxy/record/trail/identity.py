"""The trail's id. It tells trails apart where two machines both have a journal w0."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from ...keys.secrets import KeyFileError, read_key_file
from ...process.folders import create_whole

FILE = "trail-id"
_ID = re.compile(r"[0-9a-f]{16}")


def trail_id(directory: Path, entropy: Callable[[int], bytes] = os.urandom) -> str:
    """The trail's id: 16 hexadecimal digits, chosen at random at the first call and kept for good. Blocks.

    :param directory: the folder of the records.
    :param entropy: returns that many random bytes.
    :raise OSError: the file cannot be read or made, or its content is not an id.
    """
    path = directory / FILE
    if not path.exists():
        create_whole(path, entropy(8).hex().encode() + b"\n")
    try:
        found = read_key_file(path, 64).decode("ascii").strip()
    except (KeyFileError, UnicodeDecodeError) as error:
        raise OSError(str(error)) from error
    if not _ID.fullmatch(found):
        raise OSError(f"{path} does not hold 16 hexadecimal digits: restore it from a backup")
    return found
