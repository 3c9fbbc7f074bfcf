"use strict";
// What niivue draws: the CT, one label volume made of the masks that are on, and one map. All of it is in this file, as
// gzipped NIfTI in base64.

const byId = (id) => document.getElementById(id);
const facts = JSON.parse(byId("facts").textContent);
const truths = facts.targets.filter((target) => target.truth?.found).map(({ name, truth }) => ({ ...truth, name: `${name}: truth`, colour: [255, 255, 255], of: name }));
const predicted = facts.targets.filter((target) => target.found);
const drawn = [...predicted, ...truths], isTruth = (id) => truths.some((truth) => truth.id === id);
const listed = facts.targets.filter((target) => target.found || target.truth);
const NARROW = 760; // pixels of a window in which three planes are too small
const DARK = 255; // the label of every second pair of voxels along a truth's line
const HEADER = 352, UINT8 = 2, INTENT_LABEL = 1002; // NIfTI's numbers
const AXIAL = 0, CORONAL = 1, SAGITTAL = 2, SOLID = 4, FADES_TO_ZERO = 2; // niivue's
const WORLD_AXIS = [2, 1, 0]; // across the slices of each plane: S, A, R
const WINDOWS = [
  { key: "1", name: "Abdomen", low: -175, high: 250 },
  { key: "2", name: "Lung", low: -1350, high: 150 },
  { key: "3", name: "Bone", low: -450, high: 1050 },
];
const VIEWS = [
  { key: "q", name: "All", tiles: [[AXIAL, [0, 0, 0.6, 1]], [CORONAL, [0.6, 0, 0.4, 0.5]], [SAGITTAL, [0.6, 0.5, 0.4, 0.5]]] },
  { key: "a", name: "Axial", tiles: [[AXIAL, [0, 0, 1, 1]]] },
  { key: "c", name: "Coronal", tiles: [[CORONAL, [0, 0, 1, 1]]] },
  { key: "s", name: "Sagittal", tiles: [[SAGITTAL, [0, 0, 1, 1]]] },
  { key: "d", name: "3-D", tiles: [[SOLID, [0, 0, 1, 1]]] },
];
const OVERLAYS = [
  { kind: "masks", name: "Masks" },
  { kind: "mean", name: "Probability", legend: "probability, mean over the samples", most: 1, colours: "viridis" },
  { kind: "variance", name: "Variance", legend: "variance over the samples", most: 0.25, colours: "inferno" },
  { kind: "entropy", name: "Entropy", legend: "predictive entropy in bits", most: 1, colours: "inferno" },
];

const state = {
  plane: AXIAL, window: WINDOWS[0], view: VIEWS[0], overlay: OVERLAYS[0], shown: true, outlines: false, opacity: 0.45,
  on: new Set(drawn.map((layer) => layer.id)), chosen: predicted.find((target) => target.id === facts.largest) ?? facts.targets[0],
};
const masks = new Map();
let nv, labels, map = null, pending = Promise.resolve();

