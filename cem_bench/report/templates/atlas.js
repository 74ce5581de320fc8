// The atlas of one experiment: a table of cells, and panels of those that are looked at.

const content = JSON.parse(document.getElementById("content").textContent);
const byId = (name) => document.getElementById(name);
const look = new Look(content.look.palettes, content.look.gamma);
const NAMES = ["model", "task", "scene"];
const open = new Map(); // number of a cell to its panel
let order = { column: -1, descending: false };

/** Numbers of a cell: per block, then the effects of its draws, one block behind the other. */
async function readCell(cell) {
  const total = cell.shape[0] * cell.shape[1], numbers = await unpack(cell.packed), step = content.outcome.step;
  const part = (at) => numbers.subarray(at * total, (at + 1) * total);
  const real = (at) => Array.from(part(at), (value) => (value === UNKNOWN ? null : value * step));
  const map = { status: part(0), n: part(1), first: part(2), verdict: part(3), mean: real(4), low: real(5), high: real(6) };
  const { shape, block, roi, tol } = cell;
  const bound = content.look.bounds[cell.task] || content.look.bound;
  Object.assign(map, { shape, block, roi, tol, bound, unit: content.outcome.unit, digits: content.outcome.digits });
  return { map, effects: numbers.subarray(7 * total) };
}

/** Donors by block of one table. */
const tables = new Map();
async function donorsOf(table) {
  if (!tables.has(table)) {
    const { blocks, packed } = content.donors[table], numbers = await unpack(packed), found = new Map();
    let start = 2 * blocks;
    for (let at = 0; at < blocks; at++) {
      found.set(numbers[at], numbers.subarray(start, start + numbers[blocks + at]));
      start += numbers[blocks + at];
    }
    tables.set(table, found);
  }
  return tables.get(table);
}

async function pictureOf(scene) {
  if (!content.pictures[scene]) return null;
  const image = new Image();
  image.src = content.pictures[scene];
  await image.decode();
  return image;
}

async function drawsOf(cell, { map, effects }, block) {
  const donors = (await donorsOf(cell.donors)).get(block), first = map.first[block];
  let start = 0;
  for (let at = 0; at < block; at++) if (map.status[at] === MEASURED) start += map.n[at];
  return Array.from({ length: map.n[block] }, (_, at) => (
    { k: first + at, donor: donors[first + at], effect: effects[start + at] * content.outcome.step }));
}

async function showBlock(cell, read, block, box) {
  if (read.map.status[block] !== MEASURED || !read.map.n[block]) return box.replaceChildren();
  const heading = element("p", {}, `Donors of row ${Math.floor(block / cell.shape[1])}, column ${block % cell.shape[1]}, `
    + `largest effect first (${content.outcome.unit}); positive: the region is worse with the donor.`);
  if (cell.donors === null) return box.replaceChildren(heading, element("p", {}, "Its draws are left out of this page."));
  const body = element("tbody"), heads = ["donor", "draw", "effect", ""].map((text) => element("th", {}, text));
  fillDonors(body, await drawsOf(cell, read, block), content.outcome.digits);
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body);
  box.replaceChildren(heading, element("div", { class: "donors", tabindex: 0 }, table));
}

async function openPanel(number) {
  const cell = content.cells[number], read = await readCell(cell);
  read.map.image = await pictureOf(cell.scene);
  const title = [cell.model, cell.task, cell.scene, cell.variant, `seed ${cell.seed}`].filter(Boolean).join(", ");
  const canvas = element("canvas", { role: "application", "aria-label": `effect map: ${title}; arrow keys move, Enter chooses` });
  const tip = element("p", { class: "tip", "aria-live": "polite" }), box = element("div");
  const close = element("button", { type: "button", "aria-label": `close ${title}`, onclick: () => closePanel(number) }, "\u00d7");
  const panel = new Panel(canvas, tip, look, (block) => showBlock(cell, read, block, box));
  panel.show(read.map);
  const facts = element("dl", {}, ...Object.entries(cell.facts).flatMap(([name, text]) => [
    element("dt", {}, name), element("dd", {}, text)]));
  const section = element("section", { class: "panel", "data-cell": number },
    element("header", {}, element("h3", {}, title), close), canvas, tip,
    element("p", { class: "quiet" }, panel.counts()), box,
    element("details", {}, element("summary", {}, "where it comes from"), facts));
  open.set(number, { panel, section });
  byId("panels").append(section);
}

