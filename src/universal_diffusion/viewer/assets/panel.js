// The panel beside the planes, the read-out below them, and the keys.

const LETTERS = [["R", "L"], ["A", "P"], ["S", "I"]];
const PLANES = ["axial", "coronal", "sagittal"];
const HELP = [["↑ ↓", "slice"], ["PgUp PgDn", "10 slices"], ["← →", "plane"], ["1 2 3", "window"], ["m", "overlay on/off"], ["u", "uncertainty"],
  ["o", "outlines"], ["j k", "target"], ["[ ]", "opacity"], ["+ −", "zoom"], ["q a c s d", "view"], ["x", "crosshair"], ["r", "reset"]];

const element = (name, properties) => Object.assign(document.createElement(name), properties);

function showPosition(location) {
  if (location.axCorSag <= SAGITTAL) state.plane = location.axCorSag;
  const ct = nv.volumes[0], mm = [...location.mm].slice(0, 3);
  const place = mm.map((value, axis) => `${LETTERS[axis][value < 0 ? 1 : 0]} ${Math.abs(value).toFixed(1)}`).join("  ");
  const mapped = map && `${state.chosen.name}: ${state.overlay.name.toLowerCase()} ${location.values[1].value.toFixed(3)}`;
  byId("value").textContent = `${Math.round(location.values[0].value)} HU`;
  byId("place").textContent = `${place} mm`;
  byId("here").textContent = mapped ?? drawn.filter((layer) => holds(layer, mm)).map((layer) => layer.name).join(", ");
  byId("slices").replaceChildren(...PLANES.map((name, plane) => {
    const axis = WORLD_AXIS[plane];
    return element("span", { textContent: `${name} ${Math.round(location.vox[axis]) + 1}/${ct.dimsRAS[axis + 1]}`, className: plane === state.plane ? "active" : "" });
  }));
}

function addButtons(id, entries, act) {
  for (const entry of entries) byId(id).append(element("button", { textContent: entry.name, onclick: () => act(entry) }));
}

function press(id, name) {
  for (const button of byId(id).children) button.setAttribute("aria-pressed", button.textContent === name);
}

function addBox(row, layer, name) {
  const box = element("input", { type: "checkbox", ariaLabel: name, disabled: !layer?.found, onclick: (event) => event.stopPropagation() });
  if (layer?.found) box.dataset.id = layer.id;
  box.onchange = () => { state.on[box.checked ? "add" : "delete"](layer.id); redraw(); };
  row.insertCell().append(box);
}

function addTarget(target) {
  const row = byId("targets").insertRow(), swatch = element("span", { className: "swatch" });
  row.dataset.id = target.id;
  row.onclick = () => choose(target);
  swatch.style.background = `rgb(${target.colour})`;
  addBox(row, target, `Mask of ${target.name}`);
  if (truths.length) addBox(row, target.truth, `Truth of ${target.name}`);
  row.insertCell().append(swatch, target.name, element("small", { textContent: target.remark }));
  for (const text of target.figures) row.insertCell().append(text);
}

function addHeadings() {
  const names = truths.length ? ["pred.", "truth"] : [""];
  for (const name of [...names, "Target"]) byId("headings").append(element("th", { textContent: name }));
  for (const [name, told] of facts.columns) {
    byId("headings").append(element("th", { textContent: name, title: told }));
    byId("columns").append(element("dt", { textContent: name }), element("dd", { textContent: told }));
  }
}

function showFacts() {
  byId("ct-name").textContent = facts.ct;
  byId("ct-facts").textContent = byId("ct-facts").title = facts.described;
  if (facts.home) byId("made").before(element("a", { href: facts.home, textContent: "All cases of the study" }));
  for (const [name, value] of facts.made) byId("made").append(element("dt", { textContent: name }), element("dd", { textContent: value }));
  addHeadings();
  listed.forEach(addTarget);
  byId("compared").hidden = !truths.length;
  document.body.classList.toggle("scored", facts.targets.some((target) => target.truth));
  const absent = facts.targets.filter((target) => !listed.includes(target)).map((target) => target.name);
  byId("absent").textContent = absent.length ? `Not found: ${absent.join(", ")}` : "";
  for (const [key, name] of HELP) byId("keys").append(element("span", { innerHTML: `<kbd>${key}</kbd> ${name}` }));
}

function showPanel() {
  for (const row of byId("targets").rows) {
    row.setAttribute("aria-selected", Number(row.dataset.id) === state.chosen?.id);
    for (const box of row.querySelectorAll("input")) box.checked = state.on.has(Number(box.dataset.id));
  }
  for (const [id, layers] of SWITCHES) byId(id).checked = layers.some((layer) => state.on.has(layer.id));
  byId("opacity").value = 100 * state.opacity;
  byId("outlines").checked = state.outlines;
  press("views", state.view.name);
  press("overlays", state.shown ? state.overlay.name : null);
  showLegend(state.overlay);
}

