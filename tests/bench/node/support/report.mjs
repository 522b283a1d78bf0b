// What a part of the bench found, for xtask: numbers by name, which the budgets are about; tables, whose first row is their
// heading; lines over a growing size, to be plotted.
export function report({ values = {}, tables = [], plots = [] }) {
  console.log(JSON.stringify({ values, tables, plots }));
}

const digits = (value) => (value >= 100 ? 0 : value >= 10 ? 1 : 2);

export const number = (value) => value.toFixed(digits(value));

export const percent = (share) => `${Math.round(share * 100)} %`;

/** `200 B`, `2 kB`, `3.5 MB`. */
export function bytes(count) {
  const [value, unit] = count < 1000 ? [count, "B"] : count < 1e6 ? [count / 1000, "kB"] : [count / 1e6, "MB"];
  return `${value % 1 === 0 ? value : value.toFixed(1)} ${unit}`;
}
