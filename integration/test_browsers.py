"""A page of another origin in headless Chromium: it reads and writes if its origin is listed, and not otherwise."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest_twisted
from playwright.sync_api import Browser
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.web.server import Site
from twisted.web.static import Data

from .chromium import browse
from .http_client import ask, basic
from .processes import Processes

CALLS = """
async ([url, authorization]) => {
  const said = async (method, path, fields, document) => {
    const body = document && JSON.stringify(document);
    const headers = {...fields, ...(document && {"Content-Type": "application/json"})};
    try {
      const answer = await fetch(url + path, {method, headers, body});
      const found = await answer.json().catch(() => null);
      return [answer.status, found, answer.headers.get("X-Request-Id") !== null, answer.headers.get("Age")];
    } catch (error) {
      return error.name;
    }
  };
  const note = {title: "From a page", body: "Eats again.", patient_id: 1};
  const key = {Authorization: authorization, "Idempotency-Key": '"from-a-page"'};
  const written = await said("POST", "/notes", key, note);
  const read = await said("GET", "/hospitals", {Authorization: authorization});
  const again = await said("GET", "/hospitals", {Authorization: authorization});
  const path = written[1] ? "/notes/" + written[1].id : "/notes/1";
  const deleted = await said("DELETE", path, {Authorization: authorization});
  const refused = await said("GET", "/hospitals", {Authorization: "Basic eDp5"});
  const foreign = await said("GET", "/hospitals", {Authorization: authorization, "X-Forwarded-For": "1.2.3.4"});
  return {written, read, again, deleted, refused, foreign};
}
"""
UNASKED = """
url => fetch(url + "/notes", {method: "POST", mode: "no-cors", credentials: "include", body: new Blob(["{}"])})
  .then(answer => answer.type)
"""
"""A write without a preflight, which the page cannot read."""

NOTHING = dict.fromkeys(("written", "read", "again", "deleted", "refused", "foreign"), "TypeError")


@pytest_twisted.ensureDeferred
async def test_a_listed_page_reads_and_writes_and_no_other_does(processes: Processes) -> None:
    where = cast(Any, reactor)
    page = Site(Data(b"<!doctype html><title>ward</title>", "text/html"))
    ports = [where.listenTCP(0, page, interface="127.0.0.1") for _ in range(2)]
    listed, other = (f"http://127.0.0.1:{port.getHost().port}" for port in ports)
    hosp = await processes.hosp("--delay", "none", "--places", "0")
    on = await processes.proxy(hosp.url, options=f"[cors]\norigins = [{json.dumps(listed)}]\n")
    off = await processes.proxy(hosp.url)

    def work(browser: Browser) -> list[Any]:
        found = []
        for origin, proxy in ((listed, on), (other, on), (listed, off)):
            opened = browser.new_context().new_page()
            opened.goto(origin)
            found.append(opened.evaluate(CALLS, [proxy.plain_url, basic("staff1")]))
        assert opened.evaluate(UNASKED, off.plain_url) == "opaque"
        return found

    try:
        good, *bad = await deferToThread(browse, work)
    finally:
        for port in ports:
            await maybeDeferred(port.stopListening)
    written = good["written"]
    assert (written[0], written[1]["title"], written[2]) == (201, "From a page", True)
    assert (good["read"][0], good["again"][0]) == (200, 200)
    assert good["again"][3] is not None, "the page cannot read Age"
    assert good["deleted"][0] == 200
    assert good["refused"][0] == 401, "the page cannot read an error"
    assert good["foreign"] == "TypeError"
    assert bad == [NOTHING, NOTHING]
    assert (await ask(off.plain_url, "GET", "/openapi.json", user="staff1")).status == 404
    assert (await ask(off.admin_url, "GET", "/openapi.json")).json()["openapi"] == "3.1.0"
    [unasked] = [record for record in off.records() if record["method"] == "POST"]
    assert (unasked["status"], unasked["rule_hits"]) == (403, ["cors:write"])
    preflights = [record for record in on.records() if record["method"] == "OPTIONS"]
    assert {record["status"] for record in preflights} == {204, 403}
    assert {hit for record in preflights for hit in record["rule_hits"]} == {"cors:header", "cors:origin"}


@pytest_twisted.ensureDeferred
async def test_a_hit_has_the_fields_of_the_origin_that_asks(processes: Processes) -> None:
    hosp = await processes.hosp("--delay", "none", "--places", "0")
    origins = ["https://a.example", "https://b.example"]
    options = f"[cors]\norigins = {json.dumps(origins)}\n"
    proxy = await processes.proxy(hosp.url, top="publish_contract = true", options=options)
    page = await ask(proxy.plain_url, "GET", "/openapi", headers={"Origin": origins[0]})
    assert (page.status, page.field("Access-Control-Allow-Origin")) == (200, origins[0])
    for _ in range(3):  # from HOSP, from the cache, by a shortcut
        for origin in (*origins, "https://c.example", None):
            fields = {} if origin is None else {"Origin": origin}
            answer = await ask(proxy.plain_url, "GET", "/hospitals", user="staff1", headers=fields)
            assert answer.status == 200
            assert answer.field("Access-Control-Allow-Origin") == (origin if origin in origins else None)
            assert "Origin" in (answer.field("Vary") or "")

    metrics = (await ask(proxy.admin_url, "GET", "/metrics")).body.decode()
    assert 'hospproxy_cache_events_total{event="shortcut"} 7.0' in metrics, [
        line for line in metrics.splitlines() if "cache_events" in line
    ]
