// Which months are in a target: a calendar per service, and a sheet per month.

import * as address from "./address.js";
import {
  about,
  api,
  ask,
  byId,
  choice,
  couldNotLoad,
  day,
  link,
  loading,
  make,
  monthName,
  nameOf,
  notice,
  skeleton,
  startRun,
  targetNamed,
  traits,
  when,
  words,
} from "./airflow.js";
import { csvButton, fileName } from "./csv.js";
import { amount, number } from "./numbers.js";

const SHORT = {
  loaded: "Loaded",
  published: "Not loaded",
  stale: "Republished",
  count_differs: "Count differs",
  failed: "Failed",
  running: "Running",
  not_published: "Not published",
  unknown: "Unknown",
};
const IMPLY_LOADED = ["stale", "count_differs"];
const ABSENT = ["not_published", "unknown"];
const LETTERS = [..."JFMAMJJASOND"];
const STEP_STATES = {
  queued: "waiting for a worker",
  scheduled: "waiting for a worker",
  up_for_retry: "waits to be retried",
};
const SECONDS_BETWEEN_LOOKS = { busy: 3, idle: 60 };

/** The name of a state. "Not loaded" is known only of targets that answer. */
const short = (state) => (state === "published" && !seen.target_answers ? "Published" : SHORT[state]);

let target = null;
let seen = null;
let open = null;
let wanted = null;
let turns = 0;
let timer = 0;

export function start(parts) {
  const flow = (new URLSearchParams(location.search).get("dag_id") ?? "").split(".")[0];
  target = targetNamed(parts.target) ?? about.targets.find(({ flows }) => flows.includes(flow)) ?? about.targets[0];
  wanted = monthOf(parts);
  byId("target").append(
    ...about.targets.map(({ name, title }) =>
      make(
        "label",
        {},
        make("input", { type: "radio", name: "target", value: name, checked: name === target.name }),
        make("span", {}, title),
      ),
    ),
  );
  choice(byId("target"), turnTo);
  byId("detail").addEventListener("close", () => {
    open = null;
    tell();
  });
  byId("detail").addEventListener("click", (event) => {
    if (event.target === byId("detail")) byId("detail").close();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) look();
  });
  turnTo(target.name);
}

/** Show what the address asks for, where that is something else than what is shown. */
export function go(parts) {
  wanted = monthOf(parts);
  if (!wanted) byId("detail").close();
  const next = targetNamed(parts.target) ?? target;
  byId("target").querySelector(`[value="${next.name}"]`).checked = true;
  if (next !== target) turnTo(next.name);
  else if (seen && wanted) showWanted();
  else tell();
}

const monthOf = ({ service, month }) => (traits(service) && /^\d{4}-\d{2}$/.test(month) ? { service, month } : null);

const tell = () => address.show("coverage", { target: target.name, ...(wanted ?? open) });

function turnTo(name) {
  target = targetNamed(name);
  seen = null;
  for (const part of [byId("legend"), byId("calendars")]) part.inert = true; // until the target has answered
  byId("legend").replaceChildren();
  byId("coverage-at").replaceChildren();
  loading(byId("coverage-says"), byId("calendars"));
  tell();
  look();
}

function showWanted() {
  const month = wanted;
  wanted = null;
  showSheet(month);
}

async function look() {
  clearTimeout(timer);
  const asked = target;
  try {
    const [answer, dag] = await Promise.all([ask(`api/coverage?target=${asked.name}`), loader(asked)]);
    if (asked !== target) return;
    seen = answer;
    Object.assign(seen.load, dag);
    show();
  } catch (error) {
    if (asked !== target) return;
    if (seen) notice(byId("coverage-notices"), { text: `Could not look again: ${error.message}`, bad: true });
    else couldNotLoad(byId("coverage-says"), byId("coverage-notices"), error, look);
  }
  const busy = seen?.counts.running > 0;
  if (!document.hidden) timer = setTimeout(look, 1000 * SECONDS_BETWEEN_LOOKS[busy ? "busy" : "idle"]);
}

/** The params of the Dag that loads into the target; none if this Airflow has no such Dag. */
async function paramsOf({ dag_id: dag, isThere }) {
  return isThere ? ((await api(`dags/${dag}/details`)).params ?? {}) : {};
}

/** The Dag that loads into a target, as far as the viewer may see it. */
async function loader({ flows: [dag] }) {
  try {
    const { is_paused: isPaused, is_stale: isStale } = await api(`dags/${dag}`);
    return { isThere: !isStale, isPaused };
  } catch {
    return { isThere: false, isPaused: false };
  }
}

