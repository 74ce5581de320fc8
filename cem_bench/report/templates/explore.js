// The explorer: choose, click a place, watch its map come, look into blocks.

const content = JSON.parse(document.getElementById("content").textContent);
const byId = (name) => document.getElementById(name);
const look = new Look(content.look.palettes, content.look.gamma);
const ROI_SIDE = 32, POLL_MS = 300;
let version = -1, scenery = null, panels = [], chosen = null, pictures = null, stopped = false;
let place = null; // middle of the frame in the photograph, clean pixels

/** Ask the server; a refusal becomes a sentence in the page and null. */
async function ask(name, given = {}) {
  try {
    const answer = await fetch(`/${name}`, {
      method: "POST", headers: { "content-type": "application/json", [content.header]: "1" }, body: JSON.stringify(given),
    });
    if (!answer.headers.get("content-type").startsWith("application/json")) return answer;
    const data = await answer.json();
    if (data.error) return complain(data.error);
    return data;
  } catch (error) {
    return complain("The explorer does not answer: was it ended in its terminal?");
  }
}

function complain(sentence) {
  byId("error").textContent = sentence;
  return null;
}

function seconds(count) {
  if (count === null) return "";
  return count < 90 ? `, about ${Math.max(1, Math.round(count))} s left` : `, about ${Math.round(count / 60)} min left`;
}

async function watch() {
  try {
    const answer = await fetch(`/state?version=${version}`);
    await show(await answer.json());
    if (stopped) complain("");
    stopped = false;
  } catch (error) {
    if (!stopped) complain("The explorer does not answer: was it ended in its terminal?");
    stopped = true;
  }
  setTimeout(watch, POLL_MS);
}

async function show(state) {
  const counts = state.known ? `: ${state.done} of about ${state.known}${seconds(state.left_s)}` : "";
  byId("status").textContent = state.text + (state.busy ? counts : "");
  byId("progress").max = state.known || 1;
  byId("progress").value = state.busy ? state.done : 0;
  byId("stop").disabled = !state.busy;
  if (state.error) complain(state.error);
  if (state.version === version) return;
  version = state.version;
  if (!state.maps) return;
  if (!scenery || scenery.number !== state.set_up) {
    scenery = null;
    clear();
    if (state.set_up) await fetchScenery(state.set_up);
  }
  if (scenery) showMaps(state);
}

async function fetchScenery(number) {
  const data = await ask("pictures");
  if (!data) return;
  const loaded = {};
  const views = { clean: data.clean, input: data.images[0].input };
  data.images.forEach((images, at) => {
    views[`restored by ${data.names[at]}`] = images.restored;
    views[`its error \u00d74 (${data.names[at].split(",")[0]})`] = images.residual;
  });
  for (const [name, source] of Object.entries(views)) {
    const image = new Image();
    image.src = source;
    await image.decode();
    loaded[name] = image;
  }
  scenery = { ...data, loaded, number };
  byId("view").replaceChildren(...Object.keys(views).map((name) => element("option", { value: name }, name)));
  byId("view").value = "input";
  place = null;
  drawPhoto();
}

function clear() {
  panels = [];
  chosen = null;
  for (const name of ["block", "gradients", "keep"]) byId(name).hidden = true;
  byId("maps").replaceChildren();
}

function drawPhoto() {
  if (!scenery) return;
  const canvas = byId("photo"), pen = canvas.getContext("2d"), [height, width] = scenery.size, zoom = Math.ceil(512 / width);
  canvas.width = width * zoom;
  canvas.height = height * zoom;
  pen.imageSmoothingEnabled = false;
  pen.drawImage(scenery.loaded[byId("view").value], 0, 0, canvas.width, canvas.height);
  if (!place) return;
  pen.strokeStyle = css(GREEN);
  pen.lineWidth = 3;
  const [top, left] = frame();
  pen.strokeRect(left * zoom, top * zoom, ROI_SIDE * zoom, ROI_SIDE * zoom);
}

/** The frame around the place as the server will lay it: whole blocks, inside the photograph. */
function frame() {
  return place.map((at, axis) => {
    const last = Math.floor((scenery.size[axis] - ROI_SIDE) / 8) * 8;
    return Math.min(Math.max(Math.round((at - ROI_SIDE / 2) / 8) * 8, 0), last);
  });
}

function choosePlace(row, column) {
  if (!scenery) return;
  complain("");
  place = [Math.round(row), Math.round(column)];
  drawPhoto();
  const [top, left] = frame();
  byId("place").textContent = `region of ${ROI_SIDE}x${ROI_SIDE} px at row ${top}, column ${left}`;
  clear();
  ask("roi", { row: place[0], column: place[1] });
}

