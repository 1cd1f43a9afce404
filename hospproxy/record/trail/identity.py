"""Which trail this is: two machines both have a journal w0."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from ...secrets import KeyFileError, make_key_file, read_key_file

FILE = "trail-id"
_ID = re.compile(r"[0-9a-f]{16}")


def trail_id(directory: Path, entropy: Callable[[int], bytes] = os.urandom) -> str:
    """16 hexadecimal digits, made at random when the trail is begun; the same ever after. Blocks.

    :param directory: of the records.
    :param entropy: gives so many random bytes.
    :raise OSError: the file cannot be read, made or understood.
    """
    path = directory / FILE
    if not path.exists():
        make_key_file(path, entropy(8).hex().encode() + b"\n")
    try:
        found = read_key_file(path, 64).decode("ascii").strip()
    except (KeyFileError, UnicodeDecodeError) as error:
        raise OSError(str(error)) from error
    if not _ID.fullmatch(found):
        raise OSError(f"{path} does not hold 16 hexadecimal digits")
    return found
