// Which months are where: a calendar for each service, and a sheet for each month.

import { api, ask, byId, choice, link, make, monthName, nameOf, notice, number, when, words } from "./airflow.js";

const PLACES = { postgres: "Postgres", lake: "the lake", bigquery: "BigQuery" };
const SHORT = {
  loaded: "Loaded",
  published: "Not loaded",
  stale: "Republished",
  count_differs: "Count differs",
  failed: "Failed",
  running: "Running",
  not_published: "Not published",
};
const LETTERS = [..."JFMAMJJASOND"];
const SECONDS_BETWEEN_LOOKS = { busy: 3, idle: 60 };

/** The name of a state; of a target that does not answer, nobody knows that a month is not loaded. */
const short = (state) => (state === "published" && !seen.target_answers ? "Published" : SHORT[state]);

let target = "postgres";
let seen = null;
let open = null;
let timer = 0;

export function start() {
  const dag = new URLSearchParams(location.search).get("dag_id") ?? "";
  if (dag === "etl_gcs_to_bq") target = "bigquery";
  else if (dag.startsWith("etl_")) target = "lake";
  byId("target").querySelector(`[value=${target}]`).checked = true;
  choice(byId("target"), (value) => {
    target = value;
    byId("coverage-says").textContent = "Asking …";
    whole().forEach((part) => { part.inert = true; }); // it still tells of the target before
    look();
  });
  byId("detail").addEventListener("close", () => { open = null; });
  byId("detail").addEventListener("click", (event) => { if (event.target === byId("detail")) byId("detail").close(); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  look();
}

const whole = () => [byId("legend"), byId("calendars")];

async function look() {
  clearTimeout(timer);
  const asked = target;
  try {
    const answer = await ask(`api/coverage?target=${asked}`);
    if (asked !== target) return;
    seen = answer;
    show();
  } catch (error) {
    byId("coverage-says").textContent = "Nothing to see just now.";
    notice(byId("coverage-notices"), { text: error.message, bad: true });
  }
  const busy = seen?.counts.running > 0;
  if (!document.hidden) timer = setTimeout(look, 1000 * SECONDS_BETWEEN_LOOKS[busy ? "busy" : "idle"]);
}

function show() {
  const [held, all] = [seen.held, seen.published].map((months) => Object.values(months).reduce((sum, count) => sum + count, 0));
  byId("coverage-says").replaceChildren(...(seen.target_answers
    ? [make("b", {}, number(held)), ` of ${number(all)} published months are in ${PLACES[target]}`]
    : [make("b", {}, number(all)), ` months are published; what is in ${PLACES[target]} is not known just now`]));
  whole().forEach((part) => { part.inert = false; });
  notice(byId("coverage-notices"), ...notices(held));
  byId("coverage-at").textContent = `As of ${when(seen.at)}. A month is the month of the publisher's file.`;
  showLegend();
  showCalendars();
  if (open) showSheet(open);
}

function notices(held) {
  const found = seen.problems.map((text) => ({ text, bad: true }));
  const { load } = seen;
  if (!load.is_there) found.push({ text: `There is no DAG ${load.dag_id} in this Airflow, so nothing can be loaded from here.` });
  else if (load.is_paused) found.push({ text: ["The DAG ", link(`dags/${load.dag_id}`, load.dag_id), " is paused: what is started waits until it is switched on."] });
  if (!held && !seen.problems.length && load.is_there) {
    found.push({ text: [
      "Nothing is loaded yet. ",
      load.allowed ? "Choose a month below and load it" : "Ask somebody who may start runs",
      ", or look at the DAG ", link(`dags/${load.dag_id}`, load.dag_id), ".",
    ] });
  }
  return found;
}

function showLegend() {
  const calendars = byId("calendars");
  const buttons = Object.keys(SHORT).filter((state) => seen.counts[state] || (state === "loaded" && seen.target_answers)).map((state) => {
    const button = make(
      "button", { type: "button", title: seen.target_answers ? seen.says[state] : null, "aria-pressed": String(calendars.dataset.only === state) },
      make("span", { class: "cell", "data-state": state, "aria-hidden": "true" }),
      make("span", {}, `${short(state)} `, make("b", {}, number(seen.counts[state]))),
    );
    button.addEventListener("click", () => {
      if (calendars.dataset.only === state) delete calendars.dataset.only;
      else calendars.dataset.only = state;
      showLegend();
      byId("legend").querySelectorAll("button")[buttons.indexOf(button)].focus();
    });
    return button;
  });
  byId("legend").replaceChildren(...buttons);
}

function showCalendars() {
  const at = document.activeElement?.dataset?.file;
  const calendars = Object.keys(seen.services).map((service) => calendar(service, seen.months[service]));
  byId("calendars").replaceChildren(...calendars);
  if (at) byId("calendars").querySelector(`[data-file="${at}"]`)?.focus();
}

function calendar(service, months) {
  const names = Object.keys(months).sort();
  const years = [...new Set(names.map((month) => month.slice(0, 4)))];
  const title = make("h3", { id: `of-${service}` }, nameOf(service), make("span", { class: "small" }, seen.target_answers ? `${number(seen.held[service])} of ${number(seen.published[service])}` : `${number(seen.published[service])} published`));
  const head = make("tr", {}, make("td"), ...LETTERS.map((letter, month) =>
    make("th", { scope: "col", "aria-label": monthName(`2000-${month + 1}`).split(" ")[0] }, letter)));
  const begin = names.find((month) => months[month] !== "not_published") ?? names[0];
  const rows = years.map((year) => make(
    "tr", { class: `${year.endsWith("0") ? "decade" : ""} ${year < begin.slice(0, 4) ? "before" : ""}` }, make("th", { scope: "row" }, year),
    ...LETTERS.map((_, index) => {
      const month = `${year}-${String(index + 1).padStart(2, "0")}`;
      return make("td", { role: "gridcell" }, months[month] ? cellButton(service, month, months[month]) : null);
    }),
  ));
  const table = make("table", { role: "grid", "aria-labelledby": `of-${service}` }, make("thead", {}, head), make("tbody", {}, ...rows));
  const last = names.findLast((month) => months[month] !== "not_published") ?? names.at(-1);
  table.querySelector(`[data-month="${last}"]`).tabIndex = 0;
  table.addEventListener("keydown", (event) => walk(event, table));
  const box = make("article", { class: "calendar" }, title, table);
  box.style.setProperty("--service", `var(--${service}, var(--taxi))`);
  return box;
}

function cellButton(service, month, state) {
  const button = make(
    "button",
    { type: "button", tabindex: -1, "data-file": `${service} ${month}`, "data-month": month,
      "aria-label": `${nameOf(service)} ${monthName(month)}: ${short(state).toLowerCase()}`, "aria-haspopup": "dialog" },
    make("span", { class: "cell", "data-state": state }),
  );
  button.addEventListener("click", () => showSheet({ service, month }));
  return button;
}

const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -12, ArrowDown: 12 };

/** Arrow keys go from month to month; Tab goes on to the next service. */
function walk(event, table) {
  const buttons = [...table.querySelectorAll("button")];
  const at = buttons.indexOf(event.target);
  const to = { Home: 0, End: buttons.length - 1 }[event.key] ?? at + (STEPS[event.key] ?? NaN);
  if (!buttons[to]) return;
  event.preventDefault();
  event.target.tabIndex = -1;
  buttons[to].tabIndex = 0;
  buttons[to].focus();
}

async function showSheet({ service, month }) {
  const dialog = byId("detail");
  const isNew = open?.service !== service || open?.month !== month;
  open = { service, month };
  const close = make("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
  close.addEventListener("click", () => dialog.close());
  const head = make("div", { class: "sheet-head" }, make("h2", { id: "detail-title" }, make("b", {}, nameOf(service)), ` ${monthName(month)}`), close);
  dialog.style.setProperty("--service", `var(--${service}, var(--taxi))`);
  if (isNew) dialog.replaceChildren(head, make("p", { class: "state" }, "Asking …"));
  if (!dialog.open) dialog.showModal();
  let content;
  try {
    content = sheet(service, month, await ask(`api/months/${service}/${month}?target=${target}`));
  } catch (error) {
    content = [make("p", { class: "notice bad" }, error.message)];
  }
  if (open?.service !== service || open?.month !== month) return;
  const hadFocus = dialog.contains(document.activeElement) && !isNew ? document.activeElement.className : null;
  dialog.replaceChildren(head, ...content);
  if (hadFocus) (dialog.querySelector(`.${hadFocus}`) ?? close).focus();
}

function sheet(service, month, told) {
  if (!told.target_answers) {
    return [...told.problems.map((text) => make("p", { class: "notice bad" }, text)), attempt(told.attempt), publication(told)].filter(Boolean);
  }
  const state = make("p", { class: "state", role: "status" }, make("span", { class: "cell", "data-state": told.state, "aria-hidden": "true" }), sentence(told.says));
  return [
    state, action(service, month, told), attempt(told.attempt),
    ...(told.load ? [counts(told.load), facts(told)] : [publication(told)]),
  ].filter(Boolean);
}

function action(service, month, told) {
  const { load } = seen;
  if (!load.is_there) return null;
  if (!load.allowed) return make("p", { class: "small" }, `You may look, and not start runs of ${load.dag_id}: ask somebody who may.`);
  const again = Boolean(told.load);
  const tooNew = told.state === "not_published";
  const text = again ? `Load again into ${PLACES[target]}` : tooNew ? "Ask the publisher for it" : `Load into ${PLACES[target]}`;
  const button = make("button", { type: "button", class: "action", disabled: told.state === "running" }, told.state === "running" ? "Under way …" : text);
  const says = make("p", { class: "small", role: "status" });
  button.addEventListener("click", async () => {
    button.disabled = true;
    says.textContent = "Starting a run …";
    try {
      await api(`dags/${load.dag_id}/dagRuns`, { logical_date: null, conf: await conf(service, month, told) });
      await look();
    } catch (error) {
      says.textContent = `No run was started: ${error.message}`;
      button.disabled = false;
    }
  });
  return make("div", {}, button, says);
}

/** What the run is asked for: the month, and of a load that is done again, that it is done as it was. */
async function conf(service, month, told) {
  const [year, number_] = month.split("-").map(Number);
  const asked = { colour: service, year, month: number_ };
  if (!told.load) return asked;
  const { params } = await api(`dags/${seen.load.dag_id}/details`);
  const as = { force: true, source: told.source, quality: told.load.quality_profile, table_name: told.load.target_table };
  if (target !== "postgres") delete as.table_name;
  return { ...asked, ...Object.fromEntries(Object.entries(as).filter(([name]) => name in (params ?? {}))) };
}

function attempt(run) {
  if (!run || run.state === "success") return null;
  const said = run.state === "failed" ? "Failed" : run.state === "queued" ? "Waits since" : "Runs since";
  return make("p", {}, `${said} ${when(run.at)}: `, runLink(run));
}

function runLink({ dag_id, run_id }) {
  return link(`dags/${dag_id}/runs/${encodeURIComponent(run_id)}`, "its run and its logs");
}

function counts(load) {
  const row = (name, value, part) => [make("dt", { class: part ? "part" : null }, name), make("dd", { class: part ? "part" : null }, value)];
  const rejected = Object.entries(load.rejected_by_reason).sort((one, other) => other[1] - one[1]);
  return make(
    "dl", { class: "counts" },
    ...row("Rows read", number(load.rows_read)),
    ...(load.rows_expected === null ? [] : row("Rows expected", number(load.rows_expected))),
    ...row("Rows loaded", number(load.rows_loaded)),
    ...row("Rows rejected", number(load.rows_rejected)),
    ...rejected.flatMap(([reason, rows]) => row(words(reason), number(rows), true)),
  );
}

function facts({ load, publication }) {
  const rows = [
    ["Loaded", when(load.loaded_at)],
    load.seconds === null ? null : ["Took", `${number(load.seconds, 1)} s, ${number(load.rows_loaded / Math.max(load.seconds, 0.001))} rows/s`],
    load.run_id && load.dag_id ? ["By", [load.dag_id, ": ", runLink(load)]] : null,
    [target === "lake" ? "File" : "Table", make("code", {}, load.target_table)],
    ["Profile", load.quality_profile],
    ["Era", load.schema_era],
    ["Source", make("code", {}, load.source_url)],
    ["Bytes", number(load.source_bytes)],
    ["ETag", load.source_etag ? make("code", {}, load.source_etag) : "none"],
    publication?.etag && publication.etag !== load.source_etag ? ["ETag now", make("code", {}, publication.etag)] : null,
    ["SHA-256", make("code", {}, load.source_sha256)],
  ];
  return list(rows);
}

function publication({ publication: known }) {
  if (!known) return make("p", { class: "small" }, "The publisher has no such file, as far as is known. It is about two months behind.");
  return list([
    known.last_modified ? ["Published", known.checked_at ? when(known.last_modified) : known.last_modified] : null,
    known.bytes === null ? null : ["Bytes", number(known.bytes)],
    known.etag ? ["ETag", make("code", {}, known.etag)] : null,
    ["Known by", known.checked_at ? `a look at the publisher, ${when(known.checked_at)}` : "the catalogue of this bundle"],
  ]);
}

function list(rows) {
  return make("dl", {}, ...rows.filter(Boolean).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, ...[value].flat())]));
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;
