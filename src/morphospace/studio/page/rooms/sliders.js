// One image, moved along attributes, components or single dimensions; and a plane through three seeds.
import { busy, button, calm, choice, make, onMove, trying } from "../dom.js";
import { markdown } from "../markdown.js";
import { Picture } from "../picture.js";
import { spoken } from "../words.js";
import { addEnd } from "./map.js";

const REACH = { component: 4, dim: 4, direction: 6 };
const SHOWN = 12;
const changed = (one) => `changes pixels by ${(100 * Math.sqrt(one.change)).toFixed(1)} %`;
// A class whose name is a number needs a word beside the number of its slider.
const titled = (name) => (/^\d+$/.test(name) ? `Class ${name}` : spoken(name));
const WORDS = {
  component: (one) => ({ kind: "component", name: one.name, words: `Component ${one.name + 1}`, note: `${(100 * one.share).toFixed(1)} %`, more: `${(100 * one.share).toFixed(1)} % of the variance; ${changed(one)}` }),
  dim: (one) => ({ kind: "dim", name: one.name, words: `Dimension ${one.name}`, note: `${(100 * Math.sqrt(one.change)).toFixed(1)} %`, more: changed(one) }),
  direction: (one) => ({ kind: "direction", name: one.name, words: titled(one.name), note: one.accuracy === null ? "" : `${(100 * one.accuracy).toFixed(0)} % right`,
    more: `${one.accuracy === null ? "" : `tells ${(100 * one.accuracy).toFixed(0)} % of ${one.n} held-out images right; `}${changed(one)}` }),
};
// What the numbers beside the sliders count.
const COUNTS = {
  component: "Percentages: the component's share of the variance. Numbers at the right: the change, in standard deviations.",
  dim: "Percentages: how much it changes the pixels. Numbers at the right: the change, in standard deviations.",
  direction: "Percentages: held-out images that it classifies correctly. Numbers at the right: the change, in standard deviations.",
};

