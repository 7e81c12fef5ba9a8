// Trips over the years, and one month by zone and by hour of the week.

import {
  about,
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
  targetNamed,
  traits,
} from "./airflow.js";
import { lineChart, span } from "./chart.js";

const SVG = "http://www.w3.org/2000/svg";
const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const SHADES = 7;
const TOP = 10;
const MEASURES = {
  pickups: { title: "Pickups by zone", of: (zone) => zone.pickups, format: number },
  dropoffs: { title: "Dropoffs by zone", of: (zone) => zone.dropoffs, format: number },
  fare: {
    title: "Mean fare by pickup zone",
    of: (zone) => (zone.fares ? zone.fare_sum / zone.fares : null),
    format: (value) => `$${number(value, 2)}`,
  },
  tip: {
    title: "Tips as a share of fares, by pickup zone",
    of: (zone) => (zone.fare_sum > 0 ? zone.tip_sum / zone.fare_sum : null),
    format: share,
  },
};
const FEWEST_FARES = 30;
const isMean = () => measure === "fare" || measure === "tip";

let seen = null;
let zones = [];
let month = null;
let measure = "pickups";

export function start() {
  choice(byId("measure"), (value) => {
    measure = value;
    showZones();
  });
  byId("city-service").addEventListener("change", () => {
    fillMonths();
    showMonth();
  });
  byId("city-choice").addEventListener("change", showMonth);
  byId("city-back").addEventListener("click", () => step(-1));
  byId("city-on").addEventListener("click", () => step(1));
  look();
}

async function look() {
  byId("city-says").textContent = "Loading …";
  try {
    [seen, { zones }] = await Promise.all([ask("api/city"), ask("api/zones")]);
  } catch (error) {
    couldNotLoad(byId("city-says"), byId("city-notices"), error, look);
    return;
  }
  show();
}

function show() {
  const services = Object.keys(seen.trips).filter((service) => Object.keys(seen.trips[service]).length);
  notice(byId("city-notices"), ...notices(services));
  if (!services.length) {
    byId("city-says").textContent = "No month is loaded";
    return;
  }
  const all = services.flatMap((service) => Object.values(seen.trips[service]));
  byId("city-says").replaceChildren(
    make("b", {}, number(all.reduce((sum, trips) => sum + trips, 0))),
    ` trips in ${number(all.length)} loaded months`,
  );
  const months = span(services.flatMap((service) => Object.keys(seen.trips[service])).sort());
  const chart = lineChart({
    title: "Trips per month",
    months,
    format: (value) => value.toLocaleString("en-US", { notation: "compact", maximumFractionDigits: 1 }),
    lines: services.map((service) => ({
      label: nameOf(service),
      color: `--${service}`,
      dash: traits(service).dashes,
      values: months.map((name) => seen.trips[service][name] ?? null),
    })),
  });
  byId("city-chart").replaceChildren(chart);
  byId("city-service").replaceChildren(
    ...services.map((service) => make("option", { value: service }, nameOf(service))),
  );
  byId("city-month").hidden = false;
  drawMap();
  fillMonths();
  showMonth();
}

/** What is missing, and where to get it. */
function notices(services) {
  const unsummed = seen.without_summary.length;
  const found = [];
  if (unsummed)
    found.push({
      text: [
        `${number(unsummed)} months have no summary, because an older version loaded them. `,
        ...loadOne("Load them again"),
        ".",
      ],
    });
  if (services.length && !zones.length)
    found.push({ text: "There is no map yet. Run the Dag ingest_taxi_zones once." });
  if (!services.length && !unsummed)
    found.push({
      text: [
        ...loadOne(`Load a month into ${targetNamed(about.summaries).place}`),
        " to see its trips by zone and by hour.",
      ],
    });
  return found;
}

function fillMonths() {
  const before = byId("city-choice").value;
  const months = Object.keys(seen.trips[byId("city-service").value]).sort().reverse();
  byId("city-choice").replaceChildren(...months.map((name) => make("option", { value: name }, monthName(name))));
  if (months.includes(before)) byId("city-choice").value = before;
}

function step(by) {
  byId("city-choice").selectedIndex -= by; // the newest month comes first
  showMonth();
}

async function showMonth() {
  const choices = byId("city-choice");
  byId("city-back").disabled = choices.selectedIndex === choices.length - 1;
  byId("city-on").disabled = choices.selectedIndex === 0;
  const asked = `${byId("city-service").value}/${choices.value}`;
  try {
    const answer = await ask(`api/city/${asked}`);
    if (asked !== `${byId("city-service").value}/${choices.value}`) return;
    month = {
      ...answer,
      zones: answer.zones.map(([location_id, pickups, dropoffs, fares, fare_sum, tip_sum]) => ({
        location_id,
        pickups,
        dropoffs,
        fares,
        fare_sum,
        tip_sum,
      })),
    };
  } catch (error) {
    notice(byId("city-notices"), { text: error.message, bad: true });
    return;
  }
  showZones();
  showHours();
}

