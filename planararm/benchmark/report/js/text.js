const ABSENT = "\u2013";
const SUPERSCRIPT = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079";

const known = (value) => typeof value === "number" && Number.isFinite(value);

// Ties go to the even digit, as in the tables that Python wrote; toFixed takes the larger one.
function oneDecimal(value) {
  if (!Number.isInteger(4 * value) || (4 * value) % 2 === 0) return value.toFixed(1);
  const below = Math.floor(10 * value);
  return ((below % 2 === 0 ? below : below + 1) / 10).toFixed(1);
}

// A share, never rounded up to 100 nor down to 0.
function percent(share) {
  if (!known(share)) return ABSENT;
  const rounded = oneDecimal(100 * share);
  if (rounded === "100.0") return share === 1 ? "100" : ">99.9";
  if (rounded === "0.0") return share === 0 ? "0" : "<0.1";
  return rounded;
}

function scientific(value) {
  if (!known(value)) return ABSENT;
  if (value === 0) return "0";
  return value.toExponential(1).replace(/e([+-])(\d)$/, "e$10$2");
}

function duration(seconds) {
  if (!known(seconds)) return ABSENT;
  for (const [unit, size] of [["s", 1], ["ms", 1e-3]]) {
    if (seconds >= size) return `${Number((seconds / size).toPrecision(3))} ${unit}`;
  }
  return `${Number((seconds / 1e-6).toPrecision(3))} \u00b5s`;
}

const fixed = (value, digits = 2) => (known(value) ? value.toFixed(digits).replace("-", "\u2212") : ABSENT);

function powerOfTen(exponent) {
  if (exponent === 0) return "1";
  const digits = String(Math.abs(exponent)).replace(/\d/g, (digit) => SUPERSCRIPT[digit]);
  return `10${exponent < 0 ? "\u207b" : ""}${digits}`;
}

const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
