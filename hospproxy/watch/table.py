"""Every metric of the proxy. ``python -m hospproxy.watch.table`` prints the table of docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import get_args

from attrs import field, fields, frozen

from ..exchange import words
from ..options.arrival_section import ArrivalSettings
from ..options.compression_section import CODINGS

PREFIX = "hospproxy"

_QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_SLOW = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0)
_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


@frozen(slots=True)
class Metric:
    """Name, kind, help and labels of one metric.

    :param name: without the prefix.
    :param kind: "counter", "histogram" or "gauge".
    :param help: one sentence.
    :param labels: names of its labels.
    :param buckets: upper bounds of a histogram.
    :param words: the closed set of values of a label. A label without one has a value for each route, file, sink,
        rule or worker that the operator's files name, or for each status.
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    words: Mapping[str, tuple[str, ...]] = field(factory=dict)


def _counter(name: str, help_: str, *labels: str, **words_: Iterable[str]) -> Metric:
    """:param words_: labels with a closed set of values, and the values."""
    closed = {label: tuple(values) for label, values in words_.items()}
    return Metric(name, "counter", help_, tuple(dict.fromkeys((*labels, *closed))), words=closed)


def _gauge(name: str, help_: str, *labels: str, **words_: Iterable[str]) -> Metric:
    closed = {label: tuple(values) for label, values in words_.items()}
    return Metric(name, "gauge", help_, tuple(dict.fromkeys((*labels, *closed))), words=closed)


def _histogram(name: str, help_: str, *labels: str, buckets: tuple[float, ...] = _SLOW) -> Metric:
    return Metric(name, "histogram", help_, labels, buckets)


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other")
_LIMITS = (*(one.name for one in fields(ArrivalSettings)), "max_pipelined_bytes")
_OUTCOMES = (
    *get_args(words.StatusClass),
    "not sent", "failed after sending", "bad answer", "failed", "cancelled",
)  # fmt: skip
_LOOKS = ("found", "notthere", "notknowable", "none")
_WRITES = ("answered", "found", "absent", "unknown", "replayed", "twice")
_CLAIMS = ("claimed", "taken over", "joined", "away", "unseen", "not in time", "full", "nonsense")
_NO_PLACE = ("full", "pushed_out", "deadline", "in_vain", "away")
_CACHE = (
    *get_args(words.CacheWord),
    "stored", "not_stored", "refresh_begun", "shortcut",
    "shared_hit", "shared_stored", "shared_not_stored", "shared_refused",
)  # fmt: skip
_KINDS = ("request", "own", "intent", "finding", "disclosure", "alert", "look", "admin", "gap")