function closePanel(number) {
  open.get(number).section.remove();
  open.delete(number);
  fillTable();
}

async function toggle(number) {
  if (open.has(number)) return closePanel(number);
  await openPanel(number);
  fillTable();
  open.get(number).section.scrollIntoView({ block: "nearest" });
}

function shownRows() {
  const wanted = NAMES.map((name) => byId(name).value);
  const rows = content.rows.filter((row) => NAMES.every((name, at) => !wanted[at] || row[name] === wanted[at]));
  if (order.column < 0) return rows;
  const key = (row) => (order.column < NAMES.length ? row[NAMES[order.column]] : row.values[order.column - NAMES.length]);
  const sign = order.descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [one, two] = [key(a), key(b)];
    if (one === null || two === null) return (one === null) - (two === null);
    return sign * (typeof one === "string" ? one.localeCompare(two, "en", { numeric: true }) : one - two);
  });
}

function fillTable() {
  const rows = shownRows();
  byId("shown").textContent = `${rows.length} of ${content.rows.length} cells`;
  byId("table").tBodies[0].replaceChildren(...rows.map((row) => {
    const name = row.variant ? `${row.model} (${row.variant})` : row.model;
    const button = row.cell === null ? name : element("button", {
      type: "button", "aria-pressed": String(open.has(row.cell)), title: "show or close its map", onclick: () => toggle(row.cell),
    }, name);
    const seed = row.seed ? `, seed ${row.seed}` : "";
    const names = [button, row.task, row.scene + seed].map((text) => element("td", {}, text));
    return element("tr", {}, ...names, ...row.printed.map((text) => element("td", { class: "number" }, text)));
  }));
  fillHead();
}

function fillHead() {
  const titles = [...NAMES.map((name) => ({ model: "network" })[name] || name), ...content.columns.map((column) => column.title)];
  const heads = titles.map((title, column) => {
    const sorted = column === order.column ? (order.descending ? "descending" : "ascending") : null;
    const sort = () => {
      order = { column, descending: column === order.column ? !order.descending : column >= NAMES.length };
      fillTable();
      byId("table").tHead.querySelectorAll("button")[column].focus();
    };
    const kind = column < NAMES.length ? null : "number";
    return element("th", { scope: "col", class: kind, "aria-sort": sorted }, element("button", { type: "button", onclick: sort }, title));
  });
  byId("table").tHead.replaceChildren(element("tr", {}, ...heads));
}

function fillFilters() {
  for (const name of NAMES) {
    const values = [...new Set(content.rows.map((row) => row[name]))];
    byId(name).replaceChildren(element("option", { value: "" }, "all"), ...values.map((value) => element("option", { value }, value)));
    byId(name).addEventListener("change", fillTable);
  }
}

function recolour() {
  look.palette = byId("palette").value;
  look.factor = 10 ** Number(byId("factor").value);
  byId("bound").textContent = `\u00d7 ${look.factor.toPrecision(2)} of the published`;
  drawBar(byId("colours"), look);
  for (const { panel } of open.values()) panel.draw();
}

async function start() {
  themeButton(byId("theme"));
  fillFilters();
  byId("palette").addEventListener("change", recolour);
  byId("factor").addEventListener("input", recolour);
  byId("clear").addEventListener("click", () => [...open.keys()].forEach(closePanel));
  recolour();
  const first = content.rows.filter((row) => row.cell !== null);
  const scene = (first.find((row) => content.pictures[row.scene]) || first[0] || {}).scene;
  for (const row of first.filter((row) => row.scene === scene).slice(0, 4)) await openPanel(row.cell);
  fillTable();
}

start();
