// Tables as files: a button that downloads what a table shows, with its numbers as they are.

import { make } from "./airflow.js";

/**
 * A button that downloads a table as CSV.
 *
 * @param {string} name of the file, without its suffix
 * @param {() => (string|number|null)[][]} rows of the table, its head first
 */
export function csvButton(name, rows) {
  const button = make("button", { type: "button", class: "csv", "aria-label": `Download ${name} as CSV` }, "CSV");
  button.addEventListener("click", () => save(`${name}.csv`, csv(rows())));
  return button;
}

/** Rows as RFC 4180 has them. */
export const csv = (rows) => `${rows.map((row) => row.map(field).join(",")).join("\r\n")}\r\n`;

function field(value) {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function save(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** The name of a file: words of it in lower case, with hyphens. */
export const fileName = (...parts) =>
  ["taxi", ...parts]
    .join(" ")
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replace(/-$/, "");
