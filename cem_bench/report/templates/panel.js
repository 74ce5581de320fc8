"use strict";

// What atlas and explorer share: numbers out of packed text, and a map whose blocks are looked at, hovered and chosen.

const MEASURED = 0, ROI = 1, UNREACHABLE = 2, NOT_RUN = 3;
const VERDICTS = { "1": "helps", "-1": "harms", "0": "no effect", "2": "undecided" };
const UNDECIDED = 2;
const UNKNOWN = -(2 ** 31);
const GREEN = [38, 230, 38];
const GREY = [191, 191, 191];

/** Read back what `packed.pack` wrote: Int32Array. */
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = planes.length / 4;
  const numbers = new Int32Array(count);
  for (let at = 0; at < count; at++) {
    const value = planes[at] | (planes[count + at] << 8) | (planes[2 * count + at] << 16) | (planes[3 * count + at] << 24);
    numbers[at] = (value >>> 1) ^ -(value & 1);
  }
  return numbers;
}

/** Print a number with its sign; "?" where the draws cannot tell. */
function signed(value, digits) {
  if (value === null || value === undefined) return "?";
  return (value < 0 ? "\u2212" : "+") + Math.abs(value).toFixed(digits);
}

/** Make an element with text and attributes; text never becomes HTML. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** Colours of effects: sign(v) |v / bound|^gamma through 256 colours. */
class Look {
  constructor(palettes, gamma) {
    this.palettes = Object.fromEntries(
      Object.entries(palettes).map(([name, text]) => [name, text.match(/../g).map((pair) => parseInt(pair, 16))]));
    this.gamma = gamma;
    this.palette = "paper";
    this.factor = 1; // by which the reader stretches the bound
  }

  colour(value, bound) {
    const level = Math.max(-1, Math.min(1, value / (bound * this.factor)));
    const at = 0.5 + 0.5 * Math.sign(level) * Math.abs(level) ** this.gamma;
    const index = 3 * Math.min(255, Math.floor(at * 256));
    return this.palettes[this.palette].slice(index, index + 3);
  }
}

const css = (colour) => `rgb(${colour.join(" ")})`;

/**
 * A map on a canvas. `map` has shape [rows, columns], block (px), roi [row, column, height, width] (px), tol, unit,
 * digits, bound, image (or null), and per block: status, n, verdict, mean, low, high (null where unknown).
 */