function show() {
  const [held, all] = [seen.held, seen.published].map((months) =>
    Object.values(months).reduce((sum, count) => sum + count, 0),
  );
  byId("coverage-says").replaceChildren(
    ...(seen.target_answers
      ? [
          make("b", {}, number(held)),
          ` of ${amount(all, "published month")} ${held === 1 ? "is" : "are"} in ${target.place}`,
        ]
      : [
          make("b", {}, number(all)),
          ` ${all === 1 ? "month is" : "months are"} published; the months in ${target.place} are unknown`,
        ]),
  );
  for (const part of [byId("legend"), byId("calendars")]) part.inert = false;
  notice(byId("coverage-notices"), ...notices(held));
  byId("coverage-at").replaceChildren(
    `As of ${when(seen.at)}. Months are those of the published files. `,
    csvButton(fileName("months in", target.name), monthRows),
  );
  showLegend();
  showCalendars();
  if (wanted) showWanted();
  else if (open) showSheet(open);
}

/** Every month that is published or that anything is known of, in all services. */
function monthRows() {
  const rows = about.services.flatMap(({ name }) =>
    Object.entries(seen.months[name])
      .map(([month, state]) => [target.name, name, month, seen.standings[name][month], state])
      .filter(([, , , standing, state]) => [standing, state].some((each) => !ABSENT.includes(each))),
  );
  return [["target", "service", "month", "standing", "state"], ...rows];
}

function notices(held) {
  const found = seen.problems.map((text) => ({ text, bad: true }));
  const { load } = seen;
  if (!load.isThere) found.push({ text: `This Airflow has no Dag ${load.dag_id}, so this page cannot load months.` });
  else if (load.isPaused)
    found.push({
      text: ["The Dag ", link(`dags/${load.dag_id}`, load.dag_id), " is paused: its runs wait until you unpause it."],
    });
  if (!held && !seen.problems.length && load.isThere) {
    found.push({
      text: [
        "Nothing is loaded yet. ",
        load.allowed ? "Choose a month below and load it, or see the Dag " : "You cannot start runs. See the Dag ",
        link(`dags/${load.dag_id}`, load.dag_id),
        ".",
      ],
    });
  }
  return found;
}

