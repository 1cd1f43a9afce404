// Reads /status.json every five seconds and fills the page. All text goes in as text, never as markup.
"use strict";
const byId = id => document.getElementById(id);
const WINDOWS = ["5m", "1h", "1d", "1w"];
const SIGNALS = {traffic: "traffic", refusals: "refusals", errors: "errors", hosp_errors: "HOSP’s errors", hosp_latency: "HOSP’s latency"};
let asking = false, lastSeen = 0;

function element(name, text, ...classes) {
  const made = document.createElement(name);
  if (text != null) made.textContent = text;
  made.classList.add(...classes.filter(Boolean));
  return made;
}
function whole(value) { return value == null ? "–" : Math.round(value).toLocaleString("en"); }
function bytes(value) {
  if (value == null) return "–";
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) if (value >= size) return (value / size).toFixed(1) + " " + unit;
  return Math.round(value) + " B";
}
function span(seconds) {
  if (seconds >= 172800) return Math.floor(seconds / 86400) + " days";
  if (seconds >= 7200) return Math.floor(seconds / 3600) + " h";
  return seconds >= 120 ? Math.floor(seconds / 60) + " min" : Math.round(seconds) + " s";
}
function ago(told, time) { return span(Math.max(0, told.time - time)) + " ago"; }
function refusedLast(options) { return options.refused != null && options.refused > (options.applied || 0); }
function chosen() { const name = location.hash.slice(1); return WINDOWS.includes(name) ? name : "5m"; }

function states(told) {
  const now = told.now, found = [];
  const add = (tone, text) => found.push(element("li", text, "tone", tone));
  add(told.ready ? "good" : "bad", told.ready ? "ready" : "not ready");
  for (const [name, why] of Object.entries(told.reasons)) add("bad", name + ": " + why);
  if (now.breaker === "open") add("bad", "HOSP is away (breaker open)");
  else if (now.stalled) add("bad", "HOSP is silent");
  else add("good", "HOSP is reached");
  for (const surge of told.surges.active) add("warn", "surge: " + (SIGNALS[surge.signal] || surge.signal) + (surge.machines > 1 ? " over " + surge.machines + " machines" : "") + ", for " + span(surge.since_s));
  if (!told.surges.active.length) add("good", "no surge");
  if (now.surplus_waits) add("warn", "a surge fills the queue: known users go first");
  if (now.waiting > 0) add(now.waiting >= now.max_queue ? "bad" : "plain", whole(now.waiting) + " waiting");
  if (now.max_connections && now.connections >= 0.8 * now.max_connections) add("warn", whole(now.connections) + " of " + whole(now.max_connections) + " connections");
  if (now.disk_full) add("bad", "disk full");
  const workers = told.workers;
  if (workers.configured > 1) add(workers.running < workers.configured ? "warn" : "good", workers.running + " of " + workers.configured + " workers");
  for (const [name, why] of Object.entries(workers.missing)) add("warn", name + ": " + why);
  if (told.machines) {
    add(told.machines.redis ? "good" : "warn", told.machines.redis ? "Redis is used" : "Redis is away");
    if (!told.machines.lease) add("warn", "no lease");
    if (told.machines.redis && told.machines.others == null) add("warn", "other machines are not counted");
    for (const each of told.machines.others || []) if (!each.ready) add("warn", each.name + " is not ready");
    if (told.machines.vanished) add("warn", whole(told.machines.vanished) + " workers vanished");
  }
  if (refusedLast(told.options)) add("warn", "options file refused " + ago(told, told.options.refused));
  for (const each of told.certificates) {
    if (each.left_s < 21 * 86400) add(each.left_s < 0 ? "bad" : "warn", each.file + (each.left_s < 0 ? " has expired" : " expires in " + span(each.left_s)));
  }
  for (const sink of told.sinks) if (!sink.up) add("warn", "audit sink " + sink.name + " is failing, " + whole(sink.behind) + " records wait");
  if (now.alerts_last_hour) add("warn", whole(now.alerts_last_hour) + " alerts in the last hour");
  byId("states").replaceChildren(...found);
}

function tiles(told) {
  const {users, hosp, cache, highest} = told.totals, now = told.now, found = [];
  const add = (name, value, more, kind) => {
    const tile = element("div", null, "tile", kind);
    tile.append(element("dt", name), element("dd", value), element("dd", more || "", "more"));
    found.push(tile);
  };
  const longer = who => ["1h", "1d", "1w"].filter(name => told.success[name][who] != null)
    .map(name => name + " " + SHARE(told.success[name][who])).join(", ");
  add("Users: success", SHARE(users.success), longer("users"), "users");
  add("HOSP: success", SHARE(hosp.success), longer("hosp"), "hosp");
  add("Users: p95", SECONDS(users.p95), "p50 " + SECONDS(users.p50) + ", p99 " + SECONDS(users.p99), "users");
  add("HOSP: p95", SECONDS(hosp.p95), "p50 " + SECONDS(hosp.p50) + ", p99 " + SECONDS(hosp.p99), "hosp");
  add("Requests a second", RATE(now.requests_per_s), whole(users.requests) + " in the window, " + whole(users.failed) + " failed", "users");
  add("Slots at HOSP", whole(now.in_flight) + " of " + whole(now.slots), "limit " + whole(now.limit) + ", " + whole(now.left_behind) + " left behind", "hosp");
  add("Queue", whole(now.waiting), "of " + whole(now.max_queue) + ", highest " + whole(highest.gate_waiting), "hosp");
  add("Cache hits", SHARE(cache.hit_rate), whole(now.cache_entries) + " entries, " + bytes(now.cache_bytes), "users");
  byId("tiles").replaceChildren(...found);
}

