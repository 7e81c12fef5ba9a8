// The page's ties to the Airflow around it (login, theme, time zone, links), and what its modules share.

const ROOT = new URL("..", document.baseURI);
export const embedded = window.parent !== window;

/** JSON from this page's server. Throws an Error with a sentence for the viewer. */
export async function ask(path) {
  return answer(await fetch(path, { headers: { accept: "application/json" } }));
}

/** JSON from Airflow's API, with the viewer's rights. */
export async function api(path, body, method = "POST") {
  const sent = body && {
    method,
    body: JSON.stringify(body),
    headers: { "content-type": "application/json", accept: "application/json" },
  };
  return answer(await fetch(new URL(`api/v2/${path}`, ROOT), sent));
}

async function answer(response) {
  if (response.ok) return response.json();
  if (response.status === 401) throw new Error("Your login has expired. Reload the page to log in.");
  const { detail } = await response.json().catch(() => ({}));
  throw new Error(typeof detail === "string" ? detail : `The server answered with status ${response.status}.`);
}

/** A link into Airflow. The sandbox of Airflow's frame blocks links out of it, so the outer document follows them. */
export function link(path, text) {
  const anchor = make("a", { href: new URL(path, ROOT).href }, text);
  anchor.addEventListener("click", (event) => {
    if (!embedded) return;
    event.preventDefault();
    const outside = parent.document.createElement("a");
    outside.href = anchor.href;
    parent.document.body.append(outside);
    outside.click();
    outside.remove();
  });
  return anchor;
}

/** Follow the theme of the Airflow around the page, or that of the system outside of Airflow. */
export function followTheme() {
  const outside = embedded ? parent.document.documentElement : null;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => {
    const dark = outside ? outside.classList.contains("dark") : system.matches;
    if (document.documentElement.classList.toggle("dark", dark) !== follow.was) {
      follow.was = dark;
      paint(); // before the charts redraw
      dispatchEvent(new Event("themechange"));
    }
  };
  system.addEventListener("change", follow);
  if (outside) new MutationObserver(follow).observe(outside, { attributeFilter: ["class"] });
  follow();
}

/** A time in the time zone chosen in Airflow, with that zone's name. */
export function when(iso) {
  const options = { dateStyle: "medium", timeStyle: "medium" };
  const time = new Date(iso);
  const zone = localStorage.getItem("timezone") || "UTC";
  try {
    const name = new Intl.DateTimeFormat("en-GB", { timeZone: zone, timeZoneName: "short" })
      .formatToParts(time)
      .find((part) => part.type === "timeZoneName").value;
    return `${new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone }).format(time)} ${name}`;
  } catch {
    return time.toISOString();
  }
}

/** A day in the time zone chosen in Airflow. */
export function day(iso) {
  const time = new Date(iso);
  const zone = localStorage.getItem("timezone") || "UTC";
  try {
    return new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeZone: zone }).format(time);
  } catch {
    return time.toISOString().slice(0, 10);
  }
}

/** Targets, services and states, as the server describes them. */
export const about = { targets: [], services: [], states: {} };

/** Fetch what the page is about, and colour the services. */
export async function learn() {
  Object.assign(about, await ask("api/about"));
  paint();
}

function paint() {
  const { style, classList } = document.documentElement;
  const trait = classList.contains("dark") ? "dark_colour" : "colour";
  for (const service of about.services) style.setProperty(`--${service.name}`, service[trait]);
}

export const traits = (service) => about.services.find(({ name }) => name === service);
export const nameOf = (service) => traits(service)?.title ?? service;
export const targetNamed = (name) => about.targets.find((target) => target.name === name);
export const words = (name) => name.replaceAll("_", " ");
export const byId = (id) => document.getElementById(id);

export function monthName(month, style = "long") {
  const [year, number_] = month.split("-");
  return new Date(Date.UTC(year, number_ - 1)).toLocaleDateString("en-US", {
    month: style,
    year: "numeric",
    timeZone: "UTC",
  });
}

/** An element; children are text or elements, never markup. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function notice(place, ...messages) {
  place.replaceChildren(
    ...messages.map(({ text, bad }) => make("p", { class: bad ? "notice bad" : "notice" }, ...[text].flat())),
  );
}

/** Let parts of the page be seen to load: a heading, and what it is about. Whoever has an answer replaces it. */
export function loading(heading, ...parts) {
  heading.replaceChildren(make("span", { class: "unseen" }, "Loading …"), skeleton("title"));
  for (const part of parts) part.replaceChildren(skeleton("block"));
}

/** The outline of what is on its way. */
export const skeleton = (kind) => make("span", { class: `skeleton ${kind}`, "aria-hidden": "true" });

/** Show why a part of the page could not be loaded, and a button to try again; what was to come stays away. */
export function couldNotLoad(heading, notices, error, again) {
  heading.textContent = "Could not load this page.";
  for (const left of heading.closest("section").querySelectorAll(".skeleton")) left.remove();
  const retry = make("button", { type: "button", class: "action" }, "Retry");
  retry.addEventListener("click", again);
  notice(notices, { text: [`${error.message} `, retry], bad: true });
}

/** What to do, with a link to the page that does it. */
export const loadOne = (what) => [`${what} on the page `, make("a", { href: "#coverage" }, "Coverage")];

/** Start a run of a Dag, and give its id. */
export const startRun = async (dag, conf) =>
  (await api(`dags/${dag}/dagRuns`, { logical_date: null, conf })).dag_run_id;

/** Call `use` with the value of the chosen radio button at each change. */
export function choice(fieldset, use) {
  fieldset.addEventListener("change", () => use(fieldset.querySelector(":checked").value));
}
