"""Builds the pages: queries the trail for each, and fills its template."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from attrs import evolve, frozen
from twisted.internet.defer import DeferredSemaphore

from ...http.messages import Request, Response
from ...interfaces import ITrailReader
from ...options.page_section import AuditPageSettings
from ...process.worker import TaskRunner
from ...record.extract.forms import as_html
from ...record.extract.owner_extract import owner_extract
from ...record.search.filters import BadFilterError, Filters
from ...record.search.rows import IndexRow, RowKey, RowName
from ...record.trail.hash_chain import hash_of
from . import downloads, html, reports, routes, views
from .fields import ACTIONS, OUTCOMES, RESOURCES, flat
from .looks import AuditLook
from .routes import PageQuery, PageRoute
from .timeline import timeline

COUNTED = 2000
"""Newest records of one patient that the table of people counts."""
RELATED = 50
MOST_PATIENT_PAGES = 8
MOST_REPORTS = 2
"""Most reports built at one time: each holds all its rows in memory."""
WINDOWS = {"1h": ("the last hour", 3600), "24h": ("24 hours", 86_400), "7d": ("7 days", 7 * 86_400)}

_LOGGED_OUT = (
    "If a page of the audit trail opens without asking for the password, close all windows of the browser."
)
# Clearing the cookies also clears passwords of Basic authentication (W3C Clear Site Data, §4.2.3).
_FORGET = ((b"clear-site-data", b'"cache", "cookies"'),)


class PageNotFound(Exception):
    """The page or record does not exist; the text says which."""


@frozen(slots=True)
class PageContext:
    """One request for a page, from an auditor who is logged in.

    :param look: what will be recorded; the pages add their filters and ids to it.
    :param user: name of the auditor.
    """

    request: Request
    route: PageRoute
    look: AuditLook
    user: str


class Pages:
    """Builds the response to each page request: a page, an export, or a short message.

    :param reader: searches the trail; None: the database is off.
    :param worker: the thread that renders; thousands of rows must not block the reactor.
    :param wall: returns seconds since the Unix epoch.
    :param options: how many rows pages and reports have, and what an owner's extract says.
    """

    def __init__(
        self,
        reader: ITrailReader | None,
        worker: TaskRunner,
        wall: Callable[[], float],
        options: AuditPageSettings,
    ) -> None:
        self._reader = reader
        self._worker = worker
        self._wall = wall
        self._rows = options.rows
        self._report_rows = options.report_rows
        self._options = options
        self._patients = DeferredSemaphore(MOST_PATIENT_PAGES)
        self._reports = DeferredSemaphore(MOST_REPORTS)
        self._of = {
            routes.SEARCH: self._search,
            routes.TROUBLE: self._trouble,
            routes.PATIENT: self._patient,
            routes.DISCLOSURES: self._disclosures,
            routes.EXTRACT: self._extract,
            routes.RECORD: self._record,
            **dict.fromkeys(routes.EXPORTS, self._export),
        }

    async def answer(self, context: PageContext) -> Response:
        """Build the page, or the export, that a route names.

        :raise BadFilterError: a parameter cannot be used.
        :raise PageNotFound: there is no such record.
        :raise IndexAway: the trail cannot be searched now.
        """
        if context.route.template == routes.LOG_OUT:
            return await self.message("", 200, "You are logged out", _LOGGED_OUT, _FORGET)
        if self._reader is None:
            words = "The audit database is switched off (audit_database.enabled). hospproxy-audit search still works."
            return await self.message(context.user, 503, "The audit trail cannot be searched", words)
        return await self._of[context.route.template](context, self._reader)

    async def message(
        self, user: str, status: int, title: str, words: str, more: tuple[tuple[bytes, bytes], ...] = ()
    ) -> Response:
        """Build a page that shows a short text."""
        return await self._rendered(
            "message.html", user, {"title": title, "words": words}, status, None, more
        )

    async def form_again(self, user: str, query: bytes | None, field: str, words: str) -> Response:
        """Build the search page again, with an error about the field that cannot be used."""
        given = _as_far_as_it_goes(query)
        values = self._form(Filters(), given) | {
            "error": (routes.LABELS.get(field, field), field, words),
            "rows": [],
            "chips": [],
            "older": None,
            "searched": None,
            "exports": [],
        }
        return await self._rendered("search.html", user, values, 400)

    async def _search(self, context: PageContext, reader: ITrailReader) -> Response:
        asked = self._asked(context)
        page = await reader.page(asked.filters, asked.after, self._rows)
        values = self._form(asked.filters, asked.given) | self._listed(routes.SEARCH, asked, page)
        values["exports"] = _exports(asked.filters)
        values["error"] = None
        return await self._rendered("search.html", context.user, values, lag=await self._newest(reader))

    async def _trouble(self, context: PageContext, reader: ITrailReader) -> Response:
        given = routes.words_of(context.request.query)
        chosen = given.pop("window", "24h")
        if chosen not in WINDOWS:
            raise BadFilterError("window", f"one of {', '.join(WINDOWS)}")
        since = self._wall() - WINDOWS[chosen][1]
        asked = routes.question(given, trouble=True, since=since)
        context.look.filters = asked.filters
        summary = await reader.summary(since)
        page = await reader.page(asked.filters, asked.after, self._rows)
        values = self._listed(routes.TROUBLE, asked, page) | {
            "summary": summary,
            "alerts": [views.row_view(row) for row in summary.alerts],
            "windows": [(name, words, name == chosen) for name, (words, _) in WINDOWS.items()],
            "window": WINDOWS[chosen][0],
            "failures": [
                (many, views.TableCell(place, routes.address(routes.SEARCH, Filters(address=place, since=since))))
                for place, many in summary.login_failures
            ],
            "refusals": [
                (many, views.TableCell(route, routes.address(
                    routes.SEARCH, Filters(route=route, outcome="refused", since=since))))
                for route, many in summary.refusals
            ],
        }  # fmt: skip
        return await self._rendered("trouble.html", context.user, values, lag=summary.newest)

    async def _patient(self, context: PageContext, reader: ITrailReader) -> Response:
        patient = context.route.values[0]
        asked = self._asked(context, patient=patient)
        async with _turn(self._patients):
            return await self._of_patient(context.user, patient, asked, reader)

    async def _of_patient(self, user: str, patient: str, asked: PageQuery, reader: ITrailReader) -> Response:
        rows, more = await reports.collect(reader, asked.filters, COUNTED)
        people = views.people(rows, patient)
        shown = rows[: self._rows]
        older = None
        if len(rows) > len(shown):
            older = routes.address(routes.SEARCH, asked.filters, shown[-1].key)
        values = {
            "patient": patient,
            "people": people,
            "timeline": timeline(rows),
            "counted_back_to": views.clock(rows[-1].key.time_ms / 1000) if more else None,
            "rows": [views.row_view(row, asked.filters) for row in shown],
            "older": older,
            "since": _local(asked.filters.since),
            "until": _local(asked.filters.until),
            "all": routes.address(routes.SEARCH, asked.filters),
            "report": _period(routes.path(routes.DISCLOSURES, patient), asked.filters),
            "extract": _period(routes.path(routes.EXTRACT, patient), asked.filters),
            "exports": _exports(asked.filters),
        }
        return await self._rendered("patient.html", user, values, lag=await self._newest(reader))

    async def _disclosures(self, context: PageContext, reader: ITrailReader) -> Response:
        patient = context.route.values[0]
        asked = self._asked(context, patient=patient)
        async with _turn(self._reports):
            return await self._report(context.user, patient, asked, reader)

    async def _report(self, user: str, patient: str, asked: PageQuery, reader: ITrailReader) -> Response:
        rows, more = await reports.collect(reader, evolve(asked.filters, kind="request"), self._report_rows)
        newest, made = await self._newest(reader), self._wall()

        def values() -> dict[str, Any]:
            return {
                "patient": patient,
                "report": reports.report(rows, more),
                "made": (views.clock(made), views.machine_time(made)),
                "most": self._report_rows,
                "since": views.clock(asked.filters.since) if asked.filters.since is not None else None,
                "until": views.clock(asked.filters.until) if asked.filters.until is not None else None,
                "back": _period(routes.path(routes.PATIENT, patient), asked.filters),
                "exports": _exports(evolve(asked.filters, kind="request")),
            }

        return await self._rendered("report.html", user, values, lag=newest)

    async def _extract(self, context: PageContext, reader: ITrailReader) -> Response:
        patient = context.route.values[0]
        filters = self._asked(context, patient=patient).filters
        async with _turn(self._reports):
            rows, more = await reports.collect(reader, evolve(filters, kind="request"), self._report_rows)
            made, options = self._wall(), self._options

            def work() -> bytes:
                extract = owner_extract(
                    patient,
                    rows,
                    more=more,
                    since=filters.since,
                    until=filters.until,
                    made=made,
                    zone=ZoneInfo(options.owner_zone),
                )
                return as_html(extract, options.owner_purpose or "", options.owner_hospital or "")

            # A file to save or to print: its style is in it, which the policy of the pages does not allow.
            return html.attachment(await self._worker.run(work), f"extract-{_file_name(patient)}.html")

    async def _record(self, context: PageContext, reader: ITrailReader) -> Response:
        routes.question(routes.words_of(context.request.query))  # raises for unusable parameters
        row = await reader.row(_name(context.route))
        if row is None:
            raise PageNotFound("There is no such record, or it is not in the audit database yet.")
        context.look.record_id = "/".join(context.route.values)
        context.look.patient = views.text(row.record, "patient_id") or None
        values = {
            "row": views.row_view(row),
            "kind": views.text(row.record, "kind"),
            "fields": flat(row.record),
            "line": row.line.decode("utf-8", "replace"),
            "hash": hash_of(row.line).decode(),
            "related": [views.row_view(each) for each in await _related(reader, row)],
        }
        return await self._rendered("record.html", context.user, values, lag=await self._newest(reader))

    async def _export(self, context: PageContext, reader: ITrailReader) -> Response:
        asked = self._asked(context)
        stamp = datetime.fromtimestamp(self._wall(), UTC).strftime("%Y%m%dT%H%M%SZ")
        rows = await downloads.begun(reader.rows(asked.filters))
        return downloads.answer(routes.EXPORTS[context.route.template], reader, rows, stamp)

    def _asked(self, context: PageContext, **fixed: Any) -> PageQuery:
        asked = routes.question(routes.words_of(context.request.query), **fixed)
        context.look.filters = asked.filters
        return asked

    def _form(self, filters: Filters, given: dict[str, str]) -> dict[str, Any]:
        return {
            "given": dict.fromkeys(routes.LABELS, "") | given | _times(filters),
            "actions": _choices(ACTIONS, given.get("action")),
            "outcomes": _choices(OUTCOMES, given.get("outcome")),
            "resources": _choices(RESOURCES, given.get("resource")),
            "further": any(
                given.get(name)
                for name in ("claimed", "auditor", "route", "record_id", "request_id", "status", "kind")
            ),
        }

    def _listed(self, path: str, asked: PageQuery, page: Any) -> dict[str, Any]:
        filters = asked.filters
        fixed = ("trouble", "since") if path == routes.TROUBLE else ()
        return {
            "rows": [views.row_view(row, evolve(filters, trouble=False)) for row in page.rows],
            "chips": views.chips(path, filters, fixed),
            "older": routes.address(routes.SEARCH, filters, page.more_after) if page.more_after else None,
            "searched": views.clock(page.searched_until) if page.searched_until is not None else None,
            "first_page": asked.after is None,
            "newer": routes.address(routes.SEARCH, filters) if asked.after is not None else None,
        }

    async def _newest(self, reader: ITrailReader) -> float | None:
        return (await reader.summary(self._wall())).newest

    async def _rendered(
        self,
        template: str,
        user: str,
        values: dict[str, Any] | Callable[[], dict[str, Any]],
        status: int = 200,
        lag: float | None = None,
        more: tuple[tuple[bytes, bytes], ...] = (),
    ) -> Response:
        here = {"user": user, "lag": (views.clock(lag), views.machine_time(lag)) if lag is not None else None}

        def work() -> bytes:
            return html.render(template, here | (values() if callable(values) else values))

        return html.page(status, await self._worker.run(work), more)


@asynccontextmanager
async def _turn(turns: DeferredSemaphore) -> AsyncIterator[None]:
    await turns.acquire()
    try:
        yield
    finally:
        turns.release()


async def _related(reader: ITrailReader, row: IndexRow) -> list[IndexRow]:
    """Find the other records of the same request, oldest first."""
    request = views.text(row.record, "on_behalf_of", "request_id") or views.text(row.record, "request_id")
    if not request:
        return []
    found: dict[RowKey, IndexRow] = {}
    # Searches leave intents out unless the kind asks for them.
    for filters in (
        Filters(request_id=request, own=True),
        Filters(request_id=request, own=True, kind="intent"),
    ):
        for each in (await reader.page(filters, None, RELATED)).rows:
            found[each.key] = each
    found.pop(row.key, None)
    return [found[key] for key in sorted(found)]


def _name(route: PageRoute) -> RowName:
    trail, journal, seq = route.values
    if not (seq.isascii() and seq.isdecimal() and len(seq) <= 18):
        raise PageNotFound("The last part of the path must be the number of a record.")
    return RowName(trail, journal, int(seq))


def _as_far_as_it_goes(query: bytes | None) -> dict[str, str]:
    try:
        return routes.words_of(query)
    except BadFilterError:
        return {}


def _choices(known: Any, given: str | None) -> list[str]:
    return [*known, given] if given and given not in known else list(known)


def _times(filters: Filters) -> dict[str, str]:
    return {name: local for name in ("since", "until") if (local := _local(getattr(filters, name)))}


def _local(seconds: float | None) -> str:
    """Format a time for ``<input type="datetime-local">``; "" for None."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _file_name(patient: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]", "_", patient)[:40]


def _period(path: str, filters: Filters) -> str:
    return routes.address(path, Filters(since=filters.since, until=filters.until))


def _exports(filters: Filters) -> list[views.TableCell]:
    words = {"csv": "CSV", "jsonl": "JSON Lines", "fhir": "FHIR AuditEvents"}
    return [
        views.TableCell(words[name], routes.address(path, filters)) for path, name in routes.EXPORTS.items()
    ]
