/** Numbers and times for people.  Pure. */

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const TENTHS = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const UNITS = [[86_400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];

export const count = (n) => WHOLE.format(n);
export const rate = (n) => (n < 100 ? TENTHS : WHOLE).format(n);
/** Rounded down: 100 % is said only of what is complete. */
export const percent = (share) => `${TENTHS.format(Math.floor(share * 1000) / 10)} %`;
export const clock = (time) => CLOCK.format(new Date(time));

/** 38 ms · 1.4 s · 12 s · 3 min 06 s · 6 h 05 min · 2 d 04 h */
export function duration(seconds) {
  if (seconds < 0.9995) return `${WHOLE.format(Math.max(0, seconds * 1000))} ms`;
  if (seconds < 9.95) return `${TENTHS.format(seconds)} s`;
  const whole = Math.round(seconds);
  for (const [big, bigName, small, smallName] of UNITS) {
    if (whole < big) continue;
    const rest = Math.floor((whole % big) / small);
    return `${Math.floor(whole / big)} ${bigName} ${String(rest).padStart(2, "0")} ${smallName}`;
  }
  return `${whole} s`;
}

/** 37 s ago · 5 min ago · 2 h ago · 3 d ago; a clock ahead of ours counts as now. */
export function ago(time, now) {
  const seconds = Math.max(0, Math.round((now - new Date(time)) / 1000));
  const [size, name] = UNITS.find(([big]) => seconds >= big) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${name} ago`;
}

/** JSON on one line, cut where nobody reads on. */
export function json(value, charactersMax = 300) {
  const whole = JSON.stringify(value);
  return whole.length > charactersMax ? `${whole.slice(0, charactersMax)}…` : whole;
}