class Panel {
  constructor(canvas, tip, look, onchoose) {
    Object.assign(this, { canvas, tip, look, onchoose, map: null, chosen: -1, cursor: -1 });
    canvas.tabIndex = 0;
    canvas.addEventListener("pointermove", (event) => this.point(this.at(event)));
    canvas.addEventListener("pointerleave", () => this.point(-1));
    canvas.addEventListener("click", (event) => this.choose(this.at(event)));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => this.point(-1));
  }

  show(map) {
    this.map = map;
    this.draw();
    if (this.cursor >= 0) this.tip.textContent = this.describe(this.cursor);
  }

  at(event) {
    if (!this.map) return -1;
    const [rows, columns] = this.map.shape;
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const inside = row >= 0 && column >= 0 && row < rows && column < columns;
    return inside ? row * columns + column : -1;
  }

  point(block) {
    if (block === this.cursor || !this.map) return;
    this.cursor = block;
    this.tip.textContent = block < 0 ? "" : this.describe(block);
    this.draw();
  }

  choose(block) {
    if (block < 0) return;
    this.chosen = block;
    this.draw();
    if (this.onchoose) this.onchoose(block);
  }

  key(event) {
    if (!this.map) return;
    const [rows, columns] = this.map.shape;
    const step = { ArrowUp: -columns, ArrowDown: columns, ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") this.choose(this.cursor);
    else if (step === undefined) return;
    else {
      const next = this.cursor < 0 ? 0 : this.cursor + step;
      if (next >= 0 && next < rows * columns) this.point(next);
    }
    event.preventDefault();
  }

  describe(block) {
    const { shape, status, n, verdict, mean, low, high, unit, digits } = this.map;
    const where = `row ${Math.floor(block / shape[1])}, column ${block % shape[1]}: `;
    if (status[block] === ROI) return where + "part of the region of interest";
    if (status[block] === UNREACHABLE) return where + "out of reach, effect exactly 0";
    if (!n[block]) return where + "not drawn yet";
    const interval = `[${signed(low[block], digits)}, ${signed(high[block], digits)}]`;
    const drawn = `${n[block]} draw${n[block] === 1 ? "" : "s"}`;
    return `${where}${signed(mean[block], digits)} ${unit} ${interval}, ${VERDICTS[verdict[block]]}, ${drawn}`;
  }

  draw() {
    if (!this.map) return;
    const { shape, block, image, roi } = this.map;
    const [rows, columns] = shape;
    const side = (this.side = Math.max(8, Math.ceil(512 / columns)));
    const pen = this.canvas.getContext("2d");
    this.canvas.width = columns * side;
    this.canvas.height = rows * side;
    if (image) {
      pen.drawImage(image, 0, 0, this.canvas.width, this.canvas.height);
      pen.globalCompositeOperation = "saturation";
      pen.fillStyle = "hsl(0 0% 50%)";
      pen.fillRect(0, 0, this.canvas.width, this.canvas.height);
      pen.globalCompositeOperation = "source-over";
    }
    for (let at = 0; at < rows * columns; at++) this.paint(pen, at, image ? 0.7 : 1);
    this.outline(pen);
    const zoom = side / block;
    pen.strokeStyle = css(GREEN);
    pen.lineWidth = 2;
    pen.strokeRect(roi[1] * zoom, roi[0] * zoom, roi[3] * zoom, roi[2] * zoom);
    this.frame(pen, this.chosen, "#000", "#fff");
    this.frame(pen, this.cursor, "#fff", "#000");
  }

  paint(pen, at, weight) {
    const { shape, status, mean, n, verdict, tol, bound } = this.map;
    const side = this.side, x = (at % shape[1]) * side, y = Math.floor(at / shape[1]) * side;
    const known = status[at] === UNREACHABLE || (status[at] === MEASURED && n[at] > 0);
    const value = known && status[at] === MEASURED && Math.abs(mean[at]) >= tol ? mean[at] : 0;
    const colour = status[at] === ROI ? GREEN : known ? this.look.colour(value, bound) : GREY;
    pen.globalAlpha = status[at] === ROI ? 0.5 : weight;
    pen.fillStyle = css(colour);
    pen.fillRect(x, y, side, side);
    pen.globalAlpha = 1;
    if (status[at] === MEASURED && n[at] > 0 && verdict[at] === UNDECIDED) this.hatch(pen, x, y, side);
  }

  hatch(pen, x, y, side) {
    pen.strokeStyle = "rgb(0 0 0 / 45%)";
    pen.lineWidth = 1;
    pen.beginPath();
    for (const part of [0.5, 1, 1.5]) {
      const low = Math.max(0, part - 1) * side, high = Math.min(1, part) * side;
      pen.moveTo(x + low, y + high);
      pen.lineTo(x + high, y + low);
    }
    pen.stroke();
  }

  /** Draw the edge of what can reach the region of interest. */
  outline(pen) {
    const { shape, status } = this.map, [rows, columns] = shape, side = this.side;
    const dead = (row, column) => status[row * columns + column] === UNREACHABLE;
    pen.strokeStyle = "#222";
    pen.lineWidth = 1.5;
    pen.setLineDash([side / 3, side / 4]);
    pen.beginPath();
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const x = column * side, y = row * side;
        if (column && dead(row, column) !== dead(row, column - 1)) { pen.moveTo(x, y); pen.lineTo(x, y + side); }
        if (row && dead(row, column) !== dead(row - 1, column)) { pen.moveTo(x, y); pen.lineTo(x + side, y); }
      }
    }
    pen.stroke();
    pen.setLineDash([]);
  }

  frame(pen, block, outer, inner) {
    if (block < 0) return;
    const side = this.side, x = (block % this.map.shape[1]) * side, y = Math.floor(block / this.map.shape[1]) * side;
    for (const [colour, width] of [[outer, 4], [inner, 1.5]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.strokeRect(x, y, side, side);
    }
  }

  /** Say how many blocks there are of each kind. */
  counts() {
    const { status, verdict, n } = this.map, counts = {};
    status.forEach((code, at) => {
      const kind = code === UNREACHABLE ? "out of reach" : code === ROI ? "" : n[at] ? VERDICTS[verdict[at]] : "not drawn";
      if (kind) counts[kind] = (counts[kind] || 0) + 1;
    });
    const order = ["helps", "harms", "no effect", "undecided", "out of reach", "not drawn"];
    return order.filter((kind) => counts[kind]).map((kind) => `${kind} ${counts[kind]}`).join(", ");
  }
}

/** Draw the colours from -bound to +bound into a canvas. */
function drawBar(canvas, look) {
  const pen = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x++) {
    pen.fillStyle = css(look.colour((2 * x) / (canvas.width - 1) - 1, 1 / look.factor));
    pen.fillRect(x, 0, 1, canvas.height);
  }
}

/** Fill a table with donors and what each did, largest first. `draws`: [{k, donor, effect}]. */
function fillDonors(body, draws, digits) {
  const largest = Math.max(...draws.map((draw) => Math.abs(draw.effect)), 1e-12);
  const sorted = [...draws].sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
  body.replaceChildren(...sorted.map((draw) => {
    const bar = element("meter", { min: 0, max: 1, value: Math.abs(draw.effect) / largest, "aria-hidden": "true" });
    const cells = [draw.picture || String(draw.donor), String(draw.k), signed(draw.effect, digits), bar];
    return element("tr", {}, ...cells.map((content) => element("td", {}, content)));
  }));
}

/** Let a button switch between light and dark. */
function themeButton(button) {
  const root = document.documentElement;
  button.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
}
