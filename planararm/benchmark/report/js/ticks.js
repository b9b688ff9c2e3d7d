// Round numbers for axes.
function niceTicks(min, max, count) {
  const raw = (max - min) / count;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * size).find((one) => one >= raw);
  const ticks = [];
  for (let i = Math.ceil(min / step - 1e-9); i * step <= max * (1 + 1e-9) + 1e-12; i++) ticks.push(i * step);
  return ticks.map((value) => ({ value, text: String(Number(value.toPrecision(6))) }));
}

function decadeTicks(min, max, most) {
  const first = Math.ceil(Math.log10(min) - 1e-9);
  const last = Math.floor(Math.log10(max) + 1e-9);
  const every = Math.max(1, Math.ceil((last - first + 1) / most));
  const ticks = [];
  for (let exponent = last; exponent >= first; exponent -= every) {
    ticks.push({ value: 10 ** exponent, text: powerOfTen(exponent) });
  }
  return ticks;
}
