// Line charts over months, each with its numbers as a table for people who cannot see it.

import { make, monthName } from "./airflow.js";
import { csvButton, fileName } from "./csv.js";

const HEIGHT = 216;
const charts = new Set();
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim() || style("--loaded");
const NARROWEST_TICK = 46;
const FEW = 30;
// Steps of an axis of counts: there is no half a trip.
const WHOLE = Array.from({ length: 13 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();
const seconds = (month) => Date.parse(`${month}-01T00:00:00Z`) / 1000;

/**
 * @param {{title: string, months: string[], lines: {label: string, color: string, values: (number|null)[], dash?: number[]}[],
 *   format: object, file: string[], marks?: string[]}} of `color` is the name of a CSS variable, `format` one of
 *   numbers.js, and `file` the words of the name under which the numbers are downloaded
 */
export function lineChart(of) {
  const plot = make("div", { class: "plot", role: "img", "aria-label": summary(of) });
  const box = make("article", { class: "chart" }, make("h3", {}, of.title), plot, table(of));
  const draw = () => {
    box.chart?.destroy();
    box.chart = new uPlot(options(of, plot), [of.months.map(seconds), ...of.lines.map((line) => line.values)], plot);
  };
  new ResizeObserver(() => {
    if (!plot.clientWidth) return;
    if (box.chart?.width !== plot.clientWidth) draw();
  }).observe(plot);
  charts.add(box);
  box.draw = draw;
  return box;
}

addEventListener("themechange", () => {
  for (const box of charts) {
    if (!box.isConnected) charts.delete(box);
    else if (box.chart) box.draw();
  }
});

function options({ lines, format, marks = [], months }, plot) {
  // Unless the pointer is on the chart, the legend shows the last month that all lines have.
  const common = months.findLastIndex((_, at) => lines.every(({ values }) => values[at] !== null));
  const resting = { idx: common < 0 ? months.length - 1 : common };
  return {
    width: plot.clientWidth,
    height: HEIGHT,
    tzDate: (stamp) => uPlot.tzDate(new Date(stamp * 1000), "Etc/UTC"),
    cursor: { y: false, points: { size: 7 } },
    scales: {
      x: { range: () => reach(months) },
      y: { range: (_chart, _least, most) => [0, most > 0 ? most * 1.08 : 1] },
    },
    axes: axes(format, months),
    series: series(lines, format),
    legend: { markers: { width: 0, fill: (_chart, at) => style(lines[at - 1].color) } },
    hooks: {
      drawClear: [(chart) => drawMarks(chart, marks)],
      setLegend: [
        (chart) => {
          if (chart.legend.idx === null) chart.setLegend(resting, false);
        },
      ],
      ready: [(chart) => chart.setLegend(resting)],
    },
  };
}

function axes(format, months) {
  const axis = {
    stroke: style("--faint"),
    font: "12px Overpass, sans-serif",
    grid: { stroke: style("--line"), width: 1 },
    ticks: { stroke: style("--line"), width: 1, size: 4 },
  };
  const x = {
    ...axis,
    grid: { show: false },
    size: 44,
    splits: (chart) => ticks(months, chart.bbox.width / devicePixelRatio),
    values: (_chart, stamps) => stamps.map(tick),
  };
  const labels = (_chart, values, _axis, _space, step) => format.labels(values, step);
  const y = { ...axis, size: 62, values: labels };
  return [x, format.isWhole ? { ...y, incrs: WHOLE } : y];
}

function series(lines, format) {
  const month = {
    label: "Month",
    value: (_chart, stamp) =>
      stamp === null ? "–" : monthName(new Date(stamp * 1000).toISOString().slice(0, 7), "short"),
  };
  const drawn = lines.map(({ label, color, dash, values }) => ({
    label,
    dash,
    width: 2,
    stroke: style(color),
    spanGaps: false,
    points: { show: false, filter: () => dotted(values), size: 5, fill: style(color) },
    value: (_chart, value) => (value === null || value === undefined ? "–" : format.short(value)),
  }));
  return [month, ...drawn];
}

/** The values with a dot: all of a short line, and those without a neighbour, of which a line would show nothing. */
function dotted(values) {
  const known = values.flatMap((value, at) => (value === null ? [] : [at]));
  const isAlone = (at) => (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null;
  return values.length < FEW ? known : known.filter(isAlone);
}

/** The months of a chart from edge to edge; a single one is in the middle of its own. */
function reach(months) {
  const [first, last] = [seconds(months[0]), seconds(months.at(-1))];
  const margin = first === last ? 16 * 86_400 : 0;
  return [first - margin, last + margin];
}

/** The months that the axis names: as many as fit, at equal distances, with each January first. */
function ticks(months, width) {
  const room = Math.max(1, Math.floor(width / NARROWEST_TICK));
  const every = [1, 2, 3, 6, 12, 24, 36, 60, 120].find((step) => months.length / step <= room) ?? 240;
  const named = months.filter((month) => {
    const [year, number_] = month.split("-").map(Number);
    return (12 * year + number_ - 1) % every === 0;
  });
  return (named.length ? named : [months[0]]).map(seconds);
}

/** A month's name; that of the first one and of each January has its year, and among Januaries the year is enough. */
function tick(stamp, at, all) {
  const day = new Date(stamp * 1000);
  const year = day.getUTCFullYear();
  const isJanuary = (each) => new Date(each * 1000).getUTCMonth() === 0;
  if (isJanuary(stamp) && (at || (all.length > 1 && all.every(isJanuary)))) return String(year);
  const name = day.toLocaleDateString("en-US", { month: "short", timeZone: "UTC" });
  return at ? name : `${name}\n${year}`;
}

function drawMarks(chart, marks) {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.strokeStyle = style("--faint");
  ctx.globalAlpha = 0.55;
  ctx.setLineDash([2, 4]);
  for (const month of marks) {
    const x = Math.round(chart.valToPos(seconds(month), "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

function summary({ title, months, lines, format }) {
  const last = lines.map(({ label, values }) => {
    const at = values.findLastIndex((value) => value !== null);
    return at < 0 ? null : `${label} ${format.exact(values[at])} in ${monthName(months[at])}`;
  });
  return `${title}: ${last.filter(Boolean).join(", ") || "no data"}. The numbers follow in a table.`;
}

function table(of) {
  const details = make("details", {}, make("summary", {}, "Show as a table"));
  details.addEventListener("toggle", () => {
    if (details.childElementCount > 1) return;
    const { format, lines } = of;
    const cells = ([month, ...values]) => [
      make("th", { scope: "row" }, month),
      ...values.map((value) => make("td", {}, value === null ? "–" : format.exact(value))),
    ];
    const head = ["Month", ...lines.map(({ label }) => label)].map((name) => make("th", { scope: "col" }, name));
    const rows = withValues(of).map((row) => make("tr", {}, ...cells(row)));
    details.append(
      csvButton(fileName(...of.file), () => [
        ["month", ...lines.map(({ label }) => label)],
        ...withValues(of).map(([month, ...values]) => [month, ...values.map((value) => value ?? null)]),
      ]),
      make(
        "table",
        { class: "numbers", tabindex: 0 },
        make("thead", {}, make("tr", {}, ...head)),
        make("tbody", {}, ...rows),
      ),
    );
  });
  return details;
}

/** The months of which anything is known, the newest first, each with its value of every line. */
function withValues({ months, lines }) {
  const rows = months.map((month, at) => [month, ...lines.map(({ values }) => values[at])]);
  return rows.filter(([, ...values]) => values.some((value) => value !== null)).reverse();
}

/** All months from the first to the last. */
export function span(months) {
  const [first, last] = [months[0], months.at(-1)];
  const all = [];
  for (let [year, month] = first.split("-").map(Number); ; month === 12 ? ((year += 1), (month = 1)) : (month += 1)) {
    all.push(`${year}-${String(month).padStart(2, "0")}`);
    if (all.at(-1) >= last) return all;
  }
}
