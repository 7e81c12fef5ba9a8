// Line charts over months, each with its numbers as a table for people who cannot see it.

import { make, monthName } from "./airflow.js";

const HEIGHT = 216;
const charts = new Set();
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim() || style("--loaded");
const seconds = (month) => Date.parse(`${month}-01T00:00:00Z`) / 1000;

/**
 * @param {{title: string, months: string[], lines: {label: string, color: string, values: (number|null)[], dash?: number[]}[],
 *   format: (value: number) => string, marks?: string[]}} of `color` is the name of a CSS variable
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
  const axis = {
    stroke: style("--faint"),
    font: "12px Overpass, sans-serif",
    grid: { stroke: style("--line"), width: 1 },
    ticks: { stroke: style("--line"), width: 1, size: 4 },
  };
  // Unless the pointer is on the chart, the legend shows the last month that all lines have.
  const common = months.findLastIndex((_, at) => lines.every(({ values }) => values[at] !== null));
  const resting = { idx: common < 0 ? months.length - 1 : common };
  return {
    width: plot.clientWidth,
    height: HEIGHT,
    tzDate: (stamp) => uPlot.tzDate(new Date(stamp * 1000), "Etc/UTC"),
    cursor: { y: false, points: { size: 7 } },
    scales: { y: { range: (_chart, _least, most) => [0, most > 0 ? most * 1.08 : 1] } },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 34,
        values: (_chart, stamps) => stamps.map((stamp) => tick(stamp)),
        space: 46,
      },
      { ...axis, size: 62, values: (_chart, values) => values.map(format) },
    ],
    series: series(lines, format, months.length),
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

function series(lines, format, months) {
  const month = {
    label: "Month",
    value: (_chart, stamp) =>
      stamp === null ? "–" : monthName(new Date(stamp * 1000).toISOString().slice(0, 7), "short"),
  };
  const drawn = lines.map(({ label, color, dash }) => ({
    label,
    dash,
    width: 2,
    stroke: style(color),
    spanGaps: false,
    points: { show: months < 30, size: 5, fill: style(color) },
    value: (_chart, value) => (value === null || value === undefined ? "–" : format(value)),
  }));
  return [month, ...drawn];
}

function tick(stamp) {
  const day = new Date(stamp * 1000);
  return day.getUTCMonth()
    ? day.toLocaleDateString("en-US", { month: "short", timeZone: "UTC" })
    : String(day.getUTCFullYear());
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
    return at < 0 ? null : `${label} ${format(values[at])} in ${monthName(months[at])}`;
  });
  return `${title}: ${last.filter(Boolean).join(", ") || "no data"}. The numbers follow in a table.`;
}

function table({ months, lines, format }) {
  const details = make("details", {}, make("summary", {}, "Show as a table"));
  details.addEventListener(
    "toggle",
    () => {
      if (details.childElementCount > 1) return;
      const head = make(
        "tr",
        {},
        make("th", { scope: "col" }, "Month"),
        ...lines.map(({ label }) => make("th", { scope: "col" }, label)),
      );
      const rows = months.map((month, at) =>
        make(
          "tr",
          {},
          make("th", { scope: "row" }, month),
          ...lines.map(({ values }) => make("td", {}, values[at] === null ? "–" : format(values[at]))),
        ),
      );
      details.append(
        make("table", { class: "numbers", tabindex: 0 }, make("thead", {}, head), make("tbody", {}, ...rows.reverse())),
      );
    },
    { once: false },
  );
  return details;
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