function photoKeys(event) {
  const step = { ArrowUp: [-8, 0], ArrowDown: [8, 0], ArrowLeft: [0, -8], ArrowRight: [0, 8] }[event.key];
  if (!scenery || (!step && event.key !== "Enter")) return;
  event.preventDefault();
  place = place || scenery.size.map((side) => side / 2);
  if (!step) return choosePlace(...place);
  place = place.map((at, axis) => Math.min(Math.max(at + step[axis], ROI_SIDE / 2), scenery.size[axis] - ROI_SIDE / 2));
  drawPhoto();
}

function makePanel(title, side) {
  const canvas = element("canvas", { role: "application", "aria-label": `effect map: ${title}; arrow keys move, Enter chooses` });
  const tip = element("p", { class: "tip", "aria-live": "polite" }), counts = element("p", { class: "quiet" });
  const panel = new Panel(canvas, tip, look, side === null ? null : (block) => chooseBlock(side, block));
  const section = element("section", { class: "panel", "data-side": side === null ? "difference" : side },
    element("header", {}, element("h3", {}, title)), canvas, tip, counts);
  return { panel, section, counts, side };
}

function showMaps(state) {
  const names = scenery.names.map((name) => name.split(",")[0]);
  const maps = state.maps.map((map, side) => ({ map, side, title: names[side] }));
  if (state.difference) maps.push({ map: state.difference, side: null, title: `${names[0]} minus ${names[1]}` });
  for (const { map, side, title } of maps) {
    if (!map) continue;
    let made = panels.find((panel) => panel.side === side);
    if (!made) {
      made = makePanel(title, side);
      panels.push(made);
      byId("maps").append(made.section);
    }
    made.panel.show({ ...map, image: scenery.loaded.clean });
    made.counts.textContent = made.panel.counts();
    made.section.dataset.done = String(side !== null && state.decided[side]);
  }
  const drawn = state.maps.some(Boolean);
  byId("gradients").hidden = byId("keep").hidden = !drawn;
  if (drawn) showKeep(state, names);
}

function showKeep(state, names) {
  byId("commands").replaceChildren(...state.commands.map((command) => element("div", { class: "bar" },
    element("code", {}, command),
    element("button", { type: "button", onclick: () => navigator.clipboard.writeText(command) }, "copy"))));
  const kinds = [["figure", "png"], ["draws", "csv"], ["download", "html"]];
  byId("downloads").replaceChildren(...names.flatMap((name, side) => kinds.map(([kind, ending]) => element("button", {
    type: "button", onclick: () => save(kind, side, `${name}.${ending}`),
  }, `${kind === "download" ? "page" : kind} of ${name}`))));
}

async function save(kind, side, name) {
  complain("");
  const answer = await ask(kind, kind === "figure" ? { side, palette: look.palette } : { side });
  if (!answer) return;
  const link = element("a", { href: URL.createObjectURL(await answer.blob()), download: name });
  link.click();
}

async function chooseBlock(side, block) {
  complain("");
  const map = panels.find((panel) => panel.side === side).panel.map;
  const data = map.status[block] === MEASURED ? await ask("donors", { side, block }) : null;
  if (!data || !data.donors.length) return;
  chosen = { side, block, k: null };
  byId("block").hidden = false;
  byId("rest").replaceChildren();
  byId("block-title").textContent = panels.find((panel) => panel.side === side).panel.describe(block);
  for (const draw of data.donors) {
    const image = element("img", { src: draw.picture, alt: `donor ${draw.donor}` });
    draw.picture = element("button", { type: "button", title: `donor ${draw.donor}: show it`, onclick: () => chooseDraw(draw.k) }, image);
  }
  fillDonors(byId("donors"), data.donors, map.digits);
  const largest = data.donors.reduce((a, b) => (Math.abs(b.effect) > Math.abs(a.effect) ? b : a));
  await chooseDraw(largest.k);
}

async function chooseDraw(k) {
  const touched = await ask("intervened", { side: chosen.side, block: chosen.block, k });
  if (!touched) return;
  chosen.k = k;
  const before = scenery.images[chosen.side];
  pictures = ["input", "restored", "residual"].map((name) => {
    const image = element("img", { alt: name, src: before[name] });
    const caption = { input: "input", restored: "restored", residual: "restored minus clean, \u00d74" }[name];
    return { image, states: [before[name], touched[name]], figure: element("figure", {}, image, element("figcaption", { class: "quiet" }, caption)) };
  });
  byId("blinking").replaceChildren(...pictures.map((picture) => picture.figure));
  blink(true);
}

function blink(touched) {
  if (!pictures) return;
  byId("blink").setAttribute("aria-pressed", String(touched));
  byId("blink-state").textContent = touched ? `intervened, draw ${chosen.k}` : "untouched";
  for (const { image, states } of pictures) image.src = states[Number(touched)];
}

