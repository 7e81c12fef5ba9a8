// Trips over the years, and one month by zone and by hour of the week.

import * as address from "./address.js";
import {
  about,
  api,
  ask,
  byId,
  choice,
  couldNotLoad,
  link,
  loading,
  loadOne,
  make,
  monthName,
  nameOf,
  notice,
  startRun,
  targetNamed,
  traits,
} from "./airflow.js";
import { lineChart, span } from "./chart.js";
import { csvButton, fileName } from "./csv.js";
import { amount, counts, number, share } from "./numbers.js";

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

const ZONES_AGAIN_SECONDS = 2;

let seen = null;
let zones = [];
let month = null;
let measure = "pickups";
let wanted = {};

export function start(parts) {
  wanted = parts;
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

/** Show the service and the month that the address asks for. */
export function go(parts) {
  wanted = parts;
  if (!seen || byId("city-month").hidden) return;
  choose();
  showMonth();
}

/** Choose the wanted service and month where they are loaded, else what was chosen before, else the newest. */
function choose() {
  if (Object.keys(seen.trips[wanted.service] ?? {}).length) byId("city-service").value = wanted.service;
  fillMonths();
  if (seen.trips[byId("city-service").value][wanted.month] !== undefined) byId("city-choice").value = wanted.month;
}

async function look() {
  loading(byId("city-says"), byId("city-chart"));
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
  byId("city-chart").replaceChildren();
  if (!services.length) {
    byId("city-says").textContent = "No month is loaded";
    address.show("city", {});
    return;
  }
  const all = services.flatMap((service) => Object.values(seen.trips[service]));
  byId("city-says").replaceChildren(
    make("b", {}, number(all.reduce((sum, trips) => sum + trips, 0))),
    ` trips in ${amount(all.length, "loaded month")}`,
  );
  byId("city-chart").append(chart(services));
  byId("city-service").replaceChildren(
    ...services.map((service) => make("option", { value: service }, nameOf(service))),
  );
  byId("city-month").hidden = false;
  drawMap();
  choose();
  showMonth();
}

function chart(services) {
  const months = span(services.flatMap((service) => Object.keys(seen.trips[service])).sort());
  return lineChart({
    title: "Trips per month",
    file: ["trips per month"],
    months,
    format: counts,
    lines: services.map((service) => ({
      label: nameOf(service),
      color: `--${service}`,
      dash: traits(service).dashes,
      values: months.map((name) => seen.trips[service][name] ?? null),
    })),
  });
}

/** What is missing, and where to get it. */
function notices(services) {
  const unsummed = seen.without_summary.length;
  const found = [];
  if (unsummed) {
    const which = `${amount(unsummed, "month")} ${unsummed === 1 ? "has" : "have"} no summary`;
    const again = loadOne(unsummed === 1 ? "Load it again" : "Load them again");
    found.push({
      text: [`${which}, because an older version loaded ${unsummed === 1 ? "it" : "them"}. `, ...again, "."],
    });
  }
  if (services.length && !zones.length) found.push({ text: zoneLoader() });
  if (!services.length && !unsummed)
    found.push({
      text: [
        ...loadOne(`Load a month into ${targetNamed(about.summaries).place}`),
        " to see its trips by zone and by hour.",
      ],
    });
  return found;
}

/** What to do without zones: a button that starts the Dag which loads them, for those who may. */
function zoneLoader() {
  const { dag_id: dag, allowed } = seen.zones_load;
  const missing = "The taxi zones are not loaded, so there is no map and zones have no names. ";
  if (!allowed)
    return [missing, "You cannot start runs: ask somebody who may run the Dag ", link(`dags/${dag}`, dag), "."];
  const button = make("button", { type: "button", class: "action" }, "Load the taxi zones");
  const says = make("span", { role: "status" });
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await loadZones(dag, says);
    } catch (error) {
      says.replaceChildren(` Could not load the zones: ${error.message}`);
      button.disabled = false;
    }
  });
  return [missing, button, says];
}

/** Run the Dag that loads the zones until it ends, and then draw the map. A paused Dag is unpaused, or its run waits. */
async function loadZones(dag, says) {
  const { is_paused: isPaused } = await api(`dags/${dag}`);
  if (isPaused) await api(`dags/${dag}`, { is_paused: false }, "PATCH");
  const run = `dags/${dag}/dagRuns/${encodeURIComponent(await startRun(dag, {}))}`;
  const page = link(run.replace("dagRuns", "runs"), "run and logs");
  says.replaceChildren(" Running: ", page, isPaused ? `. ${dag} was paused; from now on it runs monthly.` : ".");
  let state = null;
  for (; state !== "success" && state !== "failed"; { state } = await api(run))
    await new Promise((resolve) => setTimeout(resolve, 1000 * ZONES_AGAIN_SECONDS));
  // A run fails if one target does, and the map's may be another.
  if (state === "failed" && !(await ask("api/zones")).zones.length)
    throw new Error(`the run failed, see the run of ${dag} in Airflow.`);
  await look();
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
  address.show("city", { service: byId("city-service").value, month: choices.value });
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
  byId("city-map").hidden = !drawn.length;
  byId("city-map").parentElement.classList.toggle("without-map", !drawn.length);
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
  byId("zones-csv").replaceChildren(
    csvButton(fileName(byId("city-service").value, byId("city-choice").value, "zones"), () => zoneRows(names)),
  );
  point(null);
}

/** Every zone with its counts and sums; fares and tips are US dollars of the trips that began there. */
function zoneRows(names) {
  const columns = ["location_id", "pickups", "dropoffs", "fares", "fare_sum", "tip_sum"];
  return [
    ["zone", "borough", ...columns],
    ...month.zones.map((zone) => [
      names.get(zone.location_id)?.name,
      names.get(zone.location_id)?.borough,
      ...columns.map((column) => zone[column]),
    ]),
  ];
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

/** Trips per hour of the average week: a month has four or five of each weekday, and an hour of them counts alike. */
function showHours() {
  const averages = month.hours.map((trips, hour) => trips / month.occurs[hour]);
  const most = Math.max(...averages, 0);
  byId("hours-says").textContent = averages.length
    ? `Trips per hour of an average week, New York time. The busiest hour is ${hourName(averages.indexOf(most))} with ${perHour(most)} trips.`
    : "This month has no summary. Load it again on the page Coverage.";
  byId("hours-csv").replaceChildren(
    csvButton(fileName(byId("city-service").value, byId("city-choice").value, "hours of the week"), () => [
      ["weekday", "hour", "trips", "times_in_month", "trips_per_hour"],
      ...averages.map((average, at) => [
        DAYS[Math.floor(at / 24)],
        at % 24,
        month.hours[at],
        month.occurs[at],
        average,
      ]),
    ]),
  );
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
      ...averages.slice(24 * at, 24 * at + 24).map((average, hour) => hourCell(average, most, 24 * at + hour)),
    ),
  );
  byId("hours").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
}

function hourCell(average, most, at) {
  const shade = Math.min(SHADES - 1, Math.floor((SHADES * average) / (most || 1)));
  const sum = `${amount(month.hours[at], "trip")} in ${amount(month.occurs[at], "hour")}`;
  return make(
    "td",
    { "data-q": shade, title: `${hourName(at)}: ${perHour(average)} per hour (${sum})` },
    perHour(average),
  );
}

const hourName = (at) => `${DAYS[Math.floor(at / 24)]} ${at % 24}:00 to ${(at % 24) + 1}:00`;
const perHour = (average) => number(average, average < 100 ? 1 : 0);
