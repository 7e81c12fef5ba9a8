// How good the loaded months are, over time.

import { ask, byId, choice, loadOne, make, monthName, nameOf, notice, number, share, words } from "./airflow.js";
import { lineChart, span } from "./chart.js";

const COLORS = ["--loaded", "--stale", "--differs", "--failed", "--running", "--fhv", "--published"];
const SPARSE = [undefined, [8, 4], [2, 3], [8, 3, 2, 3], [5, 2], [1, 2], [10, 2]];

let told = null;

export async function start() {
  choice(byId("quality-service"), show);
  try {
    told = await ask("api/quality");
  } catch (error) {
    byId("quality-says").textContent = "Nothing to see just now.";
    notice(byId("quality-notices"), { text: error.message, bad: true });
    return;
  }
  const services = Object.keys(told.months);
  const first = services.find((service) => told.months[service].length) ?? services[0];
  byId("quality-service").append(...services.map((service) => make(
    "label", {}, make("input", { type: "radio", name: "quality-service", value: service, checked: service === first }), make("span", {}, nameOf(service)),
  )));
  show(first);
}

function show(service) {
  const rows = told.months[service];
  showEras(service);
  byId("quality-charts").replaceChildren();
  if (!rows.length) {
    byId("quality-says").textContent = `No month of ${nameOf(service)} is loaded`;
    notice(byId("quality-notices"), { text: [...loadOne("Load one"), "; this page then shows what was read and rejected, month by month."] });
    return;
  }
  const read = rows.reduce((sum, row) => sum + row.read, 0);
  const rejected = read - rows.reduce((sum, row) => sum + row.loaded, 0);
  byId("quality-says").replaceChildren(make("b", {}, share(rejected / read)), ` of ${number(read)} rows of ${nameOf(service)} were rejected`);
  const unsummed = rows.filter((row) => row.outside_month === null).length;
  notice(byId("quality-notices"), ...(unsummed ? [{ text: [`${number(unsummed)} of ${number(rows.length)} months were loaded before there were summaries: `, ...loadOne("load them again"), " to see all of them below."] }] : []));
  byId("quality-charts").append(...charts(service, rows));
}

function charts(service, rows) {
  const months = span(rows.map((row) => row.month));
  const byMonth = new Map(rows.map((row) => [row.month, row]));
  const values = (of) => months.map((month) => (byMonth.has(month) ? of(byMonth.get(month)) : null));
  const part = (name) => (row) => (row[name] === null ? null : row[name] / Math.max(row.loaded, 1));
  const reasons = [...new Set(rows.flatMap((row) => Object.keys(row.rejected)))];
  const marks = told.eras[service].slice(1).map((era) => era.since);
  const common = { months, marks };
  const made = [
    lineChart({ ...common, title: "Rows", format: compact, lines: [
      { label: "read", color: "--published", dash: [3, 3], values: values((row) => row.read) },
      { label: "loaded", color: `--${service}`, values: values((row) => row.loaded) },
    ] }),
    lineChart({ ...common, title: "Share of rows rejected, by reason", format: share, lines: reasons.map((reason, at) => ({
      label: words(reason), color: COLORS[at % COLORS.length], dash: SPARSE[at % SPARSE.length],
      values: values((row) => (row.rejected[reason] ?? 0) / Math.max(row.read, 1)),
    })) }),
    lineChart({ ...common, title: "Share of trips that began in another month than the file's", format: share, lines: [
      { label: "outside the month", color: "--differs", values: values(part("outside_month")) },
    ] }),
  ];
  if (rows.some((row) => row.without_meter !== null)) {
    made.push(lineChart({ ...common, title: "Share of trips without a meter's record", format: share, lines: [
      { label: "without a meter's record", color: "--stale", values: values(part("without_meter")) },
    ] }));
  }
  return made;
}

function showEras(service) {
  byId("eras").replaceChildren(...told.eras[service].map((era, at) => {
    const changes = [
      era.came.length ? ["new: ", make("b", {}, era.came.join(", "))] : [],
      era.went.length ? ["gone: ", make("b", {}, era.went.join(", "))] : [],
    ].filter((change) => change.length);
    const said = at === 0 ? [`the first files, with ${era.columns} columns`] : changes.length ? changes.flatMap((change, i) => (i ? ["; ", ...change] : change)) : ["other names or types, the same columns"];
    return make("li", {}, make("span", {}, monthName(era.since, "short")), make("span", {}, ...said));
  }));
}

function compact(value) {
  return value.toLocaleString("en-US", { notation: "compact", maximumFractionDigits: 1 });
}
