"""The metrics that there are. ``python -m hospproxy.watch.table`` prints the table of docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import get_args

from attrs import field, fields, frozen

from .. import words
from ..arrival.limits import ArrivalLimits

PREFIX = "hospproxy"

_QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_SLOW = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0)
_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


@frozen(slots=True)
class Metric:
    """One metric.

    :param name: without the prefix.
    :param kind: "counter", "histogram" or "gauge".
    :param help: one sentence.
    :param labels: what it is told apart by.
    :param buckets: upper bounds of a histogram.
    :param words: by label, the values that it has; a label that is not there has a value for each of something that the
        operator's files name (routes, files, writers, rules, workers), or a status.
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    words: Mapping[str, tuple[str, ...]] = field(factory=dict)


def _counter(name: str, help_: str, *labels: str, **words_: Iterable[str]) -> Metric:
    """:param words_: the values of labels that have no others."""
    closed = {label: tuple(values) for label, values in words_.items()}
    return Metric(name, "counter", help_, tuple(dict.fromkeys((*labels, *closed))), words=closed)


def _gauge(name: str, help_: str, *labels: str, **words_: Iterable[str]) -> Metric:
    closed = {label: tuple(values) for label, values in words_.items()}
    return Metric(name, "gauge", help_, tuple(dict.fromkeys((*labels, *closed))), words=closed)


def _histogram(name: str, help_: str, *labels: str, buckets: tuple[float, ...] = _SLOW) -> Metric:
    return Metric(name, "histogram", help_, labels, buckets)


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other")
_LIMITS = tuple(one.name for one in fields(ArrivalLimits))
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
    "stored", "not_stored", "refresh_begun",
    "shared_hit", "shared_stored", "shared_not_stored", "shared_refused",
)  # fmt: skip
_KINDS = ("request", "own", "intent", "finding", "disclosure", "alert", "look", "gap")

