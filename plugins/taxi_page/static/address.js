// The address says which tab, target, service and month are shown, so that whoever gets it sees the same.
//
//   #coverage?target=lake&service=green&month=2024-01
//
// In Airflow's frame people see the address of the outer document, so both have it.

import { embedded } from "./airflow.js";

const windows = embedded ? [window, parent] : [window];
const NAMES = ["target", "service", "month"];

/** What the address asks for: a tab, and the parts that it names. */
export function asked() {
  const { hash } = windows.map(({ location }) => location).findLast(({ hash: found }) => found) ?? location;
  const [tab, query] = hash.slice(1).split("?");
  const parts = new URLSearchParams(query);
  return {
    tab,
    parts: Object.fromEntries(NAMES.filter((name) => parts.has(name)).map((name) => [name, parts.get(name)])),
  };
}

/** Have the address say what is shown. Parts that are null are left out. */
export function show(tab, parts) {
  const query = new URLSearchParams(NAMES.filter((name) => parts[name]).map((name) => [name, parts[name]]));
  const hash = query.size ? `#${tab}?${query}` : `#${tab}`;
  const entry = document.querySelector(`nav a[data-tab="${tab}"]`);
  entry.setAttribute("href", hash); // so that the tab is as it was when one comes back to it
  if (!entry.hasAttribute("aria-current")) return; // an answer for a tab that has been left
  for (const each of windows) if (each.location.hash !== hash) each.history.replaceState(each.history.state, "", hash);
}

/** Call `use` when somebody follows a link within the page, or changes the address. */
export function follow(use) {
  addEventListener("hashchange", () => {
    if (embedded && parent.location.hash !== location.hash)
      parent.history.replaceState(parent.history.state, "", location.hash);
    use();
  });
  if (!embedded) return;
  const outer = () => {
    if (parent.location.hash && parent.location.hash !== location.hash) location.hash = parent.location.hash;
  };
  parent.addEventListener("hashchange", outer);
  addEventListener("pagehide", () => parent.removeEventListener("hashchange", outer));
}
