// Mounts a simulation into an element: pictures of one or two settings, the buttons of a run, presets and settings.
//
//   mount(place, { simulation: "gan", preset: "collapse", settings: { seed: 3 }, against: { packing: 2 } })
//
// Everything but `simulation` may be left out. `settings` change those of the preset; `against` is the second side's, as
// changes to the first side's. Wherever it is mounted, it starts nothing by itself, ends by itself, and pauses when it is not
// seen. Only one simulation of a page runs at a time.
//
// A simulation is an object (see `simulations/`):
//   id, title, short, question, first     its name, what one asks of it, what to do first
//   engine, model or open          what `engines.js` trains in a worker; model(settings), computed in the page; or
//                                  open(hear, picture), which trains or plays elsewhere and hears what `serve.js` hears
//   starting, together             what is said until the first frame; whether two pictures keep in step by themselves
//   defaults, fields, presets      settings, how each is chosen, and named settings with a sentence that a test holds
//   players                        [[name, label]]: who takes turns
//   scrubs                         what the slider moves through, if there is one: moments that can be gone back to
//   length, pace                   steps of a run, and steps a second at normal speed; each may be a function of the settings
//   toggles, curves, legend        what may be shown or hidden; the lines below the picture; what its colours mean, and when
//   blocked                        why these settings cannot be trained yet, in words; empty if they can
//   aspect, draw, words            the picture's shape; draws a frame; says it in words
//   pointer, key, typed            what a pointer or key on the picture, or a typed letter, changes: { settings, look, draft }
import { button, make } from "../dom.js";
import { role } from "../colours.js";
import { nextFrame } from "../picture.js";
import { ENGINES } from "./engines.js";
import { Paper } from "./paper.js";
import { serve } from "./serve.js";
import { SIMULATIONS } from "./simulations/all.js";

const FRAME = 33; // milliseconds between two frames: thirty a second, so that there are 25 when drawing is late
const SLOW = 2; // turns a second
const LETTERS = ["A", "B"];

let running = null; // the one run of this page

// -- settings -----------------------------------------------------------------------------------------------------------

const fits = (field, value) => (field.values ? field.values.some(([one]) => one === value)
  : field.pattern ? typeof value === "string" && field.pattern.test(value)
    : typeof value === "number" && value >= field.min && value <= field.max);

// Those of given settings that a simulation has, as its types; anything else is left out.
export function known(simulation, given = {}) {
  const out = {};
  for (const field of simulation.fields) {
    const fallback = simulation.defaults[field.name], value = given[field.name];
    if (value === undefined) continue;
    const typed = typeof fallback === "number" ? Number(value) : typeof fallback === "boolean" ? String(value) === "true" : String(value);
    if (fits(field, typed)) out[field.name] = typed;
  }
  return out;
}

// Settings as a link holds them: the differences alone.
const differences = (settings, from) => Object.fromEntries(Object.entries(settings).filter(([name, value]) => value !== from[name]));
export const written = (changes) => Object.entries(changes).map(([name, value]) => `${name}:${value}`).join(",");
// A view as the address of a page that has all simulations: what `playground` reads.
export const addressed = ({ simulation, preset, settings, against }) => ({ sim: simulation, preset, set: written(settings), vs: against === null ? "no" : written(against) || "same:1" });
export const read = (text) => Object.fromEntries(String(text || "").split(",").filter(Boolean).map((part) => { const at = part.indexOf(":"); return [part.slice(0, at), part.slice(at + 1)]; }));

// -- one side: an engine and its picture -----------------------------------------------------------------------------------

// Something that trains: `post` tells it what to do, `hear` gets its frames.
function opened(simulation, hear, picture) {
  if (simulation.open) return simulation.open(hear, picture);
  const here = () => serve(simulation.engine ? ENGINES : { [simulation.id]: simulation.model }, hear);
  if (!simulation.engine) return { post: here(), close: () => {} };
  const text = document.getElementById("play-worker"), sent = [];
  let worker, post;
  const local = () => { worker?.terminate(); worker = null; post = here(); for (const message of sent) post(message); };
  try {
    const address = text ? URL.createObjectURL(new Blob([text.textContent], { type: "text/javascript" })) : "play/worker.js";
    worker = new Worker(address, text ? {} : { type: "module" });
    if (text) URL.revokeObjectURL(address);
    post = (message) => worker.postMessage(message);
    worker.onmessage = (event) => { sent.length = 0; worker.onerror = null; hear(event.data); };
    worker.onerror = (event) => { event.preventDefault(); local(); }; // this browser has no such workers: train in the page
  } catch {
    local();
  }
  return { post: (message) => { if (worker?.onerror) sent.push(message); post(message); }, close: () => { post({ halt: true }); worker?.terminate(); } };
}

