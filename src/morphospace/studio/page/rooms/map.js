// The map: codes of held-out images over what the model makes at each place; the chosen point is decoded as it moves.
import { busy, button, choice, make, onMove, say, touch, trying } from "../dom.js";
import { nextFrame, Picture, stamp } from "../picture.js";
import { colour, ring, role, shade, shades } from "../colours.js";
import { spoken } from "../words.js";

const COUNT = 1500; // held-out images on the map
const CELL = 40; // least pixels of a decoded image behind the dots; the most are twice as many
const KEPT = 2500; // decoded images that are kept
const PATIENCE = 30, LEAST = 6; // milliseconds that a request for some of them should take, so that the pointer need not wait; and how few
const LISTED = 24;
const FEW = 24; // classes that a legend can name
// What to do, with a mouse and with fingers.
const WITH_MOUSE = { follows: "The picture follows the pointer. Click the map to keep a point.",
  holds: "This point is kept. Click the map again, or press Escape, to let it go.",
  moves: "Drag to pan, scroll to zoom, hold Shift and drag to select." };
const WITH_FINGERS = { follows: "Touch the map to see the picture of a place.",
  holds: "This point is kept. Touch another place to move it there.",
  moves: "Slide one finger to move the point. Use two fingers to zoom and to pan." };
const UMAP_HINT = "With UMAP only the dots are images; what lies between them cannot be decoded. The picture is the image nearest to the pointer.";
const ERROR = "error"; // the colouring by how badly each image is reconstructed

