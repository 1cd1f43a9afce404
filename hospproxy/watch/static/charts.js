// Four charts, drawn by uPlot. The colours follow the scheme of the page.
"use strict";
const SECONDS = value => value == null ? "–" : value < 1 ? Math.round(value * 1000) + " ms" : value.toFixed(1) + " s";
const SHARE = value => value == null ? "–" : (Math.floor(value * 10000) / 100).toFixed(value === 1 ? 0 : 2) + " %";
const RATE = value => value == null ? "–" : value.toFixed(1);
const CHARTS = {
  traffic: {show: RATE, lines: [["requests_per_s", "users", "--users"], ["attempts_per_s", "to HOSP", "--hosp"],
    ["refused_per_s", "refused", "--bad-line"], ["failed_per_s", "failed", "--soft"]]},
  success: {show: SHARE, top: 1, lines: [["success", "users", "--users"], ["hosp_success", "HOSP", "--hosp"]]},
  latency: {show: SECONDS, lines: [["p50", "users p50", "--users"], ["p95", "users p95", "--soft"],
    ["hosp_p50", "HOSP p50", "--hosp"], ["hosp_p95", "HOSP p95", "--bad-line"]]},
  queue: {show: RATE, lines: [["waiting", "waiting", "--users"], ["in_flight", "at HOSP", "--hosp"]]},
};
const drawn = {};

function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

// Hours and minutes, seconds within five minutes, the day within a week; in the time zone of whoever looks.
function clock(at) {
  const when = new Date(at * 1000), two = number => String(number).padStart(2, "0");
  const minute = two(when.getHours()) + ":" + two(when.getMinutes());
  if (chosen() === "1w") return when.toLocaleDateString("en", {weekday: "short"}) + " " + minute;
  return chosen() === "5m" && when.getSeconds() ? minute + ":" + two(when.getSeconds()) : minute;
}

function range(chart) {
  return (_, low, high) => {
    if (chart.top) return [Math.min(0.9, Math.max(0, low == null ? 0 : low - 0.02)), 1];
    return [0, Math.max(high == null ? 1 : high * 1.1, chart.show === SECONDS ? 0.01 : 1)];
  };
}

function create(place, chart, data) {
  const axis = {stroke: colour("--quiet"), grid: {stroke: colour("--grid"), width: 1}, ticks: {show: false},
    font: "12px system-ui, sans-serif"};
  return new uPlot({
    width: place.clientWidth, height: place.clientHeight - 46,
    cursor: {drag: {x: false, y: false}, points: {size: 6}},
    scales: {x: {time: true}, y: {range: range(chart)}},
    axes: [{...axis, space: 64, values: (_, ticks) => ticks.map(clock)}, {...axis, size: 58, values: (_, ticks) => ticks.map(chart.show)}],
    series: [{label: "", value: (_, at) => at == null ? "" : clock(at)},
      ...chart.lines.map(([, label, name]) => ({label, stroke: colour(name), width: 2,
        value: (_, v) => v == null ? "" : chart.show(v),
        points: {show: (u, i) => u.data[i].filter(v => v != null).length < 3}}))],
  }, data, place);
}

function draw(series) {
  for (const place of document.querySelectorAll(".chart")) {
    const chart = CHARTS[place.dataset.chart];
    const data = [series.time, ...chart.lines.map(([key]) => series[key] || [])];
    const old = drawn[place.dataset.chart];
    if (old) old.setData(data);
    else drawn[place.dataset.chart] = create(place, chart, data);
  }
}

function forget() {
  for (const name of Object.keys(drawn)) { drawn[name].destroy(); delete drawn[name]; }
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { forget(); refresh(); });
let resizing = 0;
addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(() => { forget(); refresh(); }, 200); });
