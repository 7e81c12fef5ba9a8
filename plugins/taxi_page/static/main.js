import { byId, couldNotLoad, followTheme, learn } from "./airflow.js";
import * as city from "./city.js";
import * as coverage from "./coverage.js";
import * as quality from "./quality.js";

const PAGES = { coverage, quality, city };
const opened = new Set();

function open() {
  const name = location.hash.slice(1) in PAGES ? location.hash.slice(1) : "coverage";
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== name;
  for (const anchor of document.querySelectorAll("nav a")) {
    if (anchor.hash === `#${name}`) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  if (!opened.has(name)) PAGES[name].start();
  opened.add(name);
  document.title = `${document.querySelector("nav a[aria-current]").textContent} · Taxi`;
}

async function begin() {
  try {
    await learn();
  } catch (error) {
    couldNotLoad(byId("coverage-says"), byId("coverage-notices"), error, begin);
    return;
  }
  addEventListener("hashchange", open);
  open();
}

followTheme();
begin();
