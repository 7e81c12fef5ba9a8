// The quality of the loaded months over time.

import {
  ask,
  byId,
  choice,
  couldNotLoad,
  loadOne,
  make,
  monthName,
  nameOf,
  notice,
  number,
  share,
  traits,
  words,
} from "./airflow.js";
import { lineChart, span } from "./chart.js";

const COLORS = ["--loaded", "--stale", "--differs", "--failed", "--running", "--reason", "--published"];
const SPARSE = [undefined, [8, 4], [2, 3], [8, 3, 2, 3], [5, 2], [1, 2], [10, 2]];

let seen = null;

export function start() {
  choice(byId("quality-service"), show);
  look();
}

async function look() {
  byId("quality-says").textContent = "Loading …";
  try {
    seen = await ask("api/quality");
  } catch (error) {
    couldNotLoad(byId("quality-says"), byId("quality-notices"), error, look);
    return;
  }
  const services = Object.keys(seen.months);
  const first = services.find((service) => seen.months[service].length) ?? services[0];
  byId("quality-service").append(
    ...services.map((service) =>
      make(
        "label",
        {},
        make("input", { type: "radio", name: "quality-service", value: service, checked: service === first }),
        make("span", {}, nameOf(service)),
      ),
    ),
  );
  show(first);
}

function show(service) {
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
    ` of ${number(read)} rows of ${nameOf(service)} were rejected`,
  );
  const unsummed = rows.filter((row) => row.outside_month === null).length;
  notice(
    byId("quality-notices"),
    ...(unsummed
      ? [
          {
            text: [
              `${number(unsummed)} of ${number(rows.length)} months have no summary, because an older version loaded them. `,
              ...loadOne("Load them again"),
              ".",
            ],
          },
        ]
      : []),
  );
  byId("quality-charts").append(...charts(service, rows));
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
      format: compact,
      lines: [
        { label: "read", color: "--published", dash: [3, 3], values: values((row) => row.read) },
        { label: "loaded", color: `--${service}`, values: values((row) => row.loaded) },
      ],
    },
    {
      title: "Share of rows rejected, by reason",
      format: share,
      lines: reasons.map((reason, at) => ({
        label: words(reason),
        color: COLORS[at % COLORS.length],
        dash: SPARSE[at % SPARSE.length],
        values: values((row) => (row.rejected[reason] ?? 0) / Math.max(row.read, 1)),
      })),
    },
    {
      title: "Share of trips that began outside the file's month",
      format: share,
      lines: [{ label: "outside the month", color: "--differs", values: values(part("outside_month")) }],
    },
  ];
  if (traits(service).has_meter) {
    const line = { label: "without a meter record", color: "--stale", values: values(part("without_meter")) };
    drawn.push({ title: "Share of trips without a meter record", format: share, lines: [line] });
  }
  return drawn.map((of) => lineChart({ months, marks, ...of }));
}

function showEras(service) {
  byId("eras").replaceChildren(
    ...seen.eras[service].map((era, at) => {
      const changes = [
        era.came.length ? ["added: ", make("b", {}, era.came.join(", "))] : [],
        era.went.length ? ["removed: ", make("b", {}, era.went.join(", "))] : [],
      ].filter((change) => change.length);
      const text =
        at === 0
          ? [`first files, with ${era.columns} columns`]
          : changes.length
            ? changes.flatMap((change, i) => (i ? ["; ", ...change] : change))
            : ["same columns, with other names or types"];
      return make("li", {}, make("span", {}, monthName(era.since, "short")), make("span", {}, ...text));
    }),
  );
}

function compact(value) {
  return value.toLocaleString("en-US", { notation: "compact", maximumFractionDigits: 1 });
}
