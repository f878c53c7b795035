// The map: codes of held-out images, over decoded images; the selected point is decoded as it moves.
import { button, choice, make, onMove, say, trying } from "../dom.js";
import { nextFrame, Picture, stamp } from "../picture.js";
import { colour, ring, role } from "../colours.js";

const GRID = 12;
const LISTED = 24;
const HINT = "Each point is the code of a held-out image. Move the pointer to decode any point. Click to keep it. Drag to pan; Shift-drag to select images; scroll to zoom.";
const UMAP_HINT = "Each point is a held-out image. UMAP keeps neighbours together, but points between images cannot be decoded: move the pointer to see the nearest image.";

export async function enter(place, { client, state, run, condition }) {
  const canvas = make("canvas", { class: "map", tabIndex: 0, role: "application",
    "aria-label": "Map of codes. Arrow keys move the selected point, plus and minus zoom, Enter shows its neighbours." });
  const face = new Picture("Decoded point", { role: "probe", facts: () => ({ run: run.name, code: shown.code, point: probe }) });
  const words = make("p", { class: "hint" }, HINT);
  const near = make("div", { class: "strip", "aria-live": "polite" });
  const nearHead = make("h3", {});
  const shown = { code: null };
  let look = client.lacks.has("images") ? "points" : state.get("show", "both");
  const tools = make("div", { class: "tools" },
    client.lacks.has("images") ? null : choice("Show", [["both", "points and images"], ["points", "points"], ["thumbnails", "thumbnails"]], look, (value) => { look = value; state.set({ show: value }); draw(); }),
    client.lacks.has("umap") ? null : choice("Layout", [["pca", "PCA"], ["umap", "UMAP"]], state.get("by", "pca"), (value) => { state.set({ by: value, at: null }); load(); }),
    client.lacks.has("images") ? null : button("Neighbours", () => neighbours("codes")),
    client.lacks.has("training images") ? null : button("Nearest in training", () => neighbours("train")),
    button("Whole map", () => { fit(); draw(); }),
    button("Use in Morph", () => shown.code && addEnd(state, run, shown.code)),
    button("Use in Sliders", () => shown.code && state.go({ room: "sliders", run: run.name, code: shown.code.map((x) => x.toFixed(4)).join(",") })));
  const side = make("aside", { class: "side" }, face.element, words, tools, make("section", {}, nearHead, near));
  place.append(make("div", { class: "with-side" }, make("div", { class: "stage" }, canvas), side));

  let probe = state.code("at") || null;
  let held = Boolean(probe);
  let map = null;
  let view = { x: 0, y: 0, scale: 1 };
  let behind = [];
  let thumbnails = [];
  let marked = [];
  let frame = null; // two corners in the map, while something is brushed

  // Show a sample at once, while the map is computed.
  client.ask("decode", { run: run.id, seeds: run.opening.slice(0, 1), condition }, "probe").then((answer) => {
    if (answer && !probe) { face.show(answer.images.images[0]); shown.code = answer.codes[0]; }
  }).catch(() => {});
  if (!(await load())) return null;
  const many = map.label_names.length;
  if (many && many <= 24) side.append(legend(map.label_names));

  async function load() {
    say("Computing the map…");
    const answer = await trying(() => client.ask("map", { run: run.id, count: 1500, by: state.get("by", "pca") }));
    if (!answer) return false;
    say("");
    const first = !map;
    map = answer;
    marked = [];
    thumbnails = answer.images.thumbnails.map(stamp);
    behind = (answer.images.behind || []).map(stamp);
    words.textContent = map.flat ? HINT : UMAP_HINT;
    if (map.flat && !behind.length) between();
    if (!first) { probe = null; held = false; fit(); draw(); }
    return true;
  }

  // The decoded images behind the points, where they depend on the chosen class.
  async function between() {
    const [x0, x1, y0, y1] = map.bounds;
    const places = [...Array(GRID * GRID).keys()];
    const points = places.map((i) => [x0 + ((x1 - x0) * ((i % GRID) + 0.5)) / GRID, y1 - ((y1 - y0) * (Math.floor(i / GRID) + 0.5)) / GRID]);
    const answer = await trying(() => client.ask("decode", { run: run.id, points, condition }, "between"));
    if (answer) { behind = answer.images.images.map(stamp); draw(); }
  }

  function fit() {
    const [x0, x1, y0, y1] = map.bounds;
    const box = canvas.getBoundingClientRect();
    view.scale = Math.min(box.width / (x1 - x0), box.height / (y1 - y0));
    view.x = (x0 + x1) / 2;
    view.y = (y0 + y1) / 2;
  }
  const toScreen = ([x, y]) => [canvas.width / 2 + (x - view.x) * view.scale * ratio(), canvas.height / 2 - (y - view.y) * view.scale * ratio()];
  const ratio = () => devicePixelRatio || 1;
  const toMap = (event) => {
    const box = canvas.getBoundingClientRect();
    return [view.x + (event.clientX - box.left - box.width / 2) / view.scale, view.y - (event.clientY - box.top - box.height / 2) / view.scale];
  };

  function draw() {
    nextFrame(canvas, () => {
      const box = canvas.getBoundingClientRect();
      canvas.width = Math.max(1, Math.round(box.width * ratio()));
      canvas.height = Math.max(1, Math.round(box.height * ratio()));
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      if (behind.length) drawBehind(context);
      if (look !== "points") drawThumbnails(context);
      if (look !== "thumbnails") drawPoints(context);
      for (const point of marked) ring(context, toScreen(point), 7, role("real"));
      if (probe) ring(context, toScreen(probe), 10, role("probe"));
      if (frame) {
        const [[x, y], [right, bottom]] = frame.map(toScreen);
        context.strokeStyle = role("real");
        context.lineWidth = 2 * ratio();
        context.strokeRect(x, y, right - x, bottom - y);
      }
      canvas.dataset.drawn = Number(canvas.dataset.drawn || 0) + 1;
    });
  }

  function drawBehind(context) {
    const side_ = Math.round(Math.sqrt(behind.length));
    const [x0, x1, y0, y1] = map.bounds;
    const [left, top] = toScreen([x0, y1]);
    const [right, bottom] = toScreen([x1, y0]);
    const wide = (right - left) / side_, high = (bottom - top) / side_;
    context.globalAlpha = look === "points" ? 0.6 : 0.42;
    behind.forEach((image, i) => context.drawImage(image, left + (i % side_) * wide, top + Math.floor(i / side_) * high, wide + 0.5, high + 0.5));
    context.globalAlpha = 1;
  }

  function drawPoints(context) {
    const size = 3.2 * ratio();
    map.points.forEach((point, i) => {
      const [x, y] = toScreen(point);
      if (x < 0 || y < 0 || x > canvas.width || y > canvas.height) return;
      context.beginPath();
      context.arc(x, y, size, 0, 7);
      context.fillStyle = map.labels ? colour(map.labels[i]) : role("real");
      context.fill();
      context.lineWidth = ratio();
      context.strokeStyle = role("edge");
      context.stroke();
    });
  }

  // Thumbnails without overlap: one a cell, those nearest to its middle.
  function drawThumbnails(context) {
    const cell = (look === "both" ? 44 : 36) * ratio();
    const best = new Map();
    map.points.forEach((point, i) => {
      const [x, y] = toScreen(point);
      if (x < 0 || y < 0 || x > canvas.width || y > canvas.height) return;
      const key = `${Math.floor(x / cell)},${Math.floor(y / cell)}`;
      const off = Math.hypot((x % cell) - cell / 2, (y % cell) - cell / 2);
      if (!best.has(key) || off < best.get(key).off) best.set(key, { off, i, x, y });
    });
    if (look === "both" && view.scale * (map.bounds[1] - map.bounds[0]) < canvas.width * 1.5) return;
    const size = cell * 0.86;
    for (const { i, x, y } of best.values()) {
      context.drawImage(thumbnails[i], x - size / 2, y - size / 2, size, size);
      context.strokeStyle = map.labels ? colour(map.labels[i]) : role("real");
      context.lineWidth = 2 * ratio();
      context.strokeRect(x - size / 2, y - size / 2, size, size);
    }
  }

  function move(to) {
    probe = to;
    draw();
    if (!map.flat) return nearestImage(to);
    client.ask("decode", { run: run.id, points: [to], condition }, "probe").then((answer_) => {
      if (!answer_) return;
      shown.code = answer_.codes[0];
      face.show(answer_.images.images[0]);
      face.words(`Decoded point (${to.map((x) => x.toFixed(2)).join(", ")})`);
    }).catch((error) => say(error.message, true));
  }

  function nearestImage([x, y]) {
    const far = map.points.map(([px, py]) => Math.hypot(px - x, py - y));
    const i = far.indexOf(Math.min(...far));
    shown.code = null;
    face.show(map.images.thumbnails[i]);
    face.words(`Nearest image${map.labels ? `, ${map.label_names[map.labels[i]]}` : ""}`);
    // Ask for its code, so that it can be used in the other rooms.
    client.ask("encode", { run: run.id, image: String(map.rows[i]), condition }, "probe").then((answer) => {
      if (answer) shown.code = answer.code;
    }).catch((error) => say(error.message, true));
  }

  // List the images in the selected rectangle.
  function brushed() {
    const [[x0, y0], [x1, y1]] = frame;
    const inside = [...map.points.keys()].filter((i) => {
      const [x, y] = map.points[i];
      return x >= Math.min(x0, x1) && x <= Math.max(x0, x1) && y >= Math.min(y0, y1) && y <= Math.max(y0, y1);
    });
    marked = inside.slice(0, LISTED).map((i) => map.points[i]);
    nearHead.textContent = `${inside.length} of ${map.points.length} images selected`;
    if (thumbnails.length) list(inside.slice(0, LISTED).map((i) => [map.images.thumbnails[i], map.labels ? map.label_names[map.labels[i]] : `image ${i}`]));
  }
  function list(pairs) {
    near.replaceChildren(...pairs.map(([image, caption]) => {
      const picture = new Picture(caption, { role: "real", size: image.width, savable: false });
      picture.show(image);
      return picture.element;
    }));
  }

  async function neighbours(among) {
    if (!shown.code || client.lacks.has("images")) return;
    const found = await trying(() => client.ask("neighbours", { run: run.id, code: shown.code, count: 8, among, condition }));
    if (!found) return;
    marked = found.points || [];
    nearHead.textContent = among === "codes" ? "Neighbours by code" : "Nearest training images, in pixels";
    list(found.images.images.map((image, i) => [image, `distance ${found.distances[i].toFixed(2)}`]));
    draw();
  }

  // Pointer: moving decodes, a click keeps the point, a drag pans (one finger: moves the point); two fingers or the wheel zoom.
  const fingers = new Map();
  let pressed = null;
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
    pressed = { x: event.clientX, y: event.clientY, moved: false, onProbe: held && near_(event) };
    if (event.shiftKey) { frame = [toMap(event), toMap(event)]; return; }
    if (event.pointerType !== "mouse") { held = true; move(toMap(event)); }
  };
  onMove(canvas, (event) => {
    const before = fingers.get(event.pointerId);
    if (before) fingers.set(event.pointerId, event);
    if (frame && before) { frame[1] = toMap(event); pressed.moved = true; return draw(); }
    if (fingers.size === 2 && before) return pinch(before, event);
    if (!pressed) { if (!held) move(toMap(event)); return; }
    if (Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) > 4) pressed.moved = true;
    if (event.pointerType !== "mouse" || (probe && pressed.onProbe)) return move(toMap(event));
    if (pressed.moved && before) {
      view.x -= (event.clientX - before.clientX) / view.scale;
      view.y += (event.clientY - before.clientY) / view.scale;
      draw();
    }
  });
  canvas.onpointercancel = (event) => { fingers.delete(event.pointerId); frame = pressed = null; };
  canvas.onpointerup = (event) => {
    fingers.delete(event.pointerId);
    if (frame) { brushed(); frame = pressed = null; return draw(); }
    if (pressed && !pressed.moved) {
      held = event.pointerType === "mouse" ? !held || !near_(event) : true;
      move(toMap(event));
      say(held ? "Point kept. Click it again to follow the pointer." : "");
    }
    state.set({ at: held ? probe : null });
    pressed = null;
  };
  const near_ = (event) => {
    if (!probe) return false;
    const [x, y] = toScreen(probe);
    const box = canvas.getBoundingClientRect();
    return Math.hypot(x / ratio() - (event.clientX - box.left), y / ratio() - (event.clientY - box.top)) < 14;
  };
  function pinch(before, now) {
    const other = [...fingers.values()].find((one) => one.pointerId !== now.pointerId);
    const was = Math.hypot(before.clientX - other.clientX, before.clientY - other.clientY);
    const is = Math.hypot(now.clientX - other.clientX, now.clientY - other.clientY);
    zoom(is / Math.max(1, was), toMap(now));
  }
  function zoom(times, about) {
    const [x0, x1] = map.bounds;
    const box = canvas.getBoundingClientRect();
    const least = (0.5 * box.width) / (x1 - x0);
    const scale = Math.min(least * 80, Math.max(least, view.scale * times));
    view.x = about[0] + (view.x - about[0]) * (view.scale / scale);
    view.y = about[1] + (view.y - about[1]) * (view.scale / scale);
    view.scale = scale;
    draw();
  }
  canvas.onwheel = (event) => { event.preventDefault(); zoom(Math.exp(-event.deltaY / 400), toMap(event)); };
  canvas.onkeydown = (event) => {
    const step = (event.shiftKey ? 24 : 6) / view.scale;
    const ways = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (ways[event.key]) {
      const from = probe || [view.x, view.y];
      held = true;
      move([from[0] + ways[event.key][0], from[1] + ways[event.key][1]]);
      state.set({ at: probe });
    } else if (event.key === "+" || event.key === "=") zoom(1.25, probe || [view.x, view.y]);
    else if (event.key === "-") zoom(0.8, probe || [view.x, view.y]);
    else if (event.key === "Enter") neighbours("codes");
    else return;
    event.preventDefault();
  };

  const resized = new ResizeObserver(() => { fit(); draw(); });
  resized.observe(canvas);
  addEventListener("themed", draw);
  fit();
  if (probe) move(probe); else draw();
  return () => { resized.disconnect(); removeEventListener("themed", draw); };
}

export function addEnd(state, run, code) {
  const ends = (state.get("ends") ? state.get("ends").split(";") : []).slice(-7);
  ends.push(code.map((x) => x.toFixed(4)).join(","));
  state.set({ ends: ends.join(";") });
  say(`Added to Morph as image ${ends.length}. ${ends.length < 2 ? "Add another." : "Open Morph to see the paths."}`);
}

function legend(names) {
  return make("ul", { class: "legend", "aria-label": "Classes" }, ...names.map((name, i) => {
    const dot = make("span", { class: "dot", "aria-hidden": "true" });
    dot.style.background = colour(i);
    return make("li", {}, dot, name);
  }));
}