class Side {
  constructor(simulation, picture, told) {
    Object.assign(this, { simulation, told, history: [], draft: {}, frame: null, measured: null, steps: 0 });
    this.canvas = make("canvas", { class: "plane", role: "img", tabIndex: simulation.pointer ? 0 : -1, "aria-label": simulation.title });
    this.name = make("strong", {});
    this.words = make("span", {});
    this.chart = make("canvas", { class: "curves", role: "img", "aria-label": `Curves: ${simulation.curves.map(([, label]) => label).join(", ")}` });
    this.element = make("figure", { class: "side-of-play" }, this.canvas, make("figcaption", {}, make("span", {}, this.name, this.words)), simulation.curves.length ? this.chart : null);
    this.engine = opened(simulation, (frame) => this.hear(frame), picture);
  }

  start(settings) {
    Object.assign(this, { settings, history: [], frame: null, measured: null, steps: 0, draft: {}, error: "" });
    if (this.simulation.starting && !this.canvas.dataset.drawn) this.words.textContent = this.simulation.starting;
    this.engine.post({ make: { engine: this.simulation.engine || this.simulation.id, settings } });
  }

  hear(frame) {
    if (frame.refused) { this.error = frame.refused; this.told(this); return; }
    this.frame = frame;
    this.steps = frame.steps;
    if (frame.measured) this.measured = frame.measured;
    const values = this.simulation.values?.(frame, this.measured), last = this.history.at(-1);
    if (frame.before) this.history = frame.before;
    else if (values && (!last || last.step < frame.steps)) this.history.push({ step: frame.steps, ...values });
    this.told(this);
    this.paint();
  }

  paint() {
    nextFrame(this, () => {
      if (!this.frame || !this.canvas.isConnected) return;
      const { simulation, frame, settings } = this;
      const span = typeof simulation.span === "function" ? simulation.span(frame, settings) : simulation.span;
      this.paper = new Paper(this.canvas, { aspect: simulation.aspect || 1, ...span });
      simulation.draw(this.paper, frame, { settings, draft: this.draft, shown: this.shown, measured: this.measured });
      this.paper.style("line", 1);
      const words = frame.failed ? `Training broke down: ${frame.failed === true ? "a loss is no finite number any more" : frame.failed}. Go back to the start, and choose a lower rate.` : simulation.words(frame, settings, this.measured);
      this.words.textContent = words;
      this.canvas.setAttribute("aria-label", `${simulation.title}. ${words}`);
      this.canvas.dataset.steps = frame.steps;
      this.canvas.dataset.drawn = Number(this.canvas.dataset.drawn || 0) + 1;
      if (simulation.curves.length) curves(this.chart, this.history, simulation.curves);
      this.engine.post({ took: true });
    });
  }
}

