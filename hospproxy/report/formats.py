"""What each format calls the values of a request: expressions of SQL over the fields of one line. Pure.

Each format reads ``lines(file, c1, c2, …)`` and has a ``select`` of the same columns, those of the table of requests:

- ``broken``: the line cannot be read; None if it is to be passed over (a comment, a record of another kind);
- ``moment``: the time of the response, UTC; ``client``: an address; ``method``; ``path``, without the query, which may
  name a patient, and only of slow requests, since no figure needs the others; ``route``: the path without its numbers;
  ``status``: None if there was no response; ``failed``;
- ``us``: microseconds until the response, None if they are not known; ``sent``: bytes to the client.

Of a broken line, ``client`` is its file and ``path`` its start: columns of their own would be empty in all other rows,
and take memory there.

Lines are hostile: a client chooses the path, the query, the user agent and more. So lines are taken apart at their
delimiter alone, whatever quotes they hold, and only as far as the path. What figures depend on stands before it.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from .log_files import Format

ALB_FIELDS: Final = (
    "type", "time", "elb", "client:port", "target:port", "request_processing_time", "target_processing_time",
    "response_processing_time", "elb_status_code", "target_status_code", "received_bytes", "sent_bytes",
    "request", "user_agent", "ssl_cipher", "ssl_protocol", "target_group_arn", "trace_id", "domain_name",
    "chosen_cert_arn", "matched_rule_priority", "request_creation_time", "actions_executed", "redirect_url",
    "error_reason", "target:port_list", "target_status_code_list", "classification", "classification_reason",
    "conn_trace_id", "transformed_host", "transformed_uri", "request_transform_status",
)  # fmt: skip
"""The fields of an entry, in order. Older entries end earlier, newer ones may go on: AWS adds fields at the end.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
"""

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE")
"""Others are shown as "-": a malformed request may have any text there."""

NO_METHOD: Final = "-"
NO_PATH: Final = "-"

_BETWEEN: Final = "BETWEEN TIMESTAMP '2000-01-01' AND TIMESTAMP '2100-01-01'"
_SANE: Final = f"moment {_BETWEEN}"
"""Also excludes "infinity", which SQL can read as a time."""

# Only a broken line is kept as it is, and only for it the fields are put together again. Each SELECT takes what the one
# inside of it has computed: a condition at the outside would take every line apart twice.
_SELECT: Final = (
    "SELECT broken, moment, CASE WHEN broken THEN file ELSE client END AS client, method,"
    " CASE WHEN broken THEN left({text}, {most}) WHEN us >= {slow_us} THEN path END AS path,"
    " left({route}, {longest}) AS route, status, {failed} AS failed, us, sent"
    " FROM (SELECT *, {broken} AS broken FROM (SELECT *, {values} FROM lines))"
)

SHOWN_TEXT: Final = 160
"""Characters of a broken line that are kept."""

LONGEST_ROUTE: Final = 500
"""Characters of a route that are kept; of longer ones, those with the same start are one."""

_MOST_HEAD: Final = 8192
"""Characters of a balancer's entry that are read. It takes no request line of more than 16 kB, and has about 200
characters before it; what a client may have made of a line does not become a list of a million texts."""

_USUAL_HEAD: Final = 256
"""Characters in which almost every entry has its URL: the rest is then not taken apart."""

ROUTE: Final = (
    "regexp_replace(CASE WHEN contains(path, '-') THEN regexp_replace(path,"
    r" '/[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b', '/{id}', 'g')"
    r" ELSE path END, '/[0-9]+\b', '/{id}', 'g')"
)
"""A path with its numbers and UUIDs replaced, so that requests for different records are one route."""

FAILED: Final = "coalesce(status >= 500 OR gone, true)"
"""No response, a 5xx, or the client left: what the status page counts as a failure too."""


@frozen(slots=True)
class LineReader:
    """How the lines of a format are taken apart.

    :param delimiter: between fields; as SQL.
    :param columns: fields that are read, from the first; what follows in a line is passed over.
    :param select: the statement over ``lines``.
    """

    delimiter: str
    columns: int
    select: str


def _reader(delimiter: str, columns: int, broken: str, values: str, slow_us: int) -> LineReader:
    text = (
        "c1"
        if columns == 1
        else f"concat_ws({delimiter}, {', '.join(f'c{n}' for n in range(1, columns + 1))})"
    )
    select = _SELECT.format(
        text=text,
        most=SHOWN_TEXT,
        longest=LONGEST_ROUTE,
        route=ROUTE,
        failed=FAILED,
        broken=broken,
        values=values,
        slow_us=slow_us,
    )
    return LineReader(delimiter, columns, select)


def _field(name: str) -> str:
    return f"cells[{ALB_FIELDS.index(name) + 1}]"


def _micros(seconds: str) -> str:
    """Exact: a decimal has no "nan" and no rounding. What lasts longer than 11 days is no duration."""
    return f"TRY_CAST(TRY_CAST({seconds} AS DECIMAL(12, 6)) * 1000000 AS BIGINT)"


def _method(text: str, before: str = "") -> str:
    """A method that is known, or NO_METHOD.

    :param before: a character that stands before it.
    """
    known = " ".join(f"WHEN '{before}{method}' THEN '{method}'" for method in METHODS)
    return f"CASE {text} {known} ELSE '{NO_METHOD}' END"


def _alb(slow_us: int) -> LineReader:
    # DuckDB takes a whole line as one text faster than it looks for the blanks in all of it; so only the part that is
    # needed is split. The request line is the first quoted field, and ends this reading: its method with the quote,
    # then its URL. A 15th cell says that the URL is complete.
    verb = _field("request")
    url = "cells[14]"
    times = ("request_processing_time", "target_processing_time", "response_processing_time")
    spent = [_micros(_field(name)) for name in times]
    known = " AND ".join(f"{each} >= 0" for each in spent)
    status, address = _field("elb_status_code"), _field("client:port")
    values = ", ".join(
        (
            f"string_split(left(c1, {_USUAL_HEAD}), ' ') AS first_cells",
            f"CASE WHEN len(first_cells) > 14 THEN first_cells ELSE string_split(left(c1, {_MOST_HEAD}), ' ') END"
            " AS cells",
            f"TRY_CAST({_field('time')} AS TIMESTAMP) AS moment",
            f"left({address}, greatest(length({address}) - length(split_part({address}, ':', -1)) - 1, 0)) AS client",
            f"{_method(verb, chr(34))} AS method",
            f"CASE WHEN strpos({url}, '://') > 0 THEN substr({url}, strpos({url}, '://') + 3) END AS authority",
            "strpos(authority, '/') AS path_begin",
            "strpos(authority, '?') AS query_begin",
            # A "?" before the first "/" begins no query of this path.
            f"CASE WHEN coalesce(path_begin, 0) = 0 THEN '{NO_PATH}' WHEN query_begin = 0 THEN"
            " substr(authority, path_begin) WHEN query_begin > path_begin THEN"
            " substr(authority, path_begin, query_begin - path_begin)"
            " ELSE split_part(substr(authority, path_begin), '?', 1) END AS path",
            f"TRY_CAST({status} AS SMALLINT) AS status",
            # 460: the client closed the connection before the balancer could respond.
            "status IS NOT DISTINCT FROM 460 AS gone",
            # -1: the time is not known.
            f"CASE WHEN {known} THEN {' + '.join(spent)} END AS us",
            f"nullif(TRY_CAST({_field('sent_bytes')} AS BIGINT), -1) AS sent",
        )
    )
    broken = (
        # A CASE, not an AND: DuckDB computes both sides of an AND for each row, and trim() takes long.
        "CASE WHEN c1 IS NULL OR CASE WHEN starts_with(c1, ' ') THEN trim(c1) = '' ELSE false END THEN NULL ELSE"
        f" coalesce(NOT starts_with({verb}, '\"') OR coalesce({url}, '') = '' OR NOT {_SANE}"
        f" OR (status IS NULL AND {status} <> '-') OR status NOT BETWEEN 0 AND 999, true) END"
    )
    return _reader("chr(1)", 1, broken, values, slow_us)


_CLOUDFRONT: Final = (
    "date",
    "time",
    "c-ip",
    "cs-method",
    "cs-uri-stem",
    "sc-status",
    "time-taken",
    "sc-bytes",
)


def _cloudfront(fields: tuple[str, ...], slow_us: int) -> LineReader:
    def of(name: str) -> str:
        return f"c{fields.index(name) + 1}" if name in fields else "NULL::VARCHAR"

    values = ", ".join(
        (
            f"TRY_CAST({of('date')} || ' ' || {of('time')} AS TIMESTAMP) AS moment",
            f"coalesce({of('c-ip')}, '-') AS client",
            f"{_method(of('cs-method'))} AS method",
            f"coalesce({of('cs-uri-stem')}, '{NO_PATH}') AS path",
            f"TRY_CAST({of('sc-status')} AS SMALLINT) AS told",
            # 000: the client closed the connection before CloudFront could respond.
            "nullif(told, 0) AS status",
            "told IS NOT DISTINCT FROM 0 AS gone",
            f"{_micros(of('time-taken'))} AS taken",
            "CASE WHEN taken >= 0 THEN taken END AS us",
            f"TRY_CAST({of('sc-bytes')} AS BIGINT) AS sent",
        )
    )
    broken = (
        "CASE WHEN starts_with(c1, '#') OR c1 IS NULL AND c2 IS NULL THEN NULL ELSE"
        f" coalesce(NOT {_SANE} OR told IS NULL OR told NOT BETWEEN 0 AND 999, true) END"
    )
    last = max((fields.index(name) for name in _CLOUDFRONT if name in fields), default=0)
    return _reader("chr(9)", max(2, last + 1), broken, values, slow_us)


_NAMES: Final = (
    "$.kind", "$.time", "$.client.address", "$.method", "$.route", "$.status", "$.client_gone", "$.duration_ms",
    "$.http.sent",
)  # fmt: skip


def _journal(slow_us: int) -> LineReader:
    names = ", ".join(f"'{name}'" for name in _NAMES)
    kind, time, client, method, route, status, gone, duration, sent = (f"cells[{n}]" for n in range(1, 10))
    values = ", ".join(
        (
            "json_valid(c1) AS valid",
            f"CASE WHEN valid THEN json_extract_string(c1, [{names}]) ELSE []::VARCHAR[] END AS cells",
            f"TRY_CAST(TRY_CAST({duration} AS DECIMAL(15, 3)) * 1000 AS BIGINT) AS us",
            # A record says when the request arrived; a balancer's entry says when its response was ready.
            f"TRY_CAST({time} AS TIMESTAMP) AS arrived",
            f"CASE WHEN arrived {_BETWEEN} THEN arrived + to_microseconds(coalesce(us, 0)) END AS moment",
            f"coalesce({client}, '-') AS client",
            f"{_method(method)} AS method",
            # The access log has a path there, as every log has; so the same routes get the same name.
            f"CASE {route} WHEN 'unknown' THEN '/unknown' ELSE coalesce({route}, '{NO_PATH}') END AS path",
            f"{gone} IS NOT DISTINCT FROM 'true' AS gone",
            # 460, as a balancer says it: what became of a write that its client did not wait for is another figure.
            f"CASE WHEN gone THEN 460 ELSE TRY_CAST({status} AS SMALLINT) END AS status",
            f"TRY_CAST({sent} AS BIGINT) AS sent",
        )
    )
    # An own request of the proxy has another kind: the client did not send it.
    broken = (
        f"CASE WHEN c1 IS NULL OR trim(c1) = '' OR (valid AND {kind} IS DISTINCT FROM 'request') THEN NULL"
        f" ELSE coalesce(NOT valid OR NOT {_SANE}, true) END"
    )
    return _reader("chr(1)", 1, broken, values, slow_us)


def reader(format: Format, fields: tuple[str, ...] = (), slow_us: int = 0) -> LineReader:
    """How the lines of a format are read.

    :param fields: of CloudFront; other names than those that the report reads do no harm.
    :param slow_us: paths are kept of requests that took at least this many microseconds.
    """
    if format is Format.ALB:
        return _alb(slow_us)
    return _cloudfront(fields, slow_us) if format is Format.CLOUDFRONT else _journal(slow_us)
