// The quality of the loaded months over time.

import * as address from "./address.js";
import {
  ask,
  byId,
  choice,
  couldNotLoad,
  loading,
  loadOne,
  make,
  monthName,
  nameOf,
  notice,
  traits,
  words,
} from "./airflow.js";
import { lineChart, span } from "./chart.js";
import { csvButton, fileName } from "./csv.js";
import { amount, counts, number, share, shares } from "./numbers.js";

const COLORS = ["--loaded", "--stale", "--differs", "--failed", "--running", "--reason", "--published"];
const SPARSE = [undefined, [8, 4], [2, 3], [8, 3, 2, 3], [5, 2], [1, 2], [10, 2]];

let seen = null;
let shown = null;

export function start(parts) {
  shown = parts.service;
  choice(byId("quality-service"), show);
  look();
}

/** Show the service that the address asks for. */
export function go({ service }) {
  if (seen && traits(service)) show(service);
  else if (seen) address.show("quality", { service: shown });
  else shown = service ?? shown;
}

async function look() {
  loading(byId("quality-says"), byId("quality-charts"), byId("eras"));
  try {
    seen = await ask("api/quality");
  } catch (error) {
    couldNotLoad(byId("quality-says"), byId("quality-notices"), error, look);
    return;
  }
  const services = Object.keys(seen.months);
  byId("quality-service").append(
    ...services.map((service) =>
      make(
        "label",
        {},
        make("input", { type: "radio", name: "quality-service", value: service }),
        make("span", {}, nameOf(service)),
      ),
    ),
  );
  const first = services.find((service) => seen.months[service].length) ?? services[0];
  show(services.includes(shown) ? shown : first);
}

function show(service) {
  shown = service;
  byId("quality-service").querySelector(`[value="${service}"]`).checked = true;
  address.show("quality", { service });
  const rows = seen.months[service];
  showEras(service);
  byId("quality-charts").replaceChildren();
  if (!rows.length) {
    byId("quality-says").textContent = `No month of ${nameOf(service)} is loaded`;
    notice(byId("quality-notices"), { text: [...loadOne("Load one"), " to see its rows read and rejected."] });
    return;
  }
  const read = rows.reduce((sum, row) => sum + row.read, 0);
  const rejected = read - rows.reduce((sum, row) => sum + row.loaded, 0);
  byId("quality-says").replaceChildren(
    make("b", {}, share(rejected / read)),
    ` of ${amount(read, "row")} of ${nameOf(service)} ${read === 1 ? "was" : "were"} rejected`,
  );
  notice(byId("quality-notices"), ...withoutSummary(rows));
  byId("quality-charts").append(...charts(service, rows));
}

function withoutSummary(rows) {
  const unsummed = rows.filter((row) => row.outside_month === null).length;
  if (!unsummed) return [];
  const which = `${number(unsummed)} of ${amount(rows.length, "month")} ${unsummed === 1 ? "has" : "have"} no summary`;
  const again = loadOne(unsummed === 1 ? "Load it again" : "Load them again");
  return [{ text: [`${which}, because an older version loaded ${unsummed === 1 ? "it" : "them"}. `, ...again, "."] }];
}

function charts(service, rows) {
  const months = span(rows.map((row) => row.month));
  const byMonth = new Map(rows.map((row) => [row.month, row]));
  const values = (of) => months.map((month) => (byMonth.has(month) ? of(byMonth.get(month)) : null));
  const part = (name) => (row) => (row[name] === null ? null : row[name] / Math.max(row.loaded, 1));
  const reasons = [...new Set(rows.flatMap((row) => Object.keys(row.rejected)))];
  const marks = seen.eras[service].slice(1).map((era) => era.since);
  const drawn = [
    {
      title: "Rows",
      file: ["rows"],
      format: counts,
      lines: [
        { label: "read", color: "--published", dash: [3, 3], values: values((row) => row.read) },
        { label: "loaded", color: `--${service}`, values: values((row) => row.loaded) },
      ],
    },
    {
      title: "Share of rows rejected, by reason",
      file: ["rows rejected"],
      format: shares,
      lines: reasons.map((reason, at) => ({
        label: words(reason),
        color: COLORS[at % COLORS.length],
        dash: SPARSE[at % SPARSE.length],
        values: values((row) => (row.rejected[reason] ?? 0) / Math.max(row.read, 1)),
      })),
    },
    {
      title: "Share of trips that began outside the file's month",
      file: ["trips outside the month"],
      format: shares,
      lines: [{ label: "outside the month", color: "--differs", values: values(part("outside_month")) }],
    },
  ];
  if (traits(service).has_meter) {
    const line = { label: "without a meter record", color: "--stale", values: values(part("without_meter")) };
    const file = ["trips without a meter record"];
    drawn.push({ title: "Share of trips without a meter record", file, format: shares, lines: [line] });
  }
  return drawn.map((of) => lineChart({ months, marks, ...of, file: [service, ...of.file] }));
}

function showEras(service) {
  const eras = seen.eras[service];
  byId("eras").replaceChildren(...eras.map((era, at) => eraItem(era, at === 0)));
  byId("eras-csv").replaceChildren(
    csvButton(fileName(service, "schema changes"), () => [
      ["since", "columns", "added", "removed"],
      ...eras.map(({ since, columns, came, went }) => [since, columns, came.join(" "), went.join(" ")]),
    ]),
  );
}

function eraItem(era, isFirst) {
  const changes = [
    era.came.length ? ["added: ", make("b", {}, era.came.join(", "))] : [],
    era.went.length ? ["removed: ", make("b", {}, era.went.join(", "))] : [],
  ].filter((change) => change.length);
  const both = changes.flatMap((change, at) => (at ? ["; ", ...change] : change));
  const others = both.length ? both : ["same columns, with other names or types"];
  const text = isFirst ? [`first files, with ${amount(era.columns, "column")}`] : others;
  return make("li", {}, make("span", {}, monthName(era.since, "short")), make("span", {}, ...text));
}