METRICS: tuple[Metric, ...] = (
    _gauge("build_info", "Always 1; which version runs.", "version", "python"),
    # What clients see.
    _counter(
        "requests_total",
        "Requests answered.",
        "method",
        "route",
        method=METHODS,
        status_class=(*get_args(words.StatusClass), "none"),
        cache=(*get_args(words.CacheWord), "none"),
    ),
    _histogram("request_seconds", "From a request's arrival until its answer may leave.", "route"),
    _counter("unhandled_errors_total", "Mistakes in the proxy itself that became a 500."),
    _counter("arrival_refusals_total", "Answers that arrival gave by itself.", "status"),
    _counter(
        "proxy_protocol_refused_total",
        "Connections closed for their PROXY header.",
        reason=get_args(words.ProxyHeader),
    ),
    _counter(
        "entrance_refused_total",
        "Requests refused at the entrance, by the rule.",
        rule=get_args(words.EntranceRule),
    ),
    _counter("arrival_limits_total", "Times that a client came to one of arrival's limits.", limit=_LIMITS),
    _gauge("arrival_connections", "Client connections that are open."),
    _counter(
        "handshakes_total",
        "TLS handshakes; refused: by a limit.",
        result=get_args(words.Handshake),
    ),
    _gauge("handshakes_open", "TLS handshakes that are under way."),
    _gauge(
        "certificate_expiry_seconds",
        "Seconds until a certificate is no longer valid; below 0 after it.",
        "file",
    ),
    _counter(
        "certificate_reloads_total",
        "Certificate files that were read anew.",
        result=get_args(words.Reload),
    ),
    _gauge("body_memory_bytes", "Memory that requests on their way in and answers on their way out take."),
    _gauge("admission_waiting", "Guesses at passwords that wait their time."),
    _counter("admission_delayed_total", "Requests that had to wait because log-ins had failed."),
    _counter("admission_failures_total", "Wrong passwords, the same one again not counted."),
    _counter("admission_refused_total", "Requests that got a 429.", reason=("guessing", "rate")),
    # To HOSP and back.
    _counter("upstream_requests_total", "Attempts at HOSP.", "route", outcome=_OUTCOMES),
    _histogram("upstream_seconds", "From sending an attempt to the end of its answer.", "route"),
    _counter(
        "answer_findings_total",
        "HOSP's answers: wrong type, json or shape, against the schema, unasked (206, 304), unread; a field or an "
        "address kept back.",
        finding=get_args(words.Finding),
    ),
    _counter("retries_total", "Attempts after the first.", reason=("not sent", "repeatable", "absent")),
    _counter("looks_total", "Looks for a write whose outcome was unknown.", result=_LOOKS),
    _counter("writes_total", "Writes by what became of them.", outcome=_WRITES),
    _gauge("ledger_open", "Writes whose outcome is open."),
    _counter(
        "claims_total",
        "Writes among workers and machines: claimed, taken over (of a dead one), joined (a retry), away (sent without "
        "Redis), unseen (a key: 503), not in time, full (503: of a day's keys), nonsense (from Redis).",
        outcome=_CLAIMS,
    ),
    _gauge("claims_unsaid", "Outcomes of writes that other workers and machines have not been told yet."),
    _gauge(
        "gate_in_flight",
        "Attempts that HOSP has in hand, or may have: also those whose client has left or whose time was up.",
    ),
    _gauge("gate_left_behind", "Of these, those for whose answer nobody waits any more."),
    _gauge("gate_waiting", "Requests that wait for a place at HOSP."),
    _gauge("gate_limit", "Attempts that HOSP gets at one time just now; at most `gate.concurrency`."),
    _gauge(
        "places_owned", "Places at HOSP that this worker owns; with one Redis, the sum of all is bounded."
    ),
    _gauge(
        "places_base",
        "Places at HOSP that this worker uses when it has not reached Redis for long; the sum of all is bounded.",
    ),
    _counter(
        "places_exchanges_total",
        "Exchanges of places with other workers; away: Redis did not answer.",
        result=get_args(words.PlacesResult),
    ),
    _counter(
        "gate_refused_total", "Requests for which there was no place at HOSP in time.", reason=_NO_PLACE
    ),
    _gauge(
        "upstream_stalled", "1 while HOSP answers nothing for longer than usual; memory answers meanwhile."
    ),
    _gauge("breaker_open", "1 while HOSP is taken to be gone, or it is not sure yet that it is back."),
    _counter(
        "breaker_events_total",
        "HOSP: open (gone), half_open (maybe back), closed (back); stalled, stall_over.",
        event=("open", "half_open", "closed", "probe_answered", "probe_failed", "stalled", "stall_over"),
    ),
    # What is remembered.
    _counter(
        "identity_events_total",
        "Credentials: asked of HOSP, refused by it, refused again from memory, believed while it is away.",
        event=("asked", "refused", "refused_again", "offline_grace"),
    ),
    _counter(
        "permission_events_total",
        "Rules of who may do what that applied; held: refused.",
        "rule",
        event=get_args(words.PermissionEvent),
    ),
    _counter("cache_events_total", "What the cache did.", event=_CACHE),
    _gauge("cache_bytes", "Memory that cached answers take."),
    _gauge("cache_entries", "Answers in the cache."),
    _gauge("cache_disk_bytes", "Disk that answers take which outlive a restart."),
    _counter("screening_notes_total", "Notes made of screening results.", outcome=("stored", "refused")),
    _gauge("screening_pending", "Screening results on their way to a note."),
    # What is shared.
    _gauge("redis_up", "1 while Redis is used; 0 while it is away."),
    _counter(
        "redis_commands_total",
        "Commands; unknown_script: it is sent whole then; away, full: not sent.",
        result=get_args(words.RedisResult),
    ),
    _histogram("redis_seconds", "From sending a command to Redis to its reply.", buckets=_QUICK),
    _counter("redis_reconnects_total", "Times that it was tried again to connect to Redis."),
    _counter(
        "redis_values_refused_total",
        "Values in Redis that were not used; unknown_key: of another master key.",
        reason=get_args(words.RefusedValue),
    ),
    # The record.
    _counter("records_total", "Audit records on disk.", kind=_KINDS),
    _counter("record_failures_total", "Audit records that could not be kept; their requests got no answer."),
    _gauge("record_disk_full", "1 while the disk is full and records go to the reserve."),
    _gauge("record_reserve_bytes", "Room in the reserve."),
    _counter(
        "record_files_total",
        "Files of the record that were packed, or removed by their age.",
        event=("packed", "removed"),
    ),
    _gauge("record_writer_up", "1 while a writer carries the record on; 0 after a failure.", "writer"),
    _gauge("record_writer_behind_records", "Records that a writer has still to carry on.", "writer"),
    _gauge("record_writer_behind_seconds", "Age of the oldest of them.", "writer"),
    _counter("record_writer_carried_total", "Records that a writer has carried on.", "writer"),
    _counter("record_writer_failures_total", "Tries that failed; they are repeated.", "writer"),
    _counter(
        "record_writer_missed_total", "Records that were gone before a writer could carry them on.", "writer"
    ),
    _histogram("record_group_size", "Records that were written and synced together.", buckets=_SIZES),
    _histogram("record_sync_seconds", "From handing a group to the disk until it is there.", buckets=_QUICK),
    # What workers share.
    _gauge("sharing_lease", "1 while this worker may serve from memory; 0: HOSP is asked each time."),
    _gauge(
        "sharing_held_back",
        "1 while it may not although Redis answers: others have vanished, or all begins anew.",
    ),
    _gauge("sharing_members", "Workers that share; vanished: without goodbye.", state=("live", "vanished")),
    _counter("sharing_log_entries_total", "Entries of the common log.", direction=("said", "heard")),
    _histogram(
        "sharing_announce_seconds",
        "Until no other worker served what a write had made stale.",
        buckets=_QUICK,
    ),
    _counter("sharing_epochs_total", "Times that this worker found that Redis had begun anew."),
    _counter("alerts_total", "Alerts ([which](alerts.md)).", "rule"),
    _gauge("alerts_recent", "Alerts within the last hour."),
    _counter("noticing_failures_total", "Mistakes in noticing, and alerts that could not be kept."),
)

OF_WORKERS: tuple[Metric, ...] = (
    _gauge("workers_running", "Workers that have answered (with `workers` above 1, as the next three)."),
    _gauge("worker_up", "1 for a worker that has answered, 0 for one that is missing.", "worker"),
    _counter("worker_restarts_total", "Times that a worker was replaced.", "worker"),
    _counter("worker_scrape_failed_total", "Times that a worker has not answered within a second.", "worker"),
)
"""What is known of workers; a process that is the only one has none of these."""


def _label(metric: Metric, label: str) -> str:
    known = metric.words.get(label)
    return f"`{label}`" if known is None else f"`{label}` ({', '.join(known)})"


def markdown() -> str:
    """The table of docs/metrics.md."""
    lines = ["| metric | type | labels | what |", "| --- | --- | --- | --- |"]
    for metric in (*METRICS, *OF_WORKERS):
        labels = ", ".join(_label(metric, label) for label in metric.labels)
        lines.append(f"| `{PREFIX}_{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