function showLegend() {
  const calendars = byId("calendars");
  const buttons = Object.keys(SHORT)
    .filter((state) => seen.counts[state] || (state === "loaded" && seen.target_answers))
    .map((state) => {
      const button = make(
        "button",
        {
          type: "button",
          title: seen.target_answers ? about.states[state] : null,
          "aria-pressed": String(calendars.dataset.only === state),
        },
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
  const calendars = about.services.map(({ name: service }) => calendar(service, seen.months[service]));
  byId("calendars").replaceChildren(...calendars);
  if (at) byId("calendars").querySelector(`[data-file="${at}"]`)?.focus();
}

function calendar(service, months) {
  const names = Object.keys(months).sort();
  const years = [...new Set(names.map((month) => month.slice(0, 4)))];
  const head = make(
    "tr",
    {},
    make("td"),
    ...LETTERS.map((letter, month) =>
      make("th", { scope: "col", "aria-label": monthName(`2000-${month + 1}`).split(" ")[0] }, letter),
    ),
  );
  const begin = names.find((month) => !ABSENT.includes(months[month])) ?? names[0];
  const rows = years.map((year) =>
    make(
      "tr",
      { class: `${year.endsWith("0") ? "decade" : ""} ${year < begin.slice(0, 4) ? "before" : ""}` },
      make("th", { scope: "row" }, year),
      ...LETTERS.map((_, index) => {
        const month = `${year}-${String(index + 1).padStart(2, "0")}`;
        return make("td", { role: "gridcell" }, months[month] ? cellButton(service, month, months[month]) : null);
      }),
    ),
  );
  const table = make(
    "table",
    { role: "grid", "aria-labelledby": `of-${service}` },
    make("thead", {}, head),
    make("tbody", {}, ...rows),
  );
  const last = names.findLast((month) => !ABSENT.includes(months[month])) ?? names.at(-1);
  table.querySelector(`[data-month="${last}"]`).tabIndex = 0;
  table.addEventListener("keydown", (event) => walk(event, table));
  const box = make("article", { class: "calendar" }, calendarTitle(service), table);
  box.style.setProperty("--service", `var(--${service}, var(--taxi))`);
  return box;
}

function calendarTitle(service) {
  const all = number(seen.published[service]);
  const share = seen.target_answers ? `${number(seen.held[service])} of ${all}` : `${all} published`;
  return make("h3", { id: `of-${service}` }, nameOf(service), make("span", { class: "small" }, share));
}

function cellButton(service, month, state) {
  const standing = seen.standings[service][month];
  const both = state !== standing && standing === "loaded" && !IMPLY_LOADED.includes(state);
  const means = `${short(state)}${both ? `, ${short(standing)}` : ""}`.toLowerCase();
  const button = make(
    "button",
    {
      type: "button",
      tabindex: -1,
      "data-file": `${service} ${month}`,
      "data-month": month,
      "aria-label": `${nameOf(service)} ${monthName(month)}: ${means}`,
      "aria-haspopup": "dialog",
    },
    make("span", { class: "cell", "data-state": state, "data-standing": standing }),
  );
  button.addEventListener("click", () => showSheet({ service, month }));
  return button;
}

const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -12, ArrowDown: 12 };

/** Arrow keys move between months; Tab moves to the next service. */
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
  const turn = (turns += 1);
  open = { service, month };
  tell();
  const head = sheetHead(service, month);
  dialog.style.setProperty("--service", `var(--${service}, var(--taxi))`);
  if (isNew) {
    dialog.replaceChildren(head, make("p", { class: "unseen", role: "status" }, "Loading …"), skeleton("lines"));
  }
  if (!dialog.open) dialog.showModal();
  const content = await sheetOf(service, month);
  if (turn !== turns || !open) return; // another month has been opened since, or a later answer is on its way
  const buttons = () => [...dialog.querySelectorAll("button")];
  const focused = isNew ? -1 : buttons().indexOf(document.activeElement);
  dialog.replaceChildren(head, ...content);
  if (focused >= 0) (buttons()[focused] ?? head.lastChild).focus();
}

function sheetHead(service, month) {
  const close = make("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
  close.addEventListener("click", () => byId("detail").close());
  const title = make("h2", { id: "detail-title" }, make("b", {}, nameOf(service)), ` ${monthName(month)}`);
  return make("div", { class: "sheet-head" }, title, close);
}

async function sheetOf(service, month) {
  try {
    const asked = ask(`api/months/${service}/${month}?target=${target.name}`);
    const [found, params] = await Promise.all([asked, paramsOf(seen.load)]);
    return sheet(service, month, { ...found, params });
  } catch (error) {
    return [make("p", { class: "notice bad" }, error.message)];
  }
}

function sheet(service, month, found) {
  if (!found.target_answers) {
    return [
      ...found.problems.map((text) => make("p", { class: "notice bad" }, text)),
      attempt(found),
      published(found),
    ].filter(Boolean);
  }
  return [
    stateLine(found),
    attempt(found),
    pinned(found.load),
    action(service, month, found),
    ...(found.load ? loaded(found) : [published(found)]),
    ...editions(service, month, found),
  ].filter(Boolean);
}

const stateLine = ({ state, standing }) =>
  make(
    "p",
    { class: "state", role: "status" },
    make("span", { class: "cell", "data-state": state, "data-standing": standing, "aria-hidden": "true" }),
    state === "failed" && standing !== "loaded" ? "Failed, and not loaded." : sentence(about.states[state]),
  );

/** What is loaded. While a run may change it, or after one that did not, it is said to be from before. */
function loaded({ state, load, publication }) {
  const isBefore = state === "running" || state === "failed";
  return [isBefore && make("h3", {}, "Loaded before"), counts(load), facts({ load, publication })];
}

/** What a person asked for by name stays until somebody loads the month without naming an edition. */
const isPinned = (load) => Boolean(load?.asked_for?.startsWith("edition="));

function pinned(load) {
  if (!isPinned(load)) return null;
  const edition = make("code", {}, load.source_sha256.slice(0, 8));
  return make("p", { class: "pinned" }, "Loaded from edition ", edition, " by request. The daily run leaves it alone.");
}

function action(service, month, found) {
  const { load } = seen;
  if (!load.isThere) return null;
  if (!load.allowed) return make("p", { class: "small" }, `You can view, but not start runs of ${load.dag_id}.`);
  const tooNew = ABSENT.includes(found.state);
  const first = tooNew ? "Check for it now" : `Load into ${target.place}`;
  const again = isPinned(found.load) ? "Load the current edition" : `Load again into ${target.place}`;
  const text = found.state === "running" ? "Running …" : found.load ? again : first;
  return starter(text, found, conf(service, month, found));
}

/** A button that starts a run of the Dag that loads into the target. */
function starter(text, { state }, params) {
  const button = make("button", { type: "button", class: "action", disabled: state === "running" }, text);
  const says = make("p", { class: "small", role: "status" });
  button.addEventListener("click", async () => {
    button.disabled = true;
    says.textContent = "Starting a run …";
    try {
      await startRun(seen.load.dag_id, params);
      says.replaceChildren();
      await look();
    } catch (error) {
      says.textContent = `Could not start a run: ${error.message}`;
      button.disabled = false;
    }
  });
  return make("div", {}, button, says);
}

/** The run's params: the month, and those that repeat the last load in the same way; another edition needs no force. */
function conf(service, month, { again, load, params }, edition = null) {
  const [year, number_] = month.split("-").map(Number);
  const { force, ...rest } = again ?? {};
  const asked = edition ? { ...rest, edition } : isPinned(load) ? rest : { ...rest, force };
  const repeated = Object.entries(asked).filter(([name, value]) => name in params && value !== undefined);
  return { colour: service, year, month: number_, ...Object.fromEntries(repeated) };
}

/** The published states of the file, the latest first, each with what it changed. */
function editions(service, month, found) {
  if (!found.editions?.length) return [];
  return [
    make("h3", {}, "Editions"),
    make("ol", { class: "editions" }, ...found.editions.map((edition) => editionItem(service, month, found, edition))),
  ];
}

function editionItem(service, month, found, edition) {
  const marks = [
    edition.is_current && "current",
    edition.is_loaded && "loaded here",
    edition.is_held_back && "held back",
    !edition.is_kept && "bytes deleted",
  ].filter(Boolean);
  const rows = edition.rows === null ? "rows unknown" : amount(edition.rows, "row");
  return make(
    "li",
    {},
    make(
      "div",
      { class: "edition" },
      make("code", { title: edition.sha256 }, edition.id),
      ...marks.map((mark) => make("span", { class: "mark" }, mark)),
      make("span", { class: "rows" }, rows),
    ),
    make("p", { class: "small" }, `First seen ${day(edition.first_seen)}, last seen ${day(edition.last_seen)}`),
    edition.changes && make("p", { class: "changes" }, edition.changes),
    canLoad(found, edition) && starter("Load this edition", found, conf(service, month, found, edition.sha256)),
  );
}

/** The month's own button loads the current edition, and without its name, so that the daily run keeps it up to date. */
function canLoad({ params }, { is_kept: isKept, is_loaded: isLoaded, is_current: isCurrent }) {
  return seen.load.allowed && "edition" in params && isKept && !isLoaded && !isCurrent;
}

/** The last run, unless it ended well: the step that it is at or failed in, and what the step's log says. */
function attempt({ attempt: run, step }) {
  if (!run || run.state === "success") return null;
  const what = { failed: "Failed", queued: "Queued since", running: "Running since" }[run.state];
  return make(
    "div",
    { class: run.state === "failed" ? "run bad" : "run" },
    make("p", {}, `${what} ${when(run.at)}: `, runLink(run)),
    step && make("p", {}, make("code", {}, step.task_id), `: ${STEP_STATES[step.state] ?? words(step.state)}`),
    step?.error && make("p", { class: "error" }, step.error),
    step?.amount && make("p", {}, step.amount, step.percent === null ? null : ` (${step.percent} %)`),
    step && step.percent !== null && make("progress", { max: 100, value: step.percent, "aria-label": step.task_id }),
  );
}

function runLink({ dag_id, run_id }) {
  return link(`dags/${dag_id}/runs/${encodeURIComponent(run_id)}`, "run and logs");
}

function counts(load) {
  const row = (name, value, part) => [
    make("dt", { class: part ? "part" : null }, name),
    make("dd", { class: part ? "part" : null }, value),
  ];
  const rejected = Object.entries(load.rejected_by_reason).sort((one, other) => other[1] - one[1]);
  return make(
    "dl",
    { class: "counts" },
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
    load.seconds === null
      ? null
      : [
          "Duration",
          `${number(load.seconds, 1)} s, ${number(load.rows_loaded / Math.max(load.seconds, 0.001))} rows/s`,
        ],
    load.run_id && load.dag_id ? ["Loaded by", [load.dag_id, ": ", runLink(load)]] : null,
    [target.is_the_lake ? "File" : "Table", make("code", {}, load.target_table)],
    ["Profile", load.quality_profile],
    ["Era", load.schema_era],
    ["Source", make("code", {}, load.source_url)],
    ["Bytes", number(load.source_bytes)],
    ["ETag", load.source_etag ? make("code", {}, load.source_etag) : "none"],
    publication?.etag && publication.etag !== load.source_etag
      ? ["ETag now", make("code", {}, publication.etag)]
      : null,
    ["SHA-256", make("code", {}, load.source_sha256)],
  ];
  return list(rows);
}

function published({ publication: known }) {
  if (!known) return make("p", { class: "small" }, "Files appear about two months after the month.");
  return list([
    known.last_modified ? ["Published", known.checked_at ? when(known.last_modified) : known.last_modified] : null,
    known.bytes === null ? null : ["Bytes", number(known.bytes)],
    known.etag ? ["ETag", make("code", {}, known.etag)] : null,
    [
      "Known from",
      known.checked_at ? `the publisher, checked ${when(known.checked_at)}` : "the catalogue of this bundle",
    ],
  ]);
}

function list(rows) {
  return make(
    "dl",
    {},
    ...rows.filter(Boolean).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, ...[value].flat())]),
  );
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;
