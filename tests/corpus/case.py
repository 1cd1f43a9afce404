"""The form of a case."""

from __future__ import annotations

from attrs import evolve, field, frozen

from hospproxy.options.arrival_section import ArrivalSettings

LIMITS = ArrivalSettings(
    header_timeout_s=10,
    body_timeout_s=60,
    keep_alive_s=75,
    linger_s=2,
    body_memory_bytes=1 << 22,
    unknown_body_bytes=0,
)
BODY_LIMIT = 64 * 1024


def body_limit(method: str, path: bytes) -> int:
    """What the corpus takes for a limit: small, so that going beyond it is cheap."""
    return BODY_LIMIT


def in_short(limits: ArrivalSettings) -> ArrivalSettings:
    """The same limits with clocks that a test over real sockets can wait for."""
    return evolve(limits, header_timeout_s=1.5, body_timeout_s=0.6, keep_alive_s=0.6, linger_s=0.3)


@frozen
class Passed:
    """A request that reaches the handler in exactly this form."""

    method: str
    target: bytes
    body: bytes | None = None

    @classmethod
    def parse(cls, text: str) -> Passed:
        """``GET /a?b``, ``POST / | hello``."""
        start, bar, body = text.partition(" |")
        method, _, target = start.partition(" ")
        return cls(
            method, target.encode("latin-1"), body.removeprefix(" ").encode("latin-1") if bar else None
        )


@frozen
class Case:
    """The bytes of one connection.

    :param section: of RFC 9112 or RFC 9110.
    :param raw: what the client sends before it falls silent.
    :param expected: results in order: a request passed on, or the status of arrival's own rejection.
    :param without: fields that must not reach the handler.
    :param having: fields that must reach the handler with this value.
    :param host: the client's Host as the handler must see it.
    """

    section: str
    name: str
    raw: bytes = field(repr=False)
    expected: tuple[Passed | int, ...]
    without: tuple[bytes, ...] = ()
    having: tuple[tuple[bytes, bytes], ...] = ()
    host: str | None = None

    @property
    def statuses(self) -> list[int]:
        return [each if isinstance(each, int) else 200 for each in self.expected]

    @property
    def passed(self) -> list[Passed]:
        return [each for each in self.expected if isinstance(each, Passed)]


def case(section: str, name: str, raw: bytes, *expected: str | int, **more: object) -> Case:
    """Write a case down: what is expected as ``"GET /"``, ``"POST / | body"`` or a status."""
    outcomes = tuple(each if isinstance(each, int) else Passed.parse(each) for each in expected)
    return Case(section, name, raw, outcomes, **more)  # type: ignore[arg-type]


def get(target: bytes = b"/", *fields: bytes, host: bytes = b"a", version: bytes = b"1.1") -> bytes:
    """A GET that is sound but for what it is given."""
    return request(b"GET", target, *fields, host=host, version=version)


def post(body: bytes, *fields: bytes, target: bytes = b"/", version: bytes = b"1.1") -> bytes:
    """A POST of which the fields say where the body ends."""
    return request(b"POST", target, *fields, version=version) + body


def chunked(body: bytes, *fields: bytes) -> bytes:
    """A POST with a chunked body, given as it is on the wire."""
    return post(body, b"Transfer-Encoding: chunked", *fields)


def request(
    method: bytes, target: bytes, *fields: bytes, host: bytes = b"a", version: bytes = b"1.1"
) -> bytes:
    """A head with a Host and these fields."""
    lines = [b"%s %s HTTP/%s" % (method, target, version), b"Host: " + host, *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def raw(*lines: bytes) -> bytes:
    """Lines with CRLF after each, and an empty one."""
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n"