METRICS: tuple[Metric, ...] = (
    _gauge("build_info", "Always 1; the labels name the version that runs.", "version", "python"),
    # What clients see.
    _counter(
        "requests_total",
        "Client requests, by response and by what the cache did; `none`: no response, or no cache lookup.",
        "method",
        "route",
        method=METHODS,
        status_class=(*get_args(words.StatusClass), "none"),
        cache=(*get_args(words.CacheWord), "none"),
    ),
    _histogram("request_seconds", "From a request's arrival until its response may leave.", "route"),
    _counter(
        "unhandled_errors_total",
        "Bugs in the proxy: unexpected exceptions, in requests (500) and in background work. The log"
        " has the traceback.",
    ),
    _counter(
        "arrival_refusals_total",
        "Requests refused before the processor chain (malformed, too large, too slow).",
        "status",
    ),
    _counter(
        "proxy_protocol_refused_total",
        "Connections closed because of their PROXY header.",
        reason=get_args(words.ProxyHeader),
    ),
    _counter(
        "entrance_refused_total",
        "Requests refused by the origin secret or by `require_https`.",
        rule=get_args(words.EntranceRule),
    ),
    _counter(
        "cors_requests_total",
        "Preflights of browsers: `allowed`, or what they were refused for. `write`: writes of pages whose origin"
        " is not listed.",
        result=get_args(words.CorsResult),
    ),
    _counter(
        "arrival_limits_total",
        "Times that a client reached a limit on connections, requests or responses.",
        limit=_LIMITS,
    ),
    _gauge("arrival_connections", "Open client connections."),
    _counter(
        "handshakes_total",
        "TLS handshakes; `refused_*`: refused by a limit.",
        result=get_args(words.Handshake),
    ),
    _gauge("handshakes_open", "TLS handshakes in progress."),
    _gauge(
        "certificate_expiry_seconds",
        "Seconds until a certificate expires; negative once it has expired.",
        "file",
    ),
    _counter(
        "certificate_reloads_total",
        "Certificate files that were reloaded.",
        result=get_args(words.Reload),
    ),
    _gauge("options_generation", "How often changed options were applied since the start."),
    _gauge(
        "options_applied_seconds",
        "When options were applied the last time, in seconds since the epoch; 0: not since the start.",
    ),
    _gauge(
        "options_refused_seconds",
        "When an options file was refused the last time, in seconds since the epoch; 0: not since the start.",
    ),
    _gauge(
        "body_memory_bytes",
        "Memory held by incoming requests and by responses that clients have not read yet.",
    ),
    _gauge("admission_waiting", "Log-in attempts that are being delayed."),
    _counter("admission_delayed_total", "Requests that were delayed because earlier log-ins failed."),
    _counter(
        "admission_failures_total", "Failed log-ins; repeats of the same wrong credentials are not counted."
    ),
    _counter("admission_refused_total", "Requests refused with 429.", reason=("guessing", "rate")),
    # To HOSP and back.
    _counter("upstream_requests_total", "Attempts sent to HOSP.", "route", outcome=_OUTCOMES),
    _histogram("upstream_seconds", "From sending an attempt to the end of HOSP's response.", "route"),
    _counter(
        "answer_findings_total",
        "Problems in HOSP's responses: wrong `type`, `json`, `shape` or `schema`; `unasked` (206,"
        " 304); `unread` (too much in it to check); a header `field` or an internal `address`"
        " removed.",
        finding=get_args(words.Finding),
    ),
    _counter("retries_total", "Retries.", reason=("not sent", "repeatable", "absent")),
    _counter("looks_total", "Lookups at HOSP for a write whose outcome was unknown.", result=_LOOKS),
    _counter("writes_total", "Writes, by outcome.", outcome=_WRITES),
    _counter(
        "upstream_writes_total",
        "Responses of HOSP that ended a write (valid, no 5xx, 408 or 429). More than"
        ' `writes_total{outcome="answered"}` shows that a write was sent again after its response.',
    ),
    _gauge("ledger_open", "Ledger entries with an open outcome."),
    _counter(
        "claims_total",
        "Claims on writes in Redis: `claimed`; `taken over` from a dead worker; `joined` as a retry;"
        " `away`: sent without Redis; `unseen`: 503, the outcome of its key could not be read; `not"
        " in time`: 503, an equal write or one to the same record was in flight; `full`: 503, too"
        " many keys within a day; `nonsense`: invalid reply from Redis.",
        outcome=_CLAIMS,
    ),
    _gauge("claims_unsaid", "Outcomes of writes not yet announced to the other workers and machines."),
    _gauge(
        "gate_in_flight",
        "Attempts that HOSP is working on, or may be: also those whose client left or whose deadline passed.",
    ),
    _gauge("gate_left_behind", "Of these, attempts whose response nobody waits for any more."),
    _gauge("gate_waiting", "Requests queued for a slot at HOSP."),
    _gauge("gate_surge", "1 while a surge fills the queue, and usual requests go before its surplus."),
    _gauge("gate_limit", "Current adaptive limit on attempts in flight at HOSP; at most `gate.concurrency`."),
    _gauge(
        "places_owned",
        "Slots at HOSP that this worker owns; over all workers of one Redis at most `gate.concurrency`.",
    ),
    _gauge(
        "places_base",
        "Base share: slots that this worker uses after a long time without Redis; over all workers at"
        " most `gate.concurrency`.",
    ),
    _counter(
        "places_exchanges_total",
        "Exchanges of slots with other workers; `away`: Redis did not reply; `nonsense`: invalid reply.",
        result=get_args(words.PlacesResult),
    ),
    _counter("gate_refused_total", "Requests that got no slot at HOSP in time.", reason=_NO_PLACE),
    _gauge(
        "upstream_stalled",
        "1 while HOSP is silent for longer than usual; cached responses are served meanwhile.",
    ),
    _gauge("breaker_open", "1 while the breaker is open or half open."),
    _counter(
        "breaker_events_total",
        "Changes of the breaker (`open`, `half_open`, `closed`), results of its probes, and stalls of"
        " HOSP (`stalled`, `stall_over`).",
        event=("open", "half_open", "closed", "probe_answered", "probe_failed", "stalled", "stall_over"),
    ),
    # What is kept in memory.
    _counter(
        "identity_events_total",
        "Credentials: `asked` of HOSP; `refused` by HOSP; `refused_again` from memory;"
        " `offline_grace`: trusted while HOSP is unreachable.",
        event=("asked", "refused", "refused_again", "offline_grace"),
    ),
    _counter(
        "permission_events_total",
        "Permission rules that applied; `held`: the request was refused.",
        "rule",
        event=get_args(words.PermissionEvent),
    ),
    _counter("cache_events_total", "Cache events ([what they mean](cache.md)).", event=_CACHE),
    _gauge("cache_bytes", "Memory used by cache entries."),
    _gauge("cache_entries", "Cache entries in memory."),
    _gauge("compressed_bytes", "Memory used by compressed content beside the cache entries."),
    _counter("compressed_responses_total", "Responses that were sent in a content coding.", coding=CODINGS),
    _counter("compressions_total", "Contents that were compressed, also if it did not pay.", coding=CODINGS),
    _gauge("cache_disk_bytes", "Disk space used by cache entries that survive a restart."),
    # The copy of HOSP's records.
    _counter(
        "copy_events_total",
        "Records in HOSP's responses, by what became of them in the copy; `dropped` and `failed` count responses.",
        event=get_args(words.CopyEvent),
    ),
    _gauge("copy_bytes", "Disk space used by the copy of HOSP's records."),
    _gauge("copy_records", "Records in the copy that are not deleted at HOSP; counted once a minute."),
    _gauge("copy_oldest_seconds", "Age of the record in the copy that HOSP has not shown for longest."),
    _gauge("copy_up", "1 while responses are stored in the copy; 0 while they cannot be."),
    _counter("screening_notes_total", "Notes made from screening results.", outcome=("stored", "refused")),
    _gauge("screening_pending", "Notes of screening results that are not stored yet."),
    # Redis.
    _gauge("redis_up", "1 while Redis is in use; 0 while it is unreachable."),
    _counter(
        "redis_commands_total",
        "Redis commands; `unknown_script`: the script is then sent in full; `away`, `full`: not sent.",
        result=get_args(words.RedisResult),
    ),
    _histogram("redis_seconds", "From sending a command to Redis to its reply.", buckets=_QUICK),
    _counter("redis_reconnects_total", "Attempts to reconnect to Redis."),
    _counter(
        "redis_values_refused_total",
        "Values in Redis that were rejected; `unknown_key`: sealed with another master key.",
        reason=get_args(words.RefusedValue),
    ),
    # The audit trail.
    _counter("records_total", "Audit records written to disk.", kind=_KINDS),
    _counter(
        "record_failures_total", "Audit records that could not be written; their requests got no response."
    ),
    _gauge("record_disk_full", "1 while the disk is full and records go into the reserve."),
    _gauge("record_reserve_bytes", "Free space in the reserve."),
    _counter(
        "record_files_total",
        "Journal files that were compressed (`packed`), or `removed` by retention.",
        event=("packed", "removed"),
    ),
    _gauge("record_writer_up", "1 while an audit sink accepts records; 0 after a failure.", "writer"),
    _gauge("record_writer_behind_records", "Records that an audit sink has not got yet.", "writer"),
    _gauge(
        "record_writer_behind_seconds",
        "Age of the oldest record that an audit sink has not got yet.",
        "writer",
    ),
    _counter("record_writer_carried_total", "Records delivered to an audit sink.", "writer"),
    _counter(
        "record_writer_failures_total", "Failed deliveries to an audit sink; each is retried.", "writer"
    ),
    _counter(
        "record_writer_missed_total",
        "Records lost to an audit sink: their file was gone before they were delivered.",
        "writer",
    ),
    _counter(
        "access_log_files_total",
        "Files of the access log: closed, shipped to the bucket, removed to stay within bounds, or lost: removed"
        " before the bucket had them.",
        event=get_args(words.AccessLogEvent),
    ),
    _gauge(
        "access_log_waiting_files", "Closed files of the access log that wait to be shipped to the bucket."
    ),
    _gauge("courier_up", "1 while the courier reports; it does all that comes after the journal."),
    _counter("courier_restarts_total", "Times that the courier process ended and was replaced."),
    _histogram("record_group_size", "Records written and synced together.", buckets=_SIZES),
    _histogram(
        "record_sync_seconds",
        "From handing a group of records to the disk until it is synced.",
        buckets=_QUICK,
    ),
    # Sharing between workers, and alerts.
    _gauge(
        "sharing_lease",
        "1 while this worker holds a lease and may serve from its cache; 0: HOSP is asked each time.",
    ),
    _gauge(
        "sharing_held_back",
        "1 while this worker may not serve from its cache although Redis replies: another worker"
        " vanished, or a new epoch began.",
    ),
    _gauge(
        "sharing_members",
        "Workers that share this Redis; `vanished`: their heartbeat stopped without a shutdown.",
        state=("live", "vanished"),
    ),
    _counter(
        "sharing_log_entries_total",
        "Entries of the log that workers share through Redis: `said` by this worker, `heard` from others.",
        direction=("said", "heard"),
    ),
    _histogram(
        "sharing_announce_seconds",
        "From announcing a write until no other worker serves what it invalidated.",
        buckets=_QUICK,
    ),
    _counter("sharing_epochs_total", "Times that this worker found a new epoch: Redis had lost its data."),
    _gauge(
        "surge_active",
        "1 while a surge goes on: a sudden change of traffic, of refusals, of errors, or of HOSP's errors or"
        " latency.",
        signal=get_args(words.Signal),
    ),
    _counter("surges_total", "Surges that were noticed.", signal=get_args(words.Signal)),
    _counter(
        "trace_spans_total",
        "Spans of [traces](traces.md): `sent` to the collector; `failed`: in a POST that it did not take; `dropped`:"
        " too many waited.",
        result=get_args(words.SpanResult),
    ),
    _counter("alerts_total", "Alerts, by [rule](alerts.md).", "rule"),
    _gauge("alerts_recent", "Alerts of the last hour."),
    _counter("noticing_failures_total", "Failures of alert rules, and alerts that could not be recorded."),
)

OF_WORKERS: tuple[Metric, ...] = (
    _gauge(
        "workers_running",
        "Workers that responded to this scrape (only with `workers` above 1, like the next three).",
    ),
    _gauge("worker_up", "1 for a worker that responded to this scrape, 0 for one that did not.", "worker"),
    _counter("worker_restarts_total", "Times that a worker was restarted.", "worker"),
    _counter("worker_scrape_failed_total", "Times that a worker did not respond within a second.", "worker"),
)
"""Metrics of the workers themselves. A process that runs alone has none of these."""


def _label(metric: Metric, label: str) -> str:
    known = metric.words.get(label)
    return f"`{label}`" if known is None else f"`{label}` ({', '.join(known)})"


def markdown() -> str:
    """The table of docs/metrics.md, as Markdown."""
    lines = ["| metric | type | labels | what |", "| --- | --- | --- | --- |"]
    for metric in (*METRICS, *OF_WORKERS):
        labels = ", ".join(_label(metric, label) for label in metric.labels)
        lines.append(f"| `{PREFIX}_{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
