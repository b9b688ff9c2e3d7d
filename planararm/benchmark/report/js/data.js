const data = JSON.parse(byId("data").textContent);

function bytes(text) {
  const raw = atob(text);
  return Uint8Array.from(raw, (character) => character.charCodeAt(0));
}

function words(text, signed) {
  const view = new DataView(bytes(text).buffer);
  const read = signed ? "getInt16" : "getUint16";
  return Array.from({ length: view.byteLength / 2 }, (_, i) => view[read](2 * i, true));
}

// Shares that were packed as 16-bit numbers; the largest one stands for "none".
const unpackShares = (text) => words(text, false).map((word) => (word === 65535 ? null : word / 65534));

// An array of rows of `width` numbers.
function unpackRows(packed) {
  const numbers = words(packed.data, true);
  const rows = [];
  for (let i = 0; i < numbers.length; i += packed.width) {
    rows.push(numbers.slice(i, i + packed.width).map((number) => number * packed.scale));
  }
  return rows;
}

const policyName = (index) => data.policies[index];
