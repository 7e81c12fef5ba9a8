// The address says which tab, target, service and month are shown, so that whoever gets it sees the same.
//
//   #coverage?target=lake&service=green&month=2024-01
//
// In Airflow's frame people see the address of the outer document, so both have it. Airflow itself brings the frame's
// address into the outer one, but only when the frame loads.

import { embedded } from "./airflow.js";

const NAMES = ["target", "service", "month"];

// Airflow's document has a <base>, against which a bare hash would be resolved.
const addressed = ({ location: { pathname, search } }, hash) => `${pathname}${search}${hash}`;

if (embedded && !location.hash) put(window, parent.location.hash); // before the frame has loaded, and Airflow drops it

/** What the address asks for: a tab, and the parts that it names. */
export function asked() {
  const [tab, query] = location.hash.slice(1).split("?");
  const found = new URLSearchParams(query);
  return { tab, parts: Object.fromEntries(NAMES.map((name) => [name, found.get(name)])) };
}

/** Have the address say what is shown. Parts that are null are left out. */
export function show(tab, parts) {
  const query = new URLSearchParams(NAMES.filter((name) => parts[name]).map((name) => [name, parts[name]]));
  const hash = query.size ? `#${tab}?${query}` : `#${tab}`;
  const entry = document.querySelector(`nav a[data-tab="${tab}"]`);
  entry.setAttribute("href", hash); // so that the tab is as it was when one comes back to it
  if (!entry.hasAttribute("aria-current")) return; // an answer for a tab that has been left
  put(window, hash);
  if (embedded) put(parent, hash);
}

/** Call `use` when somebody follows a link within the page, or changes the address. */
export function follow(use) {
  addEventListener("hashchange", () => {
    if (embedded) put(parent, location.hash);
    use();
  });
  if (!embedded) return;
  const adopt = () => {
    if (parent.location.hash && parent.location.hash !== location.hash) location.hash = parent.location.hash;
  };
  parent.addEventListener("hashchange", adopt);
  addEventListener("pagehide", () => parent.removeEventListener("hashchange", adopt));
}

function put(where, hash) {
  if (where.location.hash !== hash) where.history.replaceState(where.history.state, "", addressed(where, hash));
}
