"""The section [traces]; sections.py has the others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from attrs import field, frozen
from attrs.converters import optional

from .fields import names, number, path, switch, web_url, word

MOST_BYTES = 16_384
_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}):[ \t]*([ -~]*[!-~])[ \t]*")
_OURS = frozenset({"content-type", "content-length", "host", "connection", "transfer-encoding"})


def read_headers(file: Path) -> dict[str, str]:
    """Read the file ``traces.headers_file``: a line ``Name: value`` for each field.

    :raise OSError: it cannot be read.
    :raise ValueError: a line is no field, or sets one that the proxy sets.
    """
    with file.open("rb") as opened:
        content = opened.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is longer than {MOST_BYTES} bytes")
    found = {}
    for number_of_line, line in enumerate(content.decode("latin-1").splitlines(), 1):
        if not line.strip():
            continue
        matched = _LINE.fullmatch(line)
        if matched is None or matched[1].lower() in _OURS:
            raise ValueError(f"line {number_of_line} is no field of a request: write Name: value")
        found[matched[1]] = matched[2]
    return found


@frozen(slots=True, kw_only=True)
class TracesSettings:
    """Traces, sent to an OpenTelemetry collector. Off by default."""

    LIVE: ClassVar = names("")
    RESTART: ClassVar = names("endpoint sample follow_parent service headers_file ca_file")

    endpoint: str | None = field(
        default=None,
        metadata=web_url(
            "Where spans are posted as OTLP/HTTP JSON, like `http://127.0.0.1:4318/v1/traces`. Without it nothing"
            " is traced."
        ),
    )
    sample: float = field(
        default=0.05, metadata=number("share", 0, 1, "Share of the requests that are traced.")
    )
    follow_parent: bool = field(
        default=False,
        metadata=switch(
            "A request with a valid `traceparent` is traced if, and only if, its sampled flag is set. Anybody who can"
            " send requests can then have them traced."
        ),
    )
    service: str = field(
        default="hospproxy", metadata=word(100, "Name of this service in traces (`service.name`).")
    )
    headers_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path(
            "File with fields for each POST, such as a collector's token: a line `Name: value` for each."
        ),
    )
    ca_file: Path | None = field(
        default=None,
        converter=optional(Path),
        metadata=path("CA certificates (PEM) to trust for the collector, instead of the system's."),
    )
