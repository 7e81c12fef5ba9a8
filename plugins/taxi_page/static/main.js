import { asked, follow } from "./address.js";
import { byId, couldNotLoad, followTheme, learn, loading } from "./airflow.js";
import * as city from "./city.js";
import * as coverage from "./coverage.js";
import * as quality from "./quality.js";

const PAGES = { coverage, quality, city };
const opened = new Set();

function open() {
  const { tab, parts } = asked();
  const name = reveal(tab);
  if (opened.has(name)) PAGES[name].go(parts);
  else PAGES[name].start(parts);
  opened.add(name);
}

/** Show the tab of that name, and give the name of the one that is shown. */
function reveal(tab) {
  const name = tab in PAGES ? tab : "coverage";
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== name;
  for (const anchor of document.querySelectorAll("nav a")) {
    if (anchor.dataset.tab === name) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  document.title = `${document.querySelector("nav a[aria-current]").textContent} · Taxi`;
  return name;
}

async function begin() {
  const name = reveal(asked().tab);
  loading(byId(`${name}-says`));
  try {
    await learn();
  } catch (error) {
    couldNotLoad(byId(`${name}-says`), byId(`${name}-notices`), error, begin);
    return;
  }
  byId(`${name}-notices`).replaceChildren();
  follow(open);
  open();
}

followTheme();
begin();
