const byId = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  // Strings become text nodes: names of policies and messages are never markup.
  element.append(...children.filter((child) => child !== null));
  return element;
}

const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

const draw = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const clear = (element) => (element.replaceChildren(), element);

const isDark = () => getComputedStyle(document.documentElement).colorScheme === "dark";

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function options(select, names, chosen) {
  clear(select).append(...names.map((name, i) => make("option", { value: i, selected: i === chosen }, name)));
}

function tableOf(caption, heads, rows) {
  return make(
    "table", {},
    make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...rows.map(([first, ...rest]) =>
      make("tr", {}, make("th", { scope: "row" }, first), ...rest.map((cell) => make("td", {}, cell))))),
  );
}

function showTable(host, caption, heads, rows) {
  const table = tableOf(caption, heads, rows);
  clear(host).append(make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table));
}

// A square canvas as sharp as the screen, as wide as its place; the drawing's unit is the CSS pixel.
const LEAST_SIDE = 240;

function sharpContext(canvas) {
  const side = Math.max(LEAST_SIDE, canvas.clientWidth);
  const scale = window.devicePixelRatio || 1;
  canvas.width = canvas.height = Math.round(side * scale);
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.font = "12px system-ui, sans-serif";
  return { context, side };
}

function whenResized(host, redraw) {
  let width = host.clientWidth;
  new ResizeObserver(() => {
    if (Math.abs(host.clientWidth - width) < 2) return;
    width = host.clientWidth;
    redraw();
  }).observe(host);
}