function drawMap() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("role", "img");
  const drawn = zones.filter((zone) => zone[3]);
  for (const [id, , , path] of drawn) {
    const shape = document.createElementNS(SVG, "path");
    shape.setAttribute("d", path);
    shape.dataset.zone = id;
    svg.append(shape);
  }
  byId("map").replaceChildren(svg);
  if (!drawn.length) return;
  const { x, y, width, height } = svg.getBBox();
  svg.setAttribute("viewBox", `${x - 2} ${y - 2} ${width + 4} ${height + 4}`);
  for (const event of ["pointerover", "pointerdown"])
    svg.addEventListener(event, (at) => point(at.target.dataset.zone));
  svg.addEventListener("pointerleave", () => point(null));
}

function point(id) {
  byId("map").querySelector(".at")?.classList.remove("at");
  const shape = id && byId("map").querySelector(`[data-zone="${id}"]`);
  if (!shape || !month) {
    byId("map-says").textContent = "Point at or touch a zone to see its name and value.";
    return;
  }
  shape.classList.add("at");
  shape.parentNode.append(shape);
  const [, name, borough] = zones.find((zone) => zone[0] === Number(id));
  const value = shown().get(Number(id));
  byId("map-says").replaceChildren(
    make("b", {}, name),
    `, ${borough}: ${value === undefined ? "too few trips" : MEASURES[measure].format(value)}`,
  );
}

/** The measure of each zone with enough trips. */
function shown() {
  const { of } = MEASURES[measure];
  const usable = month.zones.filter(
    (zone) => of(zone) !== null && of(zone) > 0 && (!isMean() || zone.fares >= FEWEST_FARES),
  );
  return new Map(usable.map((zone) => [zone.location_id, of(zone)]));
}

function showZones() {
  const values = shown();
  const { title, format } = MEASURES[measure];
  const names = new Map(zones.map(([id, name, borough]) => [id, { name, borough }]));
  const sorted = [...values].sort((one, other) => other[1] - one[1]);
  const bounds = quantiles(sorted.map(([, value]) => value).reverse());
  for (const shape of byId("map").querySelectorAll("path")) {
    const value = values.get(Number(shape.dataset.zone));
    if (value === undefined) delete shape.dataset.q;
    else shape.dataset.q = bounds.filter((bound) => value >= bound).length;
  }
  byId("map")
    .querySelector("svg")
    .setAttribute("aria-label", `Map of the taxi zones: ${title.toLowerCase()}. The table has the numbers.`);
  byId("scale").replaceChildren(
    ...(sorted.length
      ? [
          format(sorted.at(-1)[1]),
          make("span", {}, ...Array.from({ length: SHADES }, (_, shade) => make("i", { "data-q": shade }))),
          format(sorted[0][1]),
        ]
      : []),
  );
  byId("zones-title").textContent = title;
  const rows = sorted.map(([id, value]) =>
    make(
      "tr",
      {},
      make(
        "th",
        { scope: "row" },
        names.get(id)?.name ?? `Zone ${id}`,
        make("span", { class: "small" }, names.get(id)?.borough ?? ""),
      ),
      make("td", {}, format(value)),
    ),
  );
  byId("zones").replaceChildren(...(rows.length ? rows.slice(0, TOP) : [make("tr", {}, make("td", {}, nothing()))]));
  byId("other-zones").replaceChildren(...rows.slice(TOP));
  byId("other-zones").closest("details").hidden = rows.length <= TOP;
  point(null);
}

function nothing() {
  const { has_fares: hasFares } = traits(byId("city-service").value);
  if (!month.zones.length) return "This month's file has coordinates instead of zones.";
  return isMean() && !hasFares ? "This service's files have no fares." : "No zone has enough trips.";
}

/** The least value of each shade but the first. All shades have equally many zones. */
function quantiles(ascending) {
  if (!ascending.length) return [];
  return Array.from({ length: SHADES - 1 }, (_, at) => ascending[Math.floor((ascending.length * (at + 1)) / SHADES)]);
}

function showHours() {
  const most = Math.max(...month.hours, 1);
  const busiest = month.hours.indexOf(most);
  byId("hours-says").textContent = month.hours.length
    ? `The busiest hour is ${DAYS[Math.floor(busiest / 24)]} ${busiest % 24}:00 to ${(busiest % 24) + 1}:00, New York time, with ${number(most)} trips.`
    : "This month has no summary. Load it again on the page Coverage.";
  const head = make(
    "tr",
    {},
    make("td"),
    ...Array.from({ length: 24 }, (_, hour) =>
      make("th", { scope: "col", "aria-label": `${hour}:00` }, hour % 6 ? "" : String(hour)),
    ),
  );
  const rows = DAYS.map((day, at) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, day),
      ...month.hours.slice(24 * at, 24 * at + 24).map((trips, hour) =>
        make(
          "td",
          {
            "data-q": Math.min(SHADES - 1, Math.floor((SHADES * trips) / most)),
            title: `${day} ${hour}:00: ${number(trips)} trips`,
          },
          number(trips),
        ),
      ),
    ),
  );
  byId("hours").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
}