async function volumeOf(id) {
  const text = byId(id).textContent;
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

function shapeOf(buffer) {
  const header = new DataView(buffer);
  return [42, 44, 46].map((at) => header.getInt16(at, true));
}

const imageOf = (buffer, name, colours, opacity, low, high) => niivue.NVImage.new(buffer, name, colours, opacity, null, low, high);

async function start() {
  nv = new niivue.Niivue({
    isRadiologicalConvention: true, sagittalNoseLeft: true, showAllOrientationMarkers: true, backColor: [0, 0, 0, 1],
    crosshairColor: [0.35, 0.65, 1, 1], crosshairWidth: 0.3, crosshairWidthUnit: "percent", crosshairGap: 6,
    fontColor: [0.9, 0.8, 0.4, 1], fontSizeScaling: 0.3, fontMinPx: 12, dragAndDropEnabled: false, loadingText: "", logLevel: "error",
    mouseEventConfig: { leftButton: { primary: 8, withShift: 3 }, rightButton: 9, centerButton: 3 }, // crosshair, pan; window; pan
  });
  await nv.attachToCanvas(byId("canvas"), false);
  nv.onLocationChange = showPosition;
  nv.onIntensityChange = () => press("windows", null);
  const ct = await volumeOf("ct");
  nv.addVolume(await imageOf(ct, "ct.nii", "gray", 1, state.window.low, state.window.high));
  for (const { id } of drawn) masks.set(id, await volumeOf(`mask-${id}`));
  labels = await imageOf(emptyLabels(ct), "labels.nii", "gray", state.opacity, 0, 255);
  labels.setColormapLabel(labelColours());
  nv.addVolume(labels);
  setView(innerWidth < NARROW ? VIEWS[1] : VIEWS[0]);
  if (drawn.length) goTo(state.chosen);
  redraw();
}

function emptyLabels(ct) {
  const buffer = new ArrayBuffer(HEADER + shapeOf(ct).reduce((product, n) => product * n));
  new Uint8Array(buffer).set(new Uint8Array(ct, 0, HEADER));
  const header = new DataView(buffer);
  for (const [at, value] of [[68, INTENT_LABEL], [70, UINT8], [72, 8]]) header.setInt16(at, value, true);
  return buffer;
}

function labelColours() {
  const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
  const dark = { id: DARK, name: "", colour: [0, 0, 0] };
  for (const { id, name, colour } of truths.length ? [...facts.targets, ...truths, dark] : facts.targets) {
    const entry = { R: colour[0], G: colour[1], B: colour[2], A: 255, I: id, labels: name };
    for (const key in entry) table[key].push(entry[key]);
  }
  return table;
}

// Where masks overlap the later of `facts.layers` is seen: organs from large to small, then tumours, then truths' lines.
function paintLabels(ids, outlines) {
  labels.img.fill(0);
  const across = facts.file_axes[WORLD_AXIS[state.view === VIEWS[0] ? AXIAL : state.plane]];
  const inPlane = [0, 1, 2].filter((axis) => axis !== across);
  for (const id of facts.layers.filter((id) => ids.has(id))) paint(id, outlines || isTruth(id) ? inPlane : []);
}

// Paint a mask, or with `edges` only its voxels that have a neighbour outside it along those axes; a truth in two colours.
function paint(id, edges) {
  const buffer = masks.get(id), shape = shapeOf(buffer), mask = new Uint8Array(buffer, HEADER);
  const [x0, y0, z0] = layerOf(id).start, two = isTruth(id), [width, height] = facts.shape, strides = [1, shape[0], shape[0] * shape[1]];
  const at = [0, 0, 0];
  const isEdge = (axis) => at[axis] === 0 || at[axis] === shape[axis] - 1 || !mask[at.from - strides[axis]] || !mask[at.from + strides[axis]];
  at.from = 0;
  for (at[2] = 0; at[2] < shape[2]; at[2]++) for (at[1] = 0; at[1] < shape[1]; at[1]++) {
    const row = x0 + width * (y0 + at[1] + height * (z0 + at[2]));
    for (at[0] = 0; at[0] < shape[0]; at[0]++, at.from++) {
      if (mask[at.from] && (!edges.length || edges.some(isEdge))) labels.img[row + at[0]] = two && (at[0] + at[1] + at[2]) & 2 ? DARK : id;
    }
  }
}

async function readMap() {
  if (map) nv.removeVolume(map);
  map = null;
  const { kind, colours, most } = state.overlay;
  if (kind === "masks" || !state.chosen?.maps.includes(kind)) return;
  map = await imageOf(await volumeOf(`${kind}-${state.chosen.id}`), `${kind}.nii`, colours, 1, most / 4, most);
  map.colormapType = FADES_TO_ZERO; // below the lower limit
  nv.addVolume(map);
  nv.setVolume(labels, 2); // outlines over the map
}

async function draw() {
  const solid = state.view.name === "3-D", mapped = state.overlay.kind !== "masks", outlines = state.outlines && !solid;
  const shown = new Set([...state.on].filter((id) => !mapped || id === state.chosen.truth?.id || (outlines && id === state.chosen.id)));
  paintLabels(shown, outlines);
  labels.opacity = !state.shown ? 0 : solid ? 1 : Math.min(outlines ? 2 * state.opacity : state.opacity, 1);
  nv.opts.atlasOutline = outlines || truths.length ? 1 : 0; // else niivue fades a mask's border voxels, which is all there is to outlines
  nv.volumes[0].opacity = solid ? 0 : 1;
  await readMap();
  if (map) map.opacity = state.shown ? Math.min(1.5 * state.opacity, 1) : 0;
  nv.updateGLVolume();
  nv.createOnLocationChange();
  showPanel();
  document.body.dataset.state = "ready";
}

const redraw = () => { pending = pending.then(draw).catch(failed); };
const layerOf = (id) => drawn.find((layer) => layer.id === id);

function setView(view) {
  state.view = view;
  const plane = view.tiles[0][0];
  if (plane !== SOLID) state.plane = plane;
  nv.setCustomLayout(view.tiles.map(([sliceType, position]) => ({ sliceType, position })));
}

function setWindow(window) {
  state.window = window;
  nv.volumes[0].cal_min = window.low;
  nv.volumes[0].cal_max = window.high;
  nv.updateGLVolume();
  press("windows", window.name);
}

function goTo(target) {
  nv.scene.crosshairPos = nv.mm2frac(target.centre, 0, true);
  nv.drawScene();
}

function scroll(slices) {
  const move = [0, 0, 0];
  move[WORLD_AXIS[state.plane]] = slices;
  nv.moveCrosshairInVox(...move);
}

// The crosshair stays where it is on the screen.
function zoom(factor) {
  const [x, y, z, old] = nv.scene.pan2Dxyzmm, scale = Math.min(Math.max(old * factor, 1), 10);
  const mm = nv.frac2mm(nv.scene.crosshairPos), pan = [x, y, z].map((offset, axis) => offset - (scale - old) * mm[axis]);
  nv.setPan2Dxyzmm(scale === 1 ? [0, 0, 0, 1] : [...pan, scale]);
}

// Whether a layer's mask holds the voxel of the page's CT at a place in millimetres.
function holds(layer, mm) {
  const buffer = masks.get(layer.id), shape = shapeOf(buffer);
  const at = facts.to_voxels.map((row, axis) => Math.round(row[0] * mm[0] + row[1] * mm[1] + row[2] * mm[2] + row[3]) - layer.start[axis]);
  if (at.some((n, axis) => n < 0 || n >= shape[axis])) return false;
  return new Uint8Array(buffer, HEADER)[at[0] + shape[0] * (at[1] + shape[1] * at[2])] > 0;
}