export async function enter(place, { client, state, run, condition }) {
  const canvas = make("canvas", { class: "map", tabIndex: 0, role: "application",
    "aria-label": "Map of held-out images. Arrow keys move the chosen point, plus and minus zoom, Enter shows its neighbours, Escape lets it go." });
  const face = new Picture("Under the pointer", { role: "probe", facts: () => ({ run: run.name, code: shown.code, point: probe }) });
  const keeping = make("p", { class: "keeping", "aria-live": "polite" });
  const near = make("div", { class: "strip" }), nearHead = make("h3", { "aria-live": "polite" });
  const all = button("Show all", () => { focused = new Set(); nearHead.textContent = ""; near.replaceChildren(); draw(); }, { hidden: true });
  const legend = make("div", { class: "colours" });
  const shown = { code: null }, advice = touch() ? WITH_FINGERS : WITH_MOUSE;
  const pictures = !client.lacks.has("images");
  let look = pictures ? state.get("show", "both") : "points";
  const lasso = button("Lasso", () => choosing(!selecting), { "aria-pressed": "false" });
  const uses = [button("Add to Morph", () => shown.code && addEnd(state, run, shown.code)),
    button("Change with sliders", () => shown.code && state.go({ room: "sliders", run: run.name, code: shown.code.map((x) => x.toFixed(4)).join(",") }))];
  const find = make("input", { type: "text", size: 14, list: "kinds", "aria-label": "Find images: a class, an attribute, or the number of an image" });
  const kinds = make("datalist", { id: "kinds" });
  const colours = make("span", {});
  const layout = client.lacks.has("umap") ? null : choice("Layout", [["pca", "PCA"], ["umap", "UMAP"]], state.get("by", "pca"), (value) => { state.set({ by: value, at: null }); load(); });
  const bar = make("div", { class: "tools" }, colours,
    pictures ? choice("Show", [["both", "both"], ["points", "dots"], ["thumbnails", "images"]], look, (value) => { look = value; state.set({ show: value }); draw(); }) : null, layout,
    make("form", { class: "tools", onsubmit: (event) => { event.preventDefault(); search(find.value.trim()); } }, find, kinds, make("button", { type: "submit" }, "Find")),
    lasso, button("Whole map", () => { fit(); draw(); }));
  const side = make("aside", { class: "side compact" }, face.element, keeping, make("div", { class: "tools" }, ...uses), make("section", {}, nearHead, near),
    make("div", { class: "tools" }, all, pictures ? button("Neighbours", () => neighbours("codes")) : null, client.lacks.has("training images") ? null : button("Nearest in training", () => neighbours("train"))));
  place.append(make("div", { class: "with-side lead" }, make("div", { class: "stage column" }, canvas, legend, bar, make("p", { class: "hint" }, advice.moves)), side));

  let probe = state.code("at") || null;
  let held = Boolean(probe);
  let map = null;
  let view = { x: 0, y: 0, scale: 1 }, whole = 1;
  let cells = new Map(), filling = false, chunk = 8; // what the model makes at places, by zoom and place
  let thumbnails = [];
  let paint = []; // the colour of each dot
  let rings = [], focused = new Set(); // places of neighbours; images that were selected
  let path = null, selecting = false; // the corners of a lasso while it is drawn
  let stale = true, settling = 0;
  let pressed = null; // where the pointer went down
  const fingers = new Map();
  const layer = make("canvas", {}); // everything but what follows the pointer

  tell();
  // Show a sample at once, while the map is computed.
  client.ask("decode", { run: run.id, seeds: run.opening.slice(0, 1), condition }, "probe").then((answer) => {
    if (answer && !probe) { face.show(answer.images.images[0]); face.words("A sample"); shown.code = answer.codes[0]; }
  }).catch(() => {});
  if (!(await load())) return null;

  async function load() {
    const by = state.get("by", "pca");
    let answer;
    try {
      answer = await busy(by === "umap" ? "Laying out the map by UMAP, which takes half a minute at first" : "Laying out the map", () => client.ask("map", { run: run.id, count: COUNT, by }));
    } catch (error) {
      if (by !== "umap") { place.append(make("p", { class: "cannot" }, error.message)); return false; }
      state.set({ by: null }); // the reason stays in the status line
      layout.querySelector("select").value = "pca";
      return map !== null || load();
    }
    const first = !map;
    map = answer;
    fit();
    rings = [];
    focused = new Set();
    cells = new Map();
    thumbnails = answer.images.thumbnails.map(stamp);
    keeping.dataset.layout = by;
    colourings();
    await coloured(state.get("colour", map.labels && map.label_names.length <= FEW ? "class" : "none"), true);
    if (!first) { probe = null; held = false; tell(); }
    return true;
  }

  // Whether the point is kept, for all to see; its image is used elsewhere only if it is.
  function tell() {
    const at = held ? advice.holds : map && !map.flat ? UMAP_HINT : advice.follows;
    keeping.textContent = at;
    keeping.classList.toggle("held", held);
    canvas.classList.toggle("held", held);
    for (const one of uses) one.disabled = Boolean(probe) && !held;
  }

  // -- colours -----------------------------------------------------------------------------------------------------

  function colourings() {
    const names = [...(map.labels ? [["class", "class"]] : []), ["none", "nothing"], ...(map.colours || []).map((by) => [by, by === ERROR ? "how badly it is reconstructed" : spoken(by.slice(by.indexOf(":") + 1))])];
    colours.replaceChildren(choice("Colour by", names, state.get("colour", "class"), (by) => { state.set({ colour: by }); coloured(by); }));
    const called = [...(map.labels ? map.label_names : []), ...attributes()].map(spoken);
    kinds.replaceChildren(...called.map((name) => make("option", { value: name })));
    find.placeholder = [...called.slice(0, 1), `image ${map.rows[0]}`].join(", ");
  }

  function attributes() {
    return (map.colours || []).filter((by) => by.startsWith("attribute:")).map((by) => by.slice(10));
  }

  async function coloured(by, quiet = false) {
    const select = colours.querySelector("select");
    if (![...select.options].some((one) => one.value === by)) by = map.labels ? "class" : "none";
    select.value = by;
    const plain = map.points.map(() => role("real"));
    if (by === "none" || by === "class") {
      paint = by === "class" ? map.labels.map(colour) : plain;
      legend.replaceChildren(by === "class" && map.label_names.length <= FEW ? dots(map.label_names.map((name, i) => [spoken(name), colour(i), () => map.labels.flatMap((label, at) => (label === i ? [at] : []))])) : make("p", { class: "hint" }, "Each dot is a held-out image."));
      return draw();
    }
    const values = await known(by, quiet);
    if (!values) { paint = paint.length ? paint : plain; return draw(); }
    const name = spoken(by.slice(by.indexOf(":") + 1));
    if (by.startsWith("attribute:")) {
      paint = map.points.map((_, i) => (values[i] ? colour(1) : "#8a8a94"));
      legend.replaceChildren(dots([[name, colour(1), () => having(values, 1)], [`not: ${name}`, "#8a8a94", () => having(values, 0)]]));
    } else {
      const sorted = [...values].sort((a, b) => a - b), low = sorted[Math.floor(sorted.length * 0.02)], high = sorted[Math.floor((sorted.length - 1) * 0.98)];
      paint = map.points.map((_, i) => (i < values.length ? shade((values[i] - low) / (high - low || 1)) : "#8a8a94"));
      const strip = make("span", { class: "ramp", "aria-hidden": "true" });
      strip.style.background = `linear-gradient(to right, ${shades.join(",")})`;
      const [from, to] = by === ERROR ? [`well reconstructed (${low.toPrecision(2)})`, `badly (${high.toPrecision(2)})`] : [low.toPrecision(2), high.toPrecision(2)];
      legend.replaceChildren(make("p", { class: "legend" }, by === ERROR ? "Mean squared error:" : `${name}:`, make("span", {}, from), strip, make("span", {}, to)));
    }
    draw();
  }
  const having = (values, wanted) => values.flatMap((value, i) => (value === wanted ? [i] : []));

  // A number of each image, asked for once.
  async function known(by, quiet = false) {
    map.known ||= {};
    const ask = () => client.ask("colours", { run: run.id, by, count: map.points.length });
    map.known[by] ||= (await trying(() => (quiet ? ask() : busy(by === ERROR ? "Reconstructing held-out images" : "Reading the data", ask))))?.values;
    return map.known[by];
  }

  // A legend whose entries select the images that they stand for.
  function dots(entries) {
    return make("ul", { class: "legend", "aria-label": "Colours; press one to see only its images" }, ...entries.map(([name, fill, which]) => {
      const dot = make("span", { class: "dot", "aria-hidden": "true" });
      dot.style.background = fill;
      return make("li", {}, make("button", { type: "button", class: "key", onclick: () => selected(which(), name) }, dot, name));
    }));
  }

  // -- what is seen ------------------------------------------------------------------------------------------------

  // All but the farthest dots fill the canvas, in both directions as far as one scale for both allows.
  function fit() {
    const [[x0, x1], [y0, y1]] = [0, 1].map((axis) => {
      const sorted = map.points.map((point) => point[axis]).sort((a, b) => a - b), last = sorted.length - 1;
      const low = sorted[Math.floor(last * 0.005)], high = sorted[Math.ceil(last * 0.995)], more = 0.05 * (high - low) || 1e-6;
      return [low - more, high + more];
    });
    const box = canvas.getBoundingClientRect();
    whole = Math.min(box.width / (x1 - x0), box.height / (y1 - y0)) || 1;
    view = { x: (x0 + x1) / 2, y: (y0 + y1) / 2, scale: whole };
  }
  const toScreen = ([x, y]) => [canvas.width / 2 + (x - view.x) * view.scale * ratio(), canvas.height / 2 - (y - view.y) * view.scale * ratio()];
  const ratio = () => devicePixelRatio || 1;
  const toMap = (event) => {
    const box = canvas.getBoundingClientRect();
    return [view.x + (event.clientX - box.left - box.width / 2) / view.scale, view.y - (event.clientY - box.top - box.height / 2) / view.scale];
  };

  // Draw everything, or with `moved` only what follows the pointer over what stays.
  function draw(moved = false) {
    if (moved !== true) stale = true;
    nextFrame(canvas, () => {
      const box = canvas.getBoundingClientRect(), [wide, high] = [box.width, box.height].map((length) => Math.max(1, Math.round(length * ratio())));
      if (canvas.width !== wide || canvas.height !== high) { canvas.width = layer.width = wide; canvas.height = layer.height = high; stale = true; }
      if (stale) still();
      stale = false;
      const context = canvas.getContext("2d");
      context.clearRect(0, 0, wide, high);
      context.drawImage(layer, 0, 0);
      for (const point of rings) ring(context, toScreen(point), 7, role("real"));
      if (probe) {
        ring(context, toScreen(probe), 10, role("probe"));
        if (held) pin(context, toScreen(probe));
      }
      if (path) lined(context);
      canvas.dataset.drawn = Number(canvas.dataset.drawn || 0) + 1;
    });
  }

  function still() {
    const context = layer.getContext("2d");
    context.clearRect(0, 0, layer.width, layer.height);
    context.imageSmoothingQuality = "high";
    all.hidden = !focused.size;
    if (map.flat) drawBehind(context);
    if (look !== "points" && thumbnails.length) drawThumbnails(context);
    if (look !== "thumbnails" || !thumbnails.length) drawPoints(context);
    fill();
  }

  // The cells of the plane in view: squares of the map, halved with every step of the zoom, each decoded at its middle.
  function inView() {
    const [x0, x1, y0] = map.bounds, base = (x1 - x0) / 12;
    const level = Math.floor(Math.log2((base * view.scale) / CELL)), side_ = base * 2 ** -level;
    const half = [canvas.width, canvas.height].map((length) => length / ratio() / view.scale / 2);
    const [left, bottom] = [view.x - half[0] - x0, view.y - half[1] - y0], found = [];
    for (let i = Math.floor(left / side_); i * side_ < left + 2 * half[0]; i++) {
      for (let j = Math.floor(bottom / side_); j * side_ < bottom + 2 * half[1]; j++) {
        const at = [x0 + (i + 0.5) * side_, y0 + (j + 0.5) * side_];
        found.push({ level, i, j, side: side_, at, key: `${level},${i},${j}`, off: Math.hypot(at[0] - view.x, at[1] - view.y) });
      }
    }
    return found;
  }

  function drawBehind(context) {
    context.globalAlpha = look === "points" ? 0.6 : 0.45;
    for (const { level, i, j, side: side_, at, key } of inView()) {
      const [x, y] = toScreen([at[0] - side_ / 2, at[1] + side_ / 2]).map(Math.round), [right, bottom] = toScreen([at[0] + side_ / 2, at[1] - side_ / 2]).map(Math.round);
      const image = cells.get(key);
      if (image) { context.drawImage(image, x, y, right - x, bottom - y); continue; }
      // Until it is decoded: its part of the larger cell that it lies in.
      const larger = cells.get(`${level - 1},${Math.floor(i / 2)},${Math.floor(j / 2)}`);
      if (larger) context.drawImage(larger, ((i & 1) * larger.width) / 2, ((1 - (j & 1)) * larger.height) / 2, larger.width / 2, larger.height / 2, x, y, right - x, bottom - y);
    }
    context.globalAlpha = 1;
  }

  // Decode what is in view and not known yet, the middle first, a few at a time.
  async function fill() {
    if (filling) return;
    filling = true;
    while (map.flat && place.isConnected) {
      const some = inView().filter(({ key }) => !cells.has(key)).sort((a, b) => a.off - b.off).slice(0, chunk), into = cells, began = performance.now();
      if (!some.length) break;
      const answer = await client.ask("decode", { run: run.id, points: some.map(({ at }) => at), condition }).catch(() => null);
      if (!answer) break;
      if (into !== cells) continue; // another layout meanwhile
      some.forEach(({ key }, i) => cells.set(key, stamp(answer.images.images[i])));
      for (const key of cells.keys()) { if (cells.size <= KEPT) break; cells.delete(key); }
      chunk = Math.max(LEAST, Math.min(32, Math.round((some.length * PATIENCE) / Math.max(1, performance.now() - began))));
      draw();
    }
    filling = false;
    canvas.dataset.filled = cells.size;
  }

  function drawPoints(context) {
    const size = 3.6 * ratio();
    map.points.forEach((point, i) => {
      const [x, y] = toScreen(point);
      if (x < 0 || y < 0 || x > layer.width || y > layer.height) return;
      context.globalAlpha = !focused.size || focused.has(i) ? 1 : 0.12;
      context.beginPath();
      context.arc(x, y, size, 0, 7);
      context.fillStyle = paint[i];
      context.fill();
      context.lineWidth = ratio();
      context.strokeStyle = role("edge");
      context.stroke();
    });
    context.globalAlpha = 1;
  }

  // Held-out images without overlap: one a cell, the one nearest to its middle; never larger than they are.
  function drawThumbnails(context) {
    if (look === "both" && view.scale < 2.5 * whole) return;
    const cell = 40 * ratio(), size = Math.min(cell * 0.86, thumbnails[0].width * ratio());
    const best = new Map();
    map.points.forEach((point, i) => {
      const [x, y] = toScreen(point);
      if (x < 0 || y < 0 || x > layer.width || y > layer.height || (focused.size && !focused.has(i))) return;
      const key = `${Math.floor(x / cell)},${Math.floor(y / cell)}`, off = Math.hypot((x % cell) - cell / 2, (y % cell) - cell / 2);
      if (!best.has(key) || off < best.get(key).off) best.set(key, { off, i, x, y });
    });
    for (const { i, x, y } of best.values()) {
      context.drawImage(thumbnails[i], x - size / 2, y - size / 2, size, size);
      context.strokeStyle = paint[i];
      context.lineWidth = 2 * ratio();
      context.strokeRect(x - size / 2, y - size / 2, size, size);
    }
  }

  function pin(context, [x, y]) {
    context.beginPath();
    context.arc(x, y, 4.5 * ratio(), 0, 7);
    context.fillStyle = role("probe");
    context.fill();
  }

  function lined(context) {
    context.beginPath();
    path.map(toScreen).forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
    context.strokeStyle = role("probe");
    context.lineWidth = 2 * ratio();
    context.setLineDash([6 * ratio(), 4 * ratio()]);
    context.stroke();
    context.setLineDash([]);
  }

  // -- the chosen point --------------------------------------------------------------------------------------------

  function move(to) {
    probe = to;
    if (uses[0].disabled === held) tell();
    draw(true);
    if (!map.flat) return nearestImage(to);
    client.ask("decode", { run: run.id, points: [to], condition }, "probe").then((answer) => {
      if (!answer) return;
      shown.code = answer.codes[0];
      face.show(answer.images.images[0]);
      face.words(`At ${to.map((x) => x.toFixed(2)).join(", ")}`);
    }).catch((error) => say(error.message, true));
  }

  function nearestImage([x, y]) {
    const far = map.points.map(([px, py]) => Math.hypot(px - x, py - y));
    const i = far.indexOf(Math.min(...far));
    shown.code = null;
    face.show(map.images.thumbnails[i]);
    face.words(`Nearest: ${title(i)}`);
    // Ask for its code, so that it can be used in the other rooms, and for the image in full.
    client.ask("encode", { run: run.id, image: String(map.rows[i]), condition }, "probe").then((answer) => {
      if (!answer) return;
      shown.code = answer.code;
      face.show(answer.images.images[0]);
    }).catch((error) => say(error.message, true));
  }

  const title = (i) => `${map.labels ? `${spoken(map.label_names[map.labels[i]])}, ` : ""}image ${map.rows[i]}`;

  // Keep the point, or let it go; what is kept shows its neighbours.
  function hold(on) {
    held = on;
    tell();
    state.set({ at: held ? probe : null });
    draw(true);
    clearTimeout(settling);
    if (held && pictures) settling = setTimeout(() => { if (place.isConnected && held) neighbours("codes"); }, 250);
    if (!held) { rings = []; if (!focused.size) { nearHead.textContent = ""; near.replaceChildren(); } }
  }

  async function neighbours(among) {
    if (!shown.code || !pictures) return;
    const found = await trying(() => client.ask("neighbours", { run: run.id, code: shown.code, count: 8, among, condition }, "neighbours"));
    if (!found) return;
    rings = map.flat ? found.points || [] : [];
    nearHead.textContent = among === "codes" ? "Nearest held-out images" : "Nearest training images, in pixels";
    list(found.images.images.map((image, i) => [image, `${found.distances[i].toPrecision(3)} away`]));
    draw(true);
  }

  // -- images that are selected ------------------------------------------------------------------------------------

  function selected(which, words) {
    focused = new Set(which);
    rings = [];
    nearHead.textContent = `${which.length} of ${map.points.length} images${words ? `: ${words}` : " selected"}`;
    if (thumbnails.length) list(which.slice(0, LISTED).map((i) => [map.images.thumbnails[i], title(i)]));
    draw();
  }

  function list(pairs) {
    near.replaceChildren(...pairs.map(([image, caption]) => {
      const picture = new Picture(caption, { role: "real", size: image.width, savable: false });
      picture.show(image);
      return picture.element;
    }));
  }

  // Find images by the name of a class or an attribute, or by their number.
  async function search(words) {
    if (!words) return;
    const plain = (name) => spoken(name).toLowerCase(), wanted = words.toLowerCase();
    // A class may be called 3: then "image 3" is the image of that number.
    const number = /^(image\s*)?(\d+)$/.exec(wanted);
    if (number && (number[1] || !map.label_names.includes(wanted))) {
      const i = map.rows.indexOf(Number(number[2]));
      if (i < 0) return say(`Image ${number[2]} is not among the ${map.rows.length} on the map, such as ${map.rows.slice(0, 4).join(", ")}.`, true);
      say("");
      [view.x, view.y] = map.points[i];
      return selected([i], title(i));
    }
    const match = (names) => names.find((name) => plain(name) === wanted) ?? names.find((name) => plain(name).includes(wanted));
    const kind = map.labels && match(map.label_names), attribute = match(attributes());
    if (attribute && (!kind || plain(attribute) === wanted)) {
      const values = await known(`attribute:${attribute}`);
      if (values) selected(having(values, 1), spoken(attribute));
    } else if (kind) {
      const label = map.label_names.indexOf(kind);
      selected(having(map.labels, label), spoken(kind));
    } else say(`Nothing here is called “${words}”. Try the name of a class or an attribute, or the number of an image.`, true);
  }

  function choosing(on) {
    selecting = on;
    lasso.setAttribute("aria-pressed", String(on));
    say(on ? "Draw around some dots." : "");
  }

  // List the images in the lasso.
  function surrounded() {
    const inside = ([x, y]) => path.reduce((odd, [x0, y0], i) => {
      const [x1, y1] = path[(i + 1) % path.length];
      return (y0 > y) !== (y1 > y) && x < x0 + ((y - y0) / (y1 - y0)) * (x1 - x0) ? !odd : odd;
    }, false);
    const which = map.points.flatMap((point, i) => (inside(point) ? [i] : []));
    path = null;
    choosing(false);
    say(which.length ? "" : "No dots in there.");
    if (which.length) selected(which, ""); else draw(true);
  }

  // -- pointer and keys --------------------------------------------------------------------------------------------

  // Moving decodes, a click keeps the point or lets it go, a drag pans (one finger: moves the point); two fingers zoom and pan, the wheel zooms.
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
    pressed = { x: event.clientX, y: event.clientY, moved: false, onProbe: held && near_(event) };
    if (event.shiftKey || selecting) { path = [toMap(event)]; return; }
    if (event.pointerType !== "mouse") move(toMap(event));
  };
  onMove(canvas, (event) => {
    const before = fingers.get(event.pointerId);
    if (before) fingers.set(event.pointerId, event);
    if (path && before) { path.push(toMap(event)); return draw(true); }
    if (fingers.size === 2 && before) return pinch(before, event);
    if (!pressed) { if (!held && event.pointerType === "mouse") move(toMap(event)); return; }
    if (Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) > 4) pressed.moved = true;
    if (event.pointerType !== "mouse" || (probe && pressed.onProbe)) return move(toMap(event));
    if (pressed.moved && before) {
      view.x -= (event.clientX - before.clientX) / view.scale;
      view.y += (event.clientY - before.clientY) / view.scale;
      draw();
    }
  });
  canvas.onpointercancel = (event) => { fingers.delete(event.pointerId); path = pressed = null; };
  canvas.onpointerup = (event) => {
    fingers.delete(event.pointerId);
    if (path) { surrounded(); pressed = null; return; }
    if (pressed) {
      const mouse = event.pointerType === "mouse";
      if (!pressed.moved && mouse) { move(toMap(event)); hold(!held); }
      else if (!mouse) { if (!pressed.moved) move(toMap(event)); hold(true); }
      else if (pressed.onProbe) hold(true);
    }
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
    // What lies between the fingers stays between them.
    view.x -= (now.clientX - before.clientX) / 2 / view.scale;
    view.y += (now.clientY - before.clientY) / 2 / view.scale;
    zoom(is / Math.max(1, was), toMap({ clientX: (now.clientX + other.clientX) / 2, clientY: (now.clientY + other.clientY) / 2 }));
  }
  function zoom(times, about) {
    const scale = Math.min(whole * 60, Math.max(whole * 0.5, view.scale * times));
    view.x = about[0] + (view.x - about[0]) * (view.scale / scale);
    view.y = about[1] + (view.y - about[1]) * (view.scale / scale);
    view.scale = scale;
    draw();
  }
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(Math.exp(-event.deltaY / 400), toMap(event)); }, { passive: false });
  canvas.onkeydown = (event) => {
    const step = (event.shiftKey ? 24 : 6) / view.scale;
    const ways = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (ways[event.key]) {
      const from = probe || [view.x, view.y];
      move([from[0] + ways[event.key][0], from[1] + ways[event.key][1]]);
      hold(true);
    } else if (event.key === "+" || event.key === "=") zoom(1.25, probe || [view.x, view.y]);
    else if (event.key === "-") zoom(0.8, probe || [view.x, view.y]);
    else if (event.key === "Enter") neighbours("codes");
    else return;
    event.preventDefault();
  };
  const keys = (event) => {
    if (event.key !== "Escape") return;
    if (selecting) choosing(false);
    else if (held) hold(false);
    else if (focused.size) all.click();
  };
  addEventListener("keydown", keys);

  const again = () => { paint = []; coloured(state.get("colour", "class"), true); };
  const resized = new ResizeObserver(() => { if (view.scale === whole) fit(); draw(); });
  resized.observe(canvas);
  addEventListener("themed", again);
  tell();
  if (probe) { move(probe); hold(true); }
  return () => { resized.disconnect(); clearTimeout(settling); removeEventListener("themed", again); removeEventListener("keydown", keys); };
}

export function addEnd(state, run, code) {
  const ends = (state.get("ends") ? state.get("ends").split(";") : []).slice(-7);
  ends.push(code.map((x) => x.toFixed(4)).join(","));
  state.set({ ends: ends.join(";") });
  say(`Added to Morph as image ${ends.length}. ${ends.length < 2 ? "Add another." : "Open Morph to see the paths."}`);
}
