// How numbers are written: in a legend, on an axis, exactly.

export const number = (value, digits = 0) =>
  value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** A number of things: `1 month`, `2 months`. */
export const amount = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

export function share(value) {
  const percent = 100 * value;
  const digits =
    percent !== 0 && percent < 0.1 ? { maximumSignificantDigits: 2 } : { maximumFractionDigits: percent < 10 ? 2 : 1 };
  return `${percent.toLocaleString("en-US", digits)} %`;
}

const UNITS = [
  [1e9, "B"],
  [1e6, "M"],
  [1e3, "K"],
  [1, ""],
];

/** Counts: `1.3M` in a legend, in one unit on an axis. */
export const counts = {
  short: (value) => value.toLocaleString("en-US", { notation: "compact", maximumFractionDigits: 1 }),
  exact: (value) => number(value),
  raw: (value) => value,
  labels: (values, step) => {
    const [unit, name] = UNITS.find(([size]) => values.at(-1) >= size) ?? UNITS.at(-1);
    return values.map((value) => (value ? `${number(value / unit, decimals(step / unit))}${name}` : "0"));
  },
  isWhole: true,
};

/** Shares of one: percent in a legend and on an axis, as they are in a file. */
export const shares = {
  short: share,
  exact: share,
  raw: (value) => value,
  labels: (values, step) => values.map((value) => (value ? `${number(100 * value, decimals(100 * step))} %` : "0")),
};

/** The fewest decimals in which the multiples of a step differ. */
function decimals(step) {
  for (let digits = 0; digits < 12; digits += 1) {
    const scaled = step * 10 ** digits;
    if (Math.round(scaled) >= 1 && Math.abs(scaled - Math.round(scaled)) < 1e-6) return digits;
  }
  return 12;
}
