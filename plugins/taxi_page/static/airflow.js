// What the page shares with the Airflow around it: the login, the theme, the time zone and its links.

const ROOT = new URL("..", document.baseURI);
const embedded = window.parent !== window;

/** JSON of this page's own server; an Error in its words where there is none. */
export async function ask(path) {
  return answer(await fetch(path, { headers: { accept: "application/json" } }));
}

/** JSON of Airflow's API, with the rights of who looks. */
export async function api(path, body) {
  const sent = body && {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json", accept: "application/json" },
  };
  return answer(await fetch(new URL(`api/v2/${path}`, ROOT), sent));
}

async function answer(response) {
  if (response.ok) return response.json();
  if (response.status === 401) throw new Error("Your login has ended. Load the page again to log in.");
  const { detail } = await response.json().catch(() => ({}));
  throw new Error(typeof detail === "string" ? detail : `The server answers ${response.status}.`);
}

/** A link into Airflow. In its frame a link cannot leave by itself, so Airflow's own document follows it. */
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

/** Follow the theme of the Airflow around the page, or that of the system where there is none around it. */
export function followTheme() {
  const outside = embedded ? parent.document.documentElement : null;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => {
    const dark = outside ? outside.classList.contains("dark") : system.matches;
    if (document.documentElement.classList.toggle("dark", dark) !== follow.was) {
      follow.was = dark;
      dispatchEvent(new Event("themechange"));
    }
  };
  system.addEventListener("change", follow);
  if (outside) new MutationObserver(follow).observe(outside, { attributeFilter: ["class"] });
  follow();
}

/** A point in time in the zone that Airflow's user has chosen, and the zone with it. */
export function when(iso) {
  const options = { dateStyle: "medium", timeStyle: "medium" };
  const time = new Date(iso);
  const zone = localStorage.getItem("timezone") || "UTC";
  try {
    const name = new Intl.DateTimeFormat("en-GB", { timeZone: zone, timeZoneName: "short" })
      .formatToParts(time).find((part) => part.type === "timeZoneName").value;
    return `${new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone }).format(time)} ${name}`;
  } catch {
    return time.toISOString();
  }
}

const NAMES = { yellow: "Yellow", green: "Green", fhv: "FHV", fhvhv: "FHVHV" };

export const nameOf = (service) => NAMES[service] ?? service;
export const number = (value, digits = 0) =>
  value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
export const share = (value) => `${(100 * value).toLocaleString("en-US", { maximumFractionDigits: value < 0.1 ? 2 : 1 })} %`;
export const words = (name) => name.replaceAll("_", " ");
export const byId = (id) => document.getElementById(id);

export function monthName(month, style = "long") {
  const [year, number_] = month.split("-");
  return new Date(Date.UTC(year, number_ - 1)).toLocaleDateString("en-US", { month: style, year: "numeric", timeZone: "UTC" });
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
  place.replaceChildren(...messages.map(({ text, bad }) => make("p", { class: bad ? "notice bad" : "notice" }, ...[text].flat())));
}

/** What to do, and the page where one does it. */
export const loadOne = (what) => [`${what} on the page `, make("a", { href: "#coverage" }, "Coverage")];

/** The radio button that is chosen; `use` is called now and at each change. */
export function choice(fieldset, use) {
  fieldset.addEventListener("change", () => use(fieldset.querySelector(":checked").value));
}