const toggleBlink = () => blink(byId("blink").getAttribute("aria-pressed") !== "true");

async function showEverywhere() {
  complain("");
  const map = await ask("everywhere", { side: chosen.side, block: chosen.block });
  if (!map) return;
  const made = makePanel("Effect of this block on every block of the output", null);
  byId("rest").replaceChildren(made.section);
  made.panel.show({ ...map, image: scenery.loaded.clean });
  made.panel.chosen = map.source;
  made.panel.draw();
  made.counts.textContent = made.panel.counts();
}

async function showGradients() {
  complain("");
  const made = [];
  byId("gradient-button").disabled = true;
  byId("gradient-pictures").replaceChildren(element("p", { class: "quiet" }, "computing, which may take a minute"));
  for (const { side } of panels.filter((panel) => panel.side !== null)) {
    const data = await ask("gradients", { side });
    if (!data) break;
    const name = scenery.names[side].split(",")[0];
    const captions = { lam: `LAM of ${name}: size, ${data.steps} steps`, field: `effective receptive field of ${name}: gradient, four decades` };
    made.push(...["lam", "field"].map((kind) => element("figure", {},
      element("img", { src: data[kind], alt: captions[kind] }), element("figcaption", { class: "quiet" }, captions[kind]))));
  }
  byId("gradient-pictures").replaceChildren(...made);
  byId("gradient-button").disabled = false;
}

async function upload() {
  const file = byId("upload").files[0];
  complain("");
  const answer = await fetch(`/upload?name=${encodeURIComponent(file.name)}`, { method: "POST", headers: { [content.header]: "1" }, body: file });
  const data = await answer.json();
  if (data.error) {
    byId("upload").value = "";
    return complain(data.error);
  }
  const value = `photo:${data.photo}`;
  if (![...byId("scene").options].some((option) => option.value === value)) {
    byId("scene").append(element("option", { value }, file.name));
  }
  byId("scene").value = value;
}

function load(event) {
  event.preventDefault();
  complain("");
  const models = [byId("model").value, byId("second").value].filter(Boolean);
  const [scene, photo] = byId("scene").value.startsWith("photo:") ? ["file", byId("scene").value.slice(6)] : [byId("scene").value, ""];
  ask("load", { models, task: byId("task").value, scene, photo });
}

function fillTasks() {
  const network = content.networks.find((row) => row.name === byId("model").value);
  byId("task").replaceChildren(...network.tasks.map((task) => element("option", { value: task }, task)));
}

function recolour() {
  look.palette = byId("palette").value;
  look.factor = 10 ** Number(byId("factor").value);
  byId("bound").textContent = `\u00d7 ${look.factor.toPrecision(2)} of the published`;
  drawBar(byId("colours"), look);
  for (const { panel } of panels) panel.draw();
}

function start() {
  themeButton(byId("theme"));
  const options = () => content.networks.map((row) => element("option",
    { value: row.name, disabled: Boolean(row.missing), title: row.missing || null }, row.name + (row.missing ? " (no weights here)" : "")));
  byId("model").replaceChildren(...options());
  byId("second").replaceChildren(element("option", { value: "" }, "none"), ...options());
  byId("scene").replaceChildren(...content.scenes.map((name) => element("option", { value: name }, name)));
  byId("model").value = content.networks.some((row) => row.name === content.first.model) ? content.first.model : "RCAN_DN_none";
  byId("scene").value = content.scenes.includes(content.first.scene) ? content.first.scene : "astronaut";
  fillTasks();
  if (content.first.task) byId("task").value = content.first.task;
  byId("model").addEventListener("change", fillTasks);
  byId("choice").addEventListener("submit", load);
  byId("upload").addEventListener("change", upload);
  byId("stop").addEventListener("click", () => ask("stop"));
  byId("view").addEventListener("change", drawPhoto);
  byId("photo").addEventListener("click", (event) => {
    if (!scenery) return;
    const box = byId("photo").getBoundingClientRect();
    choosePlace(((event.clientY - box.top) / box.height) * scenery.size[0], ((event.clientX - box.left) / box.width) * scenery.size[1]);
  });
  byId("photo").addEventListener("keydown", photoKeys);
  byId("blink").addEventListener("click", toggleBlink);
  byId("everywhere").addEventListener("click", showEverywhere);
  byId("gradient-button").addEventListener("click", showGradients);
  byId("palette").addEventListener("change", recolour);
  byId("factor").addEventListener("input", recolour);
  document.addEventListener("keydown", (event) => {
    if (event.key === "b" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) toggleBlink();
  });
  recolour();
  watch();
}

start();