function rows(id, pairs, empty) {
  const made = pairs.map(([name, ...values]) => {
    const row = element("tr"), head = element("th", name);
    head.scope = "row";
    row.append(head, ...values.map(value => element("td", value, "number")));
    return row;
  });
  if (!made.length) {
    const row = element("tr");
    row.append(element("td", empty || "none", "quiet"));
    made.push(row);
  }
  byId(id).tBodies[0].replaceChildren(...made);
}
function counted(counts) { return Object.entries(counts).sort((a, b) => b[1] - a[1]).map(([name, count]) => [name.replaceAll("_", " "), whole(count)]); }

function lists(told) {
  const {totals, now} = told;
  rows("routes", totals.routes.map(each => [each.route, whole(each.requests), whole(each.by_status["4xx"] || 0), whole(each.by_status["5xx"] || 0), whole(each.by_status.none || 0)]), "no requests");
  rows("hosp", [...counted(totals.hosp.outcomes), ["retries", whole(totals.retries)], ["away", totals.away_s ? span(totals.away_s) : "never"]]);
  rows("refused", counted(totals.refused));
  rows("writes", [...counted(totals.writes), ["open now", whole(now.writes_open)]]);
  rows("cache", [...counted(totals.cache.words), ["on disk", bytes(now.cache_disk_bytes)]]);
  rows("alerts", [...counted(totals.alerts), ["failed log-ins", whole(totals.failed_logins)]]);
  const machine = [["version", told.version], ["running for", span(told.time - told.started)], ["connections, most", whole(now.connections) + ", " + whole(totals.highest.arrival_connections)],
    ["worker restarts", whole(told.workers.restarts)], ["screenings open", whole(now.screening_pending)], ["bugs", whole(totals.bugs)]];
  for (const [status, count] of Object.entries(totals.arrival_refusals)) machine.push(["refused with " + status, whole(count)]);
  for (const each of (told.machines && told.machines.others) || []) {
    machine.push([each.name + (each.version === told.version ? "" : ", version " + each.version), each.running + "/" + each.workers + " workers"]);
  }
  rows("machine", machine);
  const {generation, applied, refused} = told.options, when = time => time == null ? "never" : ago(told, time);
  rows("options", [["generation", whole(generation)], ["applied", when(applied)], ["refused", when(refused)]]);
  rows("certificates", told.certificates.map(each => [each.file, each.left_s < 0 ? "expired" : "for " + span(each.left_s)]), "none");
  rows("sinks", told.sinks.map(sink => [sink.name, sink.up ? whole(sink.behind) + " behind" : "failing"]), "none");
  byId("surges").replaceChildren(...(told.surges.recent.length ? told.surges.recent.slice(0, 3).map(each =>
    element("li", new Date(each.time * 1000).toLocaleTimeString("en", {hour12: false}) + "  " + each.text)) : [element("li", "none since the start", "quiet")]));
}

async function refresh() {
  if (asking) return;
  asking = true;
  const name = chosen();
  for (const link of document.querySelectorAll("#windows a")) {
    if (link.hash === "#" + name) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  try {
    const answer = await fetch("/status.json?window=" + name, {cache: "no-store", signal: AbortSignal.timeout(10000)});
    if (!answer.ok) throw new Error("status " + answer.status);
    const told = await answer.json();
    states(told); tiles(told); lists(told); draw(told.series);
    lastSeen = Date.now();
    byId("lost").hidden = true;
    byId("updated").textContent = "Updated " + new Date(told.time * 1000).toLocaleTimeString("en", {hour12: false});
    document.title = (told.ready && told.now.breaker !== "open" ? "" : "✕ ") + (told.surges.active.length ? "▲ " : "") + "Status · hospproxy";
  } catch (error) {
    byId("lost").textContent = "The proxy does not answer (" + error.message + ")." + (lastSeen ? " The figures are " + span((Date.now() - lastSeen) / 1000) + " old." : "");
    byId("lost").hidden = false;
  } finally { asking = false; }
  if (chosen() !== name) refresh();
}

addEventListener("hashchange", () => { forget(); refresh(); });
refresh();
setInterval(refresh, 5000);