export async function enter(place, { client, state, run, condition }) {
  let base = state.code("code");
  // A model that cannot encode has no mean code, and the mean of its prior shows nothing: it starts at a seed.
  const least = run.cannot.encode || run.cannot.data ? 0 : -1;
  let seed = Math.max(least, Number(state.get("seed", String(state.get("code") ? -1 : run.opening[0]))));
  let moves = new Map();
  let animation = 0;
  let mixed = false; // whether the upper levels are of another code than the seed's
  const face = new Picture("Changed", { facts: () => ({ run: run.name, base, moves: [...moves.values()], code: now }) });
  let now = null;
  // Of a code of several levels, another seed may leave the upper ones as they are.
  let kept = run.levels.length > 1 ? Math.min(run.levels.length - 1, Math.max(0, Math.trunc(Number(state.get("keep", "0"))) || 0)) : 0;
  const keeping = make("output", {});
  const showKept = () => { keeping.textContent = kept ? `the upper ${kept} of ${run.levels.length} levels` : "no level"; };
  const keep = make("input", { type: "range", min: "0", max: String(run.levels.length - 1), step: "1", value: String(kept), oninput: () => {
    kept = Number(keep.value);
    showKept();
    state.set({ keep: kept || null });
  } });
  showKept();
  const list = make("div", { class: "sliders" });
  const kinds = make("div", { class: "tools" }), counts = make("p", { class: "hint" });
  let every = false; // whether all sliders are shown
  const find = make("input", { type: "search", size: 12, placeholder: "Find…", "aria-label": "Find a slider by its name", oninput: () => fill() });
  const pad = make("div", { class: "pad", tabIndex: 0, role: "application", "aria-label": "Plane of seeds: drag, or use the arrow keys, to pan" },
    make("span", {}, "Drag here to wander between samples"));
  place.append(make("div", { class: "with-side lead" },
    make("div", { class: "stage column" }, kinds, counts, list),
    make("aside", { class: "side" }, face.element,
      make("div", { class: "tools" },
        button("Another seed", () => start(another())),
        run.levels.length > 1 ? make("label", { class: "field" }, "Another seed keeps", keep, keeping) : null,
        least < 0 ? button("Average image", () => { base = null; seed = -1; mixed = false; state.set({ code: null, seed: -1 }); reset(); }) : null,
        button("Reset all", () => reset()),
        button("Add to Morph", () => now && addEnd(state, run, now))),
      pad)));

  const usual = run.cannot.encode || run.cannot.data ? "component" : "direction";
  let kind = WORDS[state.get("by")] ? state.get("by") : usual;
  const groups = {};
  kinds.append(choice("Move along", [["direction", "attributes"], ["component", "components"], ["dim", "single dimensions"]], kind, (value) => {
    kind = value;
    state.set({ by: value });
    fill();
  }), find);
  readMoves();
  start(seed, true);
  // The kind that is shown first; then the others, in the background.
  for (const by of [kind, ...Object.keys(WORDS).filter((one) => one !== kind)]) {
    const asks = () => client.ask("sliders", { run: run.id, by });
    (by === kind ? busy("Computing the directions", asks).catch(() => null) : trying(asks)).then((answer) => {
      if (!place.isConnected) return;
      groups[by] = answer ? answer.rows.map(WORDS[by]) : [];
      if (by !== kind) return;
      // If the data have no attributes, show the components.
      if (by === "direction" && !groups.direction.length && !state.get("by")) kind = kinds.querySelector("select").value = "component";
      fill();
      if (moves.size) ask();
    });
  }

  // The chosen seeds first, then all others.
  function another() {
    const place = run.opening.indexOf(seed);
    if (place >= 0 && place + 1 < run.opening.length) return run.opening[place + 1];
    return (seed + 1) % (run.seeds || Infinity);
  }

  async function start(next, first = false) {
    seed = next;
    if (base && first) return ask();
    if (seed < 0) return ask();
    const answer = await trying(() => client.ask("decode", { run: run.id, seeds: [seed], condition }, "face"));
    if (!answer) return;
    const units = base && !first ? run.levels.slice(0, kept).reduce((sum, one) => sum + one, 0) : 0;
    base = [...(base || []).slice(0, units), ...answer.codes[0].slice(units)];
    mixed = units > 0;
    pan = [0, 0]; // the pad is around this seed now
    corners = null;
    state.set({ seed: mixed ? null : seed, code: mixed ? base : null });
    if (!first) reset(); else ask();
  }

  function readMoves() {
    for (const part of state.get("moves").split(";").filter(Boolean)) {
      const [kind_, coded, value] = part.split(":");
      const name = kind_ === "direction" ? decodeURIComponent(coded) : Number(coded);
      if (REACH[kind_] && Number.isFinite(Number(value))) moves.set(`${kind_}:${name}`, [kind_, name, Number(value)]);
    }
  }

  async function ask() {
    const answer = await trying(() => client.ask("decode", { run: run.id, base: base || undefined, moves: [...moves.values()], condition }, "face"));
    if (!answer) return;
    now = answer.codes[0];
    face.show(answer.images.images[0]);
    face.words(moves.size ? "Changed" : mixed ? `Seed ${seed} below the level${kept > 1 ? "s" : ""} kept` : seed >= 0 ? `Seed ${seed}` : base ? "The image you brought" : "Average image");
  }

  function reset() {
    cancelAnimationFrame(animation);
    moves = new Map();
    state.set({ moves: null });
    for (const slider of list.querySelectorAll("input[type=range]")) { slider.value = 0; slider.oninput(); }
    ask();
  }

  function fill() {
    cancelAnimationFrame(animation);
    const rows = groups[kind];
    counts.textContent = rows?.length ? COUNTS[kind] : "";
    if (!rows) return list.replaceChildren(make("p", { class: "hint" }, "Computing…"));
    const wanted = find.value.trim().toLowerCase();
    const some = wanted ? rows.filter(({ words }) => words.toLowerCase().includes(wanted)) : rows.filter((row, i) => every || i < SHOWN || moves.has(`${row.kind}:${row.name}`));
    list.replaceChildren(...some.map(line));
    if (wanted && !some.length) list.append(make("p", { class: "hint" }, `None of the ${rows.length} is called so.`));
    if (!wanted && some.length < rows.length) list.append(button(`Show all ${rows.length}`, () => { every = true; fill(); }, { class: "more" }));
    if (!rows.length) {
      const why = run.cannot.encode || run.cannot.data;
      list.append(make("div", { class: "cannot" }, ...markdown(why ? `No attributes: ${why}` : "The data set has no attributes, classes or factors.")));
    }
  }

  function line(row, i) {
    const key = `${row.kind}:${row.name}`;
    const value = make("output", {}, "0.0");
    const slider = make("input", { type: "range", min: String(-REACH[row.kind]), max: String(REACH[row.kind]), step: "0.05", "aria-label": row.words });
    slider.value = moves.has(key) ? moves.get(key)[2] : 0;
    slider.oninput = () => {
      const far = Number(slider.value);
      value.textContent = far.toFixed(1);
      if (far) moves.set(key, [row.kind, row.name, far]); else moves.delete(key);
      state.set({ moves: [...moves.values()].map((one) => one.map(encodeURIComponent).join(":")).join(";") });
      ask();
    };
    value.textContent = Number(slider.value).toFixed(1);
    const play = button("▷", () => swing(slider), { class: "small", "aria-label": `Animate ${row.words}` });
    const zero = button("↺", () => { slider.value = 0; slider.oninput(); }, { class: "small", "aria-label": `Reset ${row.words}` });
    return make("div", { class: "slider" }, make("label", {}, make("b", {}, `${i + 1}`), ` ${row.words}`, make("small", { title: row.more }, ` ${row.note}`)), slider, value, zero, play);
  }

  // Back and forth once; with reduced motion, straight to the end.
  function swing(slider) {
    cancelAnimationFrame(animation);
    const most = Number(slider.max);
    if (calm()) { slider.value = most / 2; slider.oninput(); return; }
    const began = performance.now();
    const turn = (time) => {
      const phase = (time - began) / 3000;
      slider.value = phase < 1 ? most * 0.75 * Math.sin(2 * Math.PI * phase) : 0;
      slider.oninput();
      if (phase < 1 && slider.isConnected) animation = requestAnimationFrame(turn);
    };
    animation = requestAnimationFrame(turn);
  }

  // The plane through three seeds: one in the middle, one to the right, one up.
  let pan = [0, 0];
  let corners = null; // the question for their codes, asked once
  async function panned() {
    const first = Math.max(0, seed);
    corners ||= trying(() => client.ask("decode", { run: run.id, seeds: [first, first + 1, first + 2], condition }));
    const answer = await corners;
    if (!answer) { corners = null; return; }
    const [a, b, c] = answer.codes;
    const length = (v) => Math.hypot(...v) || 1;
    // Mixed, then scaled to the norm of a sample: a plain average would decode to a blurred image.
    const mixed = a.map((x, i) => Math.cos(pan[0]) * Math.cos(pan[1]) * x + Math.sin(pan[0]) * b[i] + Math.cos(pan[0]) * Math.sin(pan[1]) * c[i]);
    const wanted = (length(a) + length(b) + length(c)) / 3;
    base = mixed.map((x) => (x * wanted) / length(mixed));
    if (!from) state.set({ code: base }); // not while it is dragged
    ask();
  }
  let from = null;
  pad.onpointerdown = (event) => { pad.setPointerCapture(event.pointerId); from = [event.clientX, event.clientY]; };
  onMove(pad, (event) => {
    if (!from) return;
    pan = [pan[0] + (event.clientX - from[0]) / 150, pan[1] + (event.clientY - from[1]) / 150];
    from = [event.clientX, event.clientY];
    panned();
  });
  pad.onpointerup = () => { from = null; if (corners) panned(); };
  pad.onkeydown = (event) => {
    const ways = { ArrowLeft: [-0.05, 0], ArrowRight: [0.05, 0], ArrowUp: [0, -0.05], ArrowDown: [0, 0.05] };
    if (!ways[event.key]) return;
    pan = [pan[0] + ways[event.key][0], pan[1] + ways[event.key][1]];
    panned();
    event.preventDefault();
  };

  // A digit chooses a slider, so that the arrow keys move it.
  const keys = (event) => {
    if (event.target.matches("input, select, textarea") && event.target.type !== "range") return;
    const sliders = list.querySelectorAll("input[type=range]");
    const index = event.key === "0" ? 9 : Number(event.key) - 1;
    if (event.key.length === 1 && sliders[index]) { sliders[index].focus(); event.preventDefault(); }
  };
  addEventListener("keydown", keys);
  return () => { cancelAnimationFrame(animation); removeEventListener("keydown", keys); };
}
