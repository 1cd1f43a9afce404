"""Names of closed files and keys of objects, as Elastic Load Balancing gives them. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from attrs import frozen

SUFFIX: Final = ".log.gz"
_NAME = re.compile(
    r"(?P<account>\d{12})_elasticloadbalancing_(?P<region>[a-z0-9-]+)_app\.[A-Za-z0-9-]+\.[0-9a-f]{16}"
    r"_(?P<end>\d{8}T\d{4}Z)_[0-9a-fA-F.:]+_[0-9a-z]{8}\.log\.gz"
)
_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


@frozen(slots=True)
class FileNames:
    """Makes the names of a machine's files.

    :param account: twelve digits.
    :param name: of the proxy.
    :param address: of the machine.
    """

    account: str
    region: str
    name: str
    address: str

    def closed(self, machine: str, end: float, random: bytes) -> str:
        """Make the name under which a file is closed.

        :param machine: 16 hexadecimal digits.
        :param end: end of the interval that it covers, in seconds since the epoch.
        :param random: eight bytes, which tell files of one interval apart.
        """
        at = datetime.fromtimestamp(end, UTC)
        suffix = "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in random[:8])
        balancer = f"app.{self.name}.{machine}"
        return (
            f"{self.account}_elasticloadbalancing_{self.region}_{balancer}_{at:%Y%m%dT%H%MZ}_{self.address}_{suffix}"
            + SUFFIX
        )


def is_closed_name(name: str) -> bool:
    """Whether this is the name of a closed file."""
    return _NAME.fullmatch(name) is not None


def key_of(prefix: str, name: str) -> str:
    """The key of the object for a closed file: ``PREFIX/AWSLogs/ACCOUNT/elasticloadbalancing/REGION/yyyy/mm/dd/NAME``.

    :param prefix: without a slash at its end; may be empty.
    :raise ValueError: it is not the name of a closed file.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"{name} is not the name of a closed access log")
    day = found["end"]
    parts = (
        prefix, "AWSLogs", found["account"], "elasticloadbalancing", found["region"],
        day[:4], day[4:6], day[6:8], name,
    )  # fmt: skip
    return "/".join(part for part in parts if part)


def end_of(name: str) -> str:
    """The end of a closed file's interval, as text that sorts by time; "" for another name."""
    found = _NAME.fullmatch(name)
    return "" if found is None else found["end"]
