import { byId, followTheme } from "./airflow.js";
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
  document.title = `${byId(name).querySelector("h2").id ? document.querySelector("nav a[aria-current]").textContent : ""} · Taxi`;
}

followTheme();
addEventListener("hashchange", open);
open();