// Lines over steps; the highest and lowest hundredth of their values are left out.
function curves(canvas, history, lines) {
  const paper = new Paper(canvas, { aspect: 4.2 }), { width, height, ratio, context: c } = paper, pad = 5 * ratio, top = 16 * ratio;
  const all = lines.flatMap(([name]) => history.map((row) => row[name])).filter(Number.isFinite).sort((a, b) => a - b);
  const low = all[Math.floor(all.length * 0.01)] ?? 0, high = all[Math.ceil(all.length * 0.99) - 1] ?? 1, end = history.at(-1)?.step || 1;
  const x = (step) => pad + ((width - 2 * pad) * step) / end, y = (value) => top + (height - top - pad) * (1 - (value - low) / (high - low || 1));
  const every = Math.max(1, Math.floor(history.length / width));
  const said = lines.map(([name, label]) => { const last = history.at(-1)?.[name]; return `${label}${Number.isFinite(last) ? ` ${Number(last.toPrecision(3))}` : ""}`; });
  const font = (size) => { c.font = `${size * ratio}px system-ui, sans-serif`; return said.reduce((sum, words) => sum + c.measureText(words).width + 14 * ratio, 2 * pad); };
  font(11 * Math.min(1, width / font(11)));
  c.textAlign = "left";
  let at = pad;
  lines.forEach(([name, , colour], n) => {
    paper.style(colour, 1.5);
    c.beginPath();
    let drawing = false;
    for (let i = 0; i < history.length; i += every) {
      const value = history[i][name];
      if (!Number.isFinite(value)) continue;
      if (drawing) c.lineTo(x(history[i].step), y(Math.max(low, Math.min(high, value)))); else c.moveTo(x(history[i].step), y(value));
      drawing = true;
    }
    c.stroke();
    c.fillText(said[n], at, 11 * ratio);
    at += c.measureText(said[n]).width + 14 * ratio;
  });
}

// -- the whole ----------------------------------------------------------------------------------------------------------

