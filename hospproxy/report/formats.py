"""What each format calls the values of a request: expressions of SQL over one line. Pure.

Each format has a ``select`` of the same columns from ``lines(file, line)``:

- ``broken``: the line cannot be read; None if it is to be passed over (a comment, a record of another kind);
- ``moment``: the time of the response, UTC; ``client``: an address; ``method``; ``path``, without the query, which may
  name a patient; ``status``: None if there was no response; ``gone``: the client left before its response;
- ``us``: microseconds until the response, None if they are not known; ``sent``: bytes to the client.

Lines are hostile: a client chooses the path, the query, the user agent and more. So the values that figures depend on
stand where the format puts them before any text of a client, and are found by position.
"""

from __future__ import annotations

from typing import Final

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

NO_PATH: Final = "-"

_SANE: Final = "moment BETWEEN TIMESTAMP '2000-01-01' AND TIMESTAMP '2100-01-01'"
"""Also excludes "infinity", which SQL can read as a time."""

_FROM: Final = "FROM (SELECT *, {values} FROM (SELECT *, {parts} FROM lines))"
_COLUMNS: Final = (
    "SELECT file, line, {broken} AS broken, moment, client, method, path, status, gone, us, sent "
)


def _field(name: str) -> str:
    """One of the twelve fields before the first quote."""
    return f"head[{ALB_FIELDS.index(name) + 1}]"


def _micros(seconds: str) -> str:
    """Exact: a decimal has no "nan" and no rounding. What lasts longer than 11 days is no duration."""
    return f"TRY_CAST(TRY_CAST({seconds} AS DECIMAL(12, 6)) * 1000000 AS BIGINT)"


def _method(text: str) -> str:
    names = ", ".join(f"'{method}'" for method in METHODS)
    return f"CASE WHEN {text} IN ({names}) THEN {text} ELSE '-' END"


def _alb() -> str:
    parts = ", ".join(
        (
            "strpos(line, ' \"') AS quote",
            "CASE WHEN quote > 0 THEN string_split(left(line, quote - 1), ' ') END AS head",
            "substr(line, quote + 2) AS rest",
            # The request line ends where the next quoted field begins. A client that writes the same characters into
            # its URL shortens its own path, and nothing else.
            "CASE WHEN strpos(rest, '\" \"') > 0 THEN left(rest, strpos(rest, '\" \"') - 1) END AS request",
            "split_part(request, ' ', 2) AS url",
            "CASE WHEN strpos(url, '://') > 0 THEN substr(url, strpos(url, '://') + 3) END AS authority",
        )
    )
    times = ("request_processing_time", "target_processing_time", "response_processing_time")
    spent = [_micros(_field(name)) for name in times]
    status = _field("elb_status_code")
    address, verb = _field("client:port"), "split_part(request, ' ', 1)"
    known = " AND ".join(f"{each} IS NOT NULL" for each in spent)
    values = ", ".join(
        (
            f"TRY_CAST({_field('time')} AS TIMESTAMP) AS moment",
            f"left({address}, greatest(length({address}) - length(split_part({address}, ':', -1)) - 1, 0)) AS client",
            f"{_method(verb)} AS method",
            f"CASE WHEN strpos(authority, '/') > 0 THEN split_part(substr(authority, strpos(authority, '/')), '?', 1)"
            f" ELSE '{NO_PATH}' END AS path",
            f"TRY_CAST({status} AS SMALLINT) AS status",
            # 460: the client closed the connection before the balancer could respond.
            "status IS NOT DISTINCT FROM 460 AS gone",
            # -1: the time is not known. least() passes over NULL.
            f"CASE WHEN {known} AND least({', '.join(spent)}) >= 0 THEN {' + '.join(spent)} END AS us",
            f"TRY_CAST({_field('sent_bytes')} AS BIGINT) AS sent",
        )
    )
    broken = (
        f"coalesce(len(head) <> 12 OR request IS NULL OR NOT {_SANE} OR (status IS NULL AND {status} <> '-')"
        " OR status NOT BETWEEN 0 AND 999, true)"
    )
    return _COLUMNS.format(broken=broken) + _FROM.format(parts=parts, values=values)


def _cloudfront(fields: tuple[str, ...]) -> str:
    def of(name: str) -> str:
        return f"cells[{fields.index(name) + 1}]" if name in fields else "NULL::VARCHAR"

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
        "CASE WHEN starts_with(line, '#') THEN NULL ELSE"
        f" coalesce(len(cells) < {len(fields)} OR NOT {_SANE} OR told IS NULL OR told NOT BETWEEN 0 AND 999, true) END"
    )
    return _COLUMNS.format(broken=broken) + _FROM.format(
        parts="string_split(line, chr(9)) AS cells", values=values
    )


_NAMES: Final = (
    "$.kind", "$.time", "$.client.address", "$.method", "$.route", "$.status", "$.client_gone", "$.duration_ms",
)  # fmt: skip


def _journal() -> str:
    names = ", ".join(f"'{name}'" for name in _NAMES)
    kind, time, client, method, route, status, gone, duration = (f"cells[{n}]" for n in range(1, 9))
    values = ", ".join(
        (
            f"TRY_CAST({time} AS TIMESTAMP) AS moment",
            f"coalesce({client}, '-') AS client",
            f"{_method(method)} AS method",
            f"coalesce({route}, '{NO_PATH}') AS path",
            f"TRY_CAST({status} AS SMALLINT) AS status",
            f"{gone} IS NOT DISTINCT FROM 'true' AS gone",
            f"TRY_CAST(TRY_CAST({duration} AS DECIMAL(15, 3)) * 1000 AS BIGINT) AS us",
            "NULL::BIGINT AS sent",
        )
    )
    broken = (
        f"CASE WHEN trim(line) = '' OR (valid AND {kind} IS DISTINCT FROM 'request') THEN NULL"
        f" ELSE coalesce(NOT valid OR NOT {_SANE}, true) END"
    )
    # An own request of the proxy has another kind: the client did not send it.
    parts = (
        "json_valid(line) AS valid,"
        f" CASE WHEN valid THEN json_extract_string(line, [{names}]) ELSE []::VARCHAR[] END AS cells"
    )
    return _COLUMNS.format(broken=broken) + _FROM.format(parts=parts, values=values)


def select(format: Format, fields: tuple[str, ...] = ()) -> str:
    """The statement that reads ``lines`` of a format.

    :param fields: of CloudFront; other names than those that the report reads do no harm.
    """
    if format is Format.ALB:
        return _alb()
    return _cloudfront(fields) if format is Format.CLOUDFRONT else _journal()


ROUTE: Final = (
    "regexp_replace(regexp_replace(path,"
    r" '/[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b', '/{id}', 'g'),"
    r" '/[0-9]+\b', '/{id}', 'g')"
)
"""A path with its numbers and UUIDs replaced, so that requests for different records are one route."""

FAILED: Final = "coalesce(status >= 500 OR gone, true)"
"""No response, a 5xx, or the client left: what the status page counts as a failure too."""