const USABLE = OVERLAYS.filter(({ kind }) => kind === "masks" || facts.targets.some((target) => target.maps.includes(kind)));
const SWITCHES = [["all", predicted], ["truths", truths]];

function showLegend({ legend, most, colours, name }) {
  byId("legend").hidden = !legend;
  if (!legend) return;
  byId("legend-name").textContent = map ? `${state.chosen.name}: ${legend}` : `${state.chosen.name}: no ${name.toLowerCase()} above 0`;
  byId("legend-most").textContent = most;
  const table = nv.colormap(colours), stops = [...Array(17).keys()].map((n) => 4 * Math.min(16 * n, 255));
  byId("legend-bar").style.background = `linear-gradient(to right, ${stops.map((at) => `rgb(${table.slice(at, at + 3)})`)})`;
}

function choose(target) {
  state.chosen = target;
  if (target.found || target.truth?.found) goTo(target);
  redraw();
}

function chooseNext(step) {
  if (listed.length) choose(listed[(listed.indexOf(state.chosen) + step + listed.length) % listed.length]);
}

function changeView(view) {
  setView(view);
  redraw();
}

function changePlane(step) {
  state.plane = (state.plane + step + 3) % 3;
  if (state.view === VIEWS[0]) nv.createOnLocationChange();
  else changeView(VIEWS[1 + state.plane]);
}

function changeOverlay(overlay) {
  state.overlay = overlay;
  state.shown = true;
  redraw();
}

function nextOverlay() {
  changeOverlay(USABLE[(USABLE.indexOf(state.overlay) + 1) % USABLE.length]);
}

function changeOpacity(opacity) {
  state.opacity = Math.min(Math.max(opacity, 0), 1);
  redraw();
}

function toggle(what) {
  state[what] = !state[what];
  redraw();
}

function reset() {
  setWindow(WINDOWS[0]);
  nv.setPan2Dxyzmm([0, 0, 0, 1]);
  Object.assign(state, { opacity: 0.45, outlines: false, shown: true, overlay: OVERLAYS[0], on: new Set(drawn.map((layer) => layer.id)) });
  changeView(VIEWS[0]);
}

function failed(error) {
  document.body.dataset.state = "failed";
  byId("status").textContent = `This page cannot be shown: ${error.message ?? error}. It needs a current browser with WebGL 2.`;
}

const KEYS = {
  ArrowUp: () => scroll(1), ArrowDown: () => scroll(-1), PageUp: () => scroll(10), PageDown: () => scroll(-10),
  ArrowLeft: () => changePlane(-1), ArrowRight: () => changePlane(1), j: () => chooseNext(1), k: () => chooseNext(-1),
  m: () => toggle("shown"), o: () => toggle("outlines"), u: nextOverlay, r: reset,
  "[": () => changeOpacity(state.opacity - 0.1), "]": () => changeOpacity(state.opacity + 0.1),
  "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8),
  x: () => nv.setCrosshairWidth(nv.opts.crosshairWidth ? 0 : 0.3),
};
for (const window of WINDOWS) KEYS[window.key] = () => setWindow(window);
for (const view of VIEWS) KEYS[view.key] = () => changeView(view);

// niivue has keys of its own on the canvas; here only those of the help line act.
addEventListener("keydown", (event) => {
  const act = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  const slides = event.target.type === "range" && event.key.startsWith("Arrow");
  if (act && !slides && !(event.ctrlKey || event.metaKey || event.altKey) && document.body.dataset.state === "ready") {
    event.preventDefault();
    act();
  }
  if (event.target === byId("canvas")) event.stopImmediatePropagation();
}, true);
addEventListener("keyup", (event) => { if (event.target === byId("canvas")) event.stopImmediatePropagation(); }, true);

addButtons("windows", WINDOWS, setWindow);
addButtons("views", VIEWS, changeView);
addButtons("overlays", USABLE, changeOverlay);
byId("overlays").parentElement.hidden = USABLE.length < 2;
press("windows", state.window.name);
byId("opacity").oninput = (event) => changeOpacity(event.target.value / 100);
byId("outlines").onchange = () => toggle("outlines");
for (const [id, layers] of SWITCHES) byId(id).onchange = (event) => {
  for (const layer of layers) state.on[event.target.checked ? "add" : "delete"](layer.id);
  redraw();
};
showFacts();
start().catch(failed);