export function mount(place, view, { changed = () => {}, heading = "h2", simulations = SIMULATIONS } = {}) {
  const simulation = simulations.find((one) => one.id === view.simulation) || simulations[0];
  const preset = (id) => simulation.presets.find((one) => one.id === id);
  let chosen = preset(view.preset) || simulation.presets[0], goal = 0, playing = false, speed = "normal", timer = 0, chunk = 8, asked = 0, waiting = 0, since = 0, begun = 0;
  let sides = [];
  const shown = Object.fromEntries((simulation.toggles || []).map((one) => [one.name, one.on]));

  // Both sides' settings: a preset's, with changes.
  let ours = { ...simulation.defaults, ...chosen.settings, ...known(simulation, view.settings) };
  let theirs = view.against ? { ...ours, ...known(simulation, view.against) } : view.against === undefined && chosen.against ? { ...ours, ...chosen.against } : null;

  const sentence = make("p", { class: "sentence", "aria-live": "polite" });
  const presets = make("div", { class: "presets", role: "group", "aria-label": "Presets" });
  const playButton = button("Play", () => (playing ? pause() : play()), { class: "main" });
  const turns = (simulation.players || []).map(([name, label]) => button(label, () => { pause(); turn(name); }));
  const one = button(simulation.stepLabel || "One step", () => { pause(); turn(); });
  const again = button("Back to the start", () => { pause(); start(); });
  const speeds = [["normal", "Normal speed"], ...(simulation.engine ? [["full", "Full speed"]] : []), ["slow", simulation.players ? "Turn by turn" : "Slow"]];
  const pace = make("select", { "aria-label": "Speed", onchange: () => { speed = pace.value; if (playing) { pause(); play(); } } }, ...speeds.map(([value, words]) => make("option", { value }, words)));
  const both = make("input", { type: "checkbox", onchange: () => { theirs = both.checked ? { ...ours, ...chosen.against } : null; build(); } });
  const boxes = (simulation.toggles || []).map((toggle) => make("label", { class: "check" }, make("input", { type: "checkbox", checked: toggle.on, onchange: (event) => { shown[toggle.name] = event.target.checked; for (const side of sides) side.paint(); } }), ` ${toggle.label}`));
  const extra = make("span", { class: "tools" });
  const state = make("p", { class: "state", role: "status" });
  const stage = make("div", { class: "sides" });
  const scrub = simulation.scrubs ? make("input", { type: "range", class: "scrub", min: "0", step: "1", "aria-label": simulation.scrubs, oninput: () => { pause(); for (const side of sides) side.engine.post({ seek: Number(scrub.value) }); } }) : null;
  const panel = make("div", { class: "settings" });
  const meanings = simulation.legend.map(([colour, words]) => { const dot = make("span", { class: "dot", "aria-hidden": "true" }); dot.dataset.role = colour; return make("li", {}, dot, words); });
  const legend = make("ul", { class: "legend" }, ...meanings);
  const section = make("section", { class: "play", "aria-label": simulation.title },
    make(heading, {}, simulation.title), make("p", {}, simulation.question, " ", make("span", { class: "hint" }, simulation.first)),
    presets, sentence,
    make("div", { class: "tools run" }, playButton, ...turns, one, again, pace, make("label", { class: "check" }, both, " Compare two settings"), extra),
    state, make("div", { class: "with-side" }, make("div", { class: "stage column" }, stage, scrub, make("div", { class: "tools" }, ...boxes), legend), make("aside", { class: "side" }, panel)));
  stage.style.setProperty("--aspect", simulation.aspect || 1);
  place.replaceChildren(section);

  // -- the run
  function start() {
    goal = length();
    if (scrub) scrub.max = String(goal);
    state.textContent = "";
    const settings = [ours, theirs];
    sides.forEach((side, i) => side.start(settings[i]));
    show();
  }
  const ofSettings = (value) => (typeof value === "function" ? value(ours) : value);
  const length = () => ofSettings(simulation.length), rate = () => ofSettings(simulation.pace);
  // Why nothing can be trained yet, in words.
  const blocked = () => { state.textContent = simulation.blocked?.(ours) || sides.find((side) => side.error)?.error || ""; return Boolean(state.textContent); };
  function turn(player) { if (blocked()) return; for (const side of sides) side.engine.post({ turn: { player } }); }
  function play() {
    if (blocked()) return;
    if (running && running !== pause) running();
    running = pause;
    playing = true;
    playButton.textContent = "Pause";
    if (scrub && sides.every((side) => side.steps >= goal)) for (const side of sides) side.engine.post({ seek: 0 });
    const reached = Math.min(...sides.map((side) => side.steps));
    if (reached >= goal) goal = reached + length();
    state.textContent = "";
    since = performance.now();
    begun = reached;
    if (speed === "slow") tick();
    else go();
  }
  function pause(words = "") {
    const went = playing;
    playing = false;
    waiting = 0;
    clearTimeout(timer);
    if (went) for (const side of sides) side.engine.post({ halt: true });
    if (running === pause) running = null;
    playButton.textContent = "Play";
    if (typeof words === "string" && words) state.textContent = words;
  }
  // A turn at a time, by the clock of the page.
  function tick() {
    timer = setTimeout(tick, 1000 / SLOW); // first: the turn may end the run
    turn(simulation.players ? "next" : undefined);
  }
  // So many steps, then a frame; two sides stay in step. At full speed one side goes on by itself.
  function go() {
    const reached = Math.min(...sides.map((side) => side.steps)), full = speed === "full";
    const alone = full && (sides.length === 1 || simulation.together), until = alone ? goal : Math.min(goal, reached + (full ? chunk : Math.max(1, Math.round((rate() * FRAME) / 1000))));
    waiting = until;
    asked = performance.now();
    for (const side of sides) side.engine.post({ go: { until, last: until === goal, every: alone ? FRAME : 3 * FRAME } });
  }
  function told() {
    if (scrub) scrub.value = String(sides[0].steps);
    const wrong = sides.find((side) => side.error || side.frame?.ended);
    if (wrong) return pause(wrong.error || wrong.frame.ended);
    if (!playing) return;
    if (sides.some((side) => side.frame?.failed)) return pause();
    if (sides.every((side) => side.steps >= goal)) return pause(scrub ? "The recording has ended. Play shows it again." : `The run has ended after ${goal.toLocaleString("en")} steps. Play goes on for as many again.`);
    if (!waiting || sides.some((side) => side.steps < waiting)) return;
    const took = performance.now() - asked, due = ((waiting - begun) * 1000) / rate() - (performance.now() - since);
    chunk = Math.max(1, Math.round(chunk * Math.max(0.5, Math.min(2, FRAME / took))));
    waiting = 0;
    if (speed === "full") go(); // the next steps are trained while these are drawn
    else timer = setTimeout(() => nextFrame(section, go), Math.max(0, due));
  }

  // -- what is shown
  function build() {
    pause();
    for (const side of sides) side.engine.close();
    const count = theirs ? 2 : 1;
    sides = Array.from({ length: count }, (_, i) => new Side(simulation, i, told));
    sides.forEach((side, i) => { side.shown = shown; if (simulation.pointer) listen(side, i); });
    stage.replaceChildren(...sides.map((side) => side.element));
    stage.dataset.count = count;
    both.checked = count === 2;
    start();
  }
  // Take over what was chosen: a new start with it.
  function change(changes, index, restart = true) {
    if (index === 1) theirs = { ...theirs, ...changes };
    else {
      const before = ours;
      ours = { ...ours, ...changes };
      // What both sides share stays shared.
      if (theirs) for (const [name, value] of Object.entries(changes)) if (theirs[name] === before[name] && simulation.shared?.includes(name)) theirs[name] = value;
    }
    if (restart) { const went = playing; pause(); start(); if (went) play(); }
  }
  function show() {
    const base = { ...simulation.defaults, ...chosen.settings }, changes = differences(ours, base), own = Object.keys(changes).length > 0 || (theirs ? Object.keys(differences(theirs, { ...base, ...chosen.against })).length > 0 : Boolean(chosen.against));
    presets.replaceChildren(...simulation.presets.map((each) => button(each.title, () => choose(each), { class: `preset ${each.good === undefined ? "" : each.good ? "good" : "bad"}`, "aria-pressed": String(each === chosen && !own) })));
    sentence.textContent = own ? `Your own settings, begun from “${chosen.title}”.` : chosen.sentence;
    sides.forEach((side, i) => { side.name.textContent = theirs ? `${LETTERS[i]}: ${describe(i)}. ` : ""; });
    const open = panel.querySelector("details")?.open, focus = panel.contains(document.activeElement) ? document.activeElement.id : "";
    panel.replaceChildren(...fields(open));
    if (focus) document.getElementById(focus)?.focus();
    boxes.forEach((box, i) => { box.hidden = simulation.toggles[i].when?.(ours) === false; });
    meanings.forEach((each, i) => { each.hidden = simulation.legend[i][2]?.(ours) === false; });
    extra.replaceChildren(...(simulation.buttons?.(ours) || []).map(([words, changes]) => button(words, () => change(changes, 0))), ...typed());
    changed({ simulation: simulation.id, preset: chosen.id, settings: changes, against: theirs ? differences(theirs, ours) : null });
  }
  function typed() {
    const { typed: asked } = simulation;
    if (!asked || !asked.when(ours)) return [];
    const field = make("input", { type: "text", class: "letter", size: 2, maxLength: 1, oninput: () => {
      if (asked.pattern.test(field.value)) for (const side of sides) side.engine.post({ look: asked.look(field.value, side.frame) });
      field.select();
    } });
    return [make("label", { class: "field" }, `${asked.label} `, field)];
  }
  // What a side has that the other has not.
  function describe(index) {
    const mine = index ? theirs : ours, other = index ? ours : theirs, names = simulation.fields.filter((field) => mine[field.name] !== other[field.name] && shows(field, mine));
    return names.length ? names.map((field) => `${field.label} ${worded(field, mine)}`).join(", ") : "the same settings";
  }
  // Whether one can choose it: a pattern alone is what a link holds and a picture changes.
  const shows = (field, settings) => (!field.pattern || field.usual) && (!field.when || field.when(settings));
  const worded = (field, settings) => { const value = settings[field.name]; return value === "" && field.usual ? field.usual(settings) : field.values?.find(([one]) => one === value)?.[1] ?? value; };
  function choose(each) {
    pause();
    chosen = each;
    ours = { ...simulation.defaults, ...each.settings };
    theirs = each.against ? { ...ours, ...each.against } : null;
    build();
  }
  let serial = 0;
  function fields(open) {
    const visible = simulation.fields.filter((field) => shows(field, ours) || (theirs && shows(field, theirs)));
    const row = (field) => {
      const id = `${simulation.id}-${field.name}`, inputs = [ours, theirs].filter(Boolean).map((settings, i) => input(field, settings, i, i ? `${id}-b` : id));
      return make("div", { class: "setting" }, make("label", { for: id, title: field.hint || "" }, field.label), ...inputs);
    };
    const main = visible.filter((field) => !field.more), more = visible.filter((field) => field.more);
    const head = theirs ? make("div", { class: "setting head" }, make("span", {}), make("b", {}, "A"), make("b", {}, "B")) : null;
    return [make("h3", {}, "Settings"), head, ...main.map(row), more.length ? make("details", { open: Boolean(open) }, make("summary", {}, "More settings"), ...more.map(row)) : null].filter(Boolean);
  }
  function input(field, settings, index, id) {
    const label = theirs ? { "aria-label": `${field.label}, ${LETTERS[index]}` } : {}, value = settings[field.name];
    if (field.values) {
      const select = make("select", { id, ...label, onchange: () => change({ [field.name]: field.values[select.selectedIndex][0] }, index) });
      select.append(...field.values.map(([one, words]) => make("option", { selected: one === value }, one === "" && field.usual ? `usual: ${field.usual(settings)}` : words ?? String(one))));
      return select;
    }
    if (field.usual) {
      const limits = field.number ? { min: String(field.min), max: String(field.max), step: String(field.step) } : {};
      const text = make("input", { id, ...label, type: field.number ? "number" : "text", placeholder: field.usual(settings) ?? "", ...limits, onchange: () => {
        if (fits(field, text.value)) change({ [field.name]: text.value }, index); else text.value = value;
      } });
      text.value = value;
      return text;
    }
    const slider = make("input", { id, ...label, type: field.number ? "number" : "range", min: String(field.min), max: String(field.max), step: String(field.step) });
    slider.value = String(value);
    const number = make("output", {}, field.number ? "" : String(value));
    slider.oninput = () => {
      const typed = Math.max(field.min, Math.min(field.max, Number(slider.value) || 0));
      if (!field.number) number.textContent = String(typed);
      change({ [field.name]: typed }, index);
    };
    return field.number ? slider : make("span", { class: "sliding" }, slider, number);
  }

  // -- pointer and keys on the picture
  function take(side, index, answer) {
    if (!answer) return;
    if (answer.draft) { side.draft = { ...side.draft, ...answer.draft }; side.paint(); }
    if (answer.look) side.engine.post({ look: answer.look });
    if (answer.settings) change(known(simulation, answer.settings), simulation.shared && Object.keys(answer.settings).every((name) => simulation.shared.includes(name)) ? 0 : index);
  }
  function listen(side, index) {
    const tell = (kind) => (event) => {
      if (!side.paper || (kind === "move" && !side.held && !simulation.hovers)) return;
      if (kind === "down") { side.held = true; side.canvas.setPointerCapture(event.pointerId); }
      take(side, index, simulation.pointer({ kind, at: side.paper.from(event), settings: side.settings, draft: side.draft, frame: side.frame, held: side.held, size: side.paper.scale / side.paper.ratio }));
      if (kind === "up") side.held = false;
    };
    for (const [name, kind] of [["pointerdown", "down"], ["pointermove", "move"], ["pointerup", "up"], ["pointercancel", "up"]]) side.canvas.addEventListener(name, tell(kind));
    side.canvas.classList.add("active");
    side.canvas.addEventListener("keydown", (event) => {
      const answer = simulation.key?.({ key: event.key, settings: side.settings, draft: side.draft, frame: side.frame, shift: event.shiftKey });
      if (!answer) return;
      event.preventDefault();
      take(side, index, answer);
    });
  }
  section.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.target.matches("button, select, input, summary")) return;
    event.preventDefault();
    playButton.click();
  });

  const hidden = () => { if (document.hidden && playing) pause("Paused, because the page was hidden."); };
  const repaint = () => { for (const side of sides) side.paint(); };
  const resized = new ResizeObserver(repaint);
  const gone = new IntersectionObserver(([entry]) => { if (!entry.isIntersecting && playing) pause("Paused, because it was out of sight."); });
  document.addEventListener("visibilitychange", hidden);
  addEventListener("themed", repaint);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", repaint);
  resized.observe(stage);
  gone.observe(section);
  build();
  return () => {
    pause();
    for (const side of sides) side.engine.close();
    document.removeEventListener("visibilitychange", hidden);
    removeEventListener("themed", repaint);
    dark.removeEventListener("change", repaint);
    resized.disconnect();
    gone.disconnect();
  };
}
