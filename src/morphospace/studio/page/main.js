// The page's frame: which run, which room, light or dark. A room gets { client, state, run } and an element to fill.
import { Client } from "./client.js";
import { choice, make, say, trying } from "./dom.js";
import { copyLink, theme } from "./frame.js";
import { markdown } from "./markdown.js";
import { State } from "./state.js";
import { intro, spoken } from "./words.js";

const ROOMS = [
  ["map", "Map", "encode"],
  ["sliders", "Sliders", "decode"],
  ["morph", "Morph", "decode"],
  ["project", "Project", "decode"],
  ["compare", "Compare", ""],
  ["training", "Training", ""],
  ["runs", "Runs", ""],
  ["play", "Play", ""],
  ["learn", "Learn", ""],
];

const client = new Client();
const rooms = ROOMS.filter(([name]) => !client.lacks.has(name));
const state = new State();
globalThis.morphospace = { client }; // for the console, and for whoever embeds the page
const room = document.getElementById("room");
const described = new Map();
const runs = [];
let leave = () => {};
let entered = 0;

client.down = (down, why) => say(down ? why : "", down);

// Why a run cannot show a room; empty if it can.
const refused = (facts, needs) => (needs && (facts.cannot[needs] || (needs === "encode" && facts.cannot.data))) || "";

async function describe(id) {
  if (!described.has(id)) described.set(id, { ...(await client.ask("describe", { run: id })), id });
  return described.get(id);
}

function chosenRun() {
  return runs.find((run) => run.name === state.get("run")) || runs[0];
}

// The condition of a conditional model, as the server reads it.
function condition(run) {
  if (!run.condition) return undefined;
  const asked = state.get("condition");
  if (run.condition.kind === "label") return { label: asked || run.condition.names[0] };
  return { attributes: Object.fromEntries((asked ? asked.split(",") : []).map((name) => [name, 1])) };
}

function pickers(run) {
  const place = document.getElementById("condition");
  place.replaceChildren();
  if (!run.condition) return;
  if (run.condition.kind === "label") {
    const names = run.condition.names.map((name) => [name, spoken(name)]);
    place.append(choice("Class", names, state.get("condition", names[0][0]), (value) => { state.set({ condition: value }); enter(); }));
    return;
  }
  const on = new Set(state.get("condition").split(",").filter(Boolean));
  for (const name of run.condition.names) {
    const box = make("input", { type: "checkbox", checked: on.has(name), onchange: () => {
      if (box.checked) on.add(name); else on.delete(name);
      state.set({ condition: [...on].join(",") });
      enter();
    } });
    place.append(make("label", { class: "check" }, box, ` ${spoken(name)}`));
  }
}

// Drop classes that this run does not have: they came from a link or from another run.
function known(run) {
  const names = (run.condition && state.get("condition").split(",").filter((name) => run.condition.names.includes(name))) || [];
  if (state.get("condition") !== names.join(",")) state.set({ condition: names.join(",") });
}

function tabs(run) {
  const current = state.get("room");
  const links = rooms.map(([name, words, needs]) => {
    const link = make("a", { onclick: () => state.write() }, words);
    const why = refused(run, needs);
    if (name === current) link.setAttribute("aria-current", "page");
    if (why) { link.classList.add("cannot"); link.title = why; }
    return [name, link];
  });
  state.changed = () => {
    for (const [name, link] of links) link.href = `#${new URLSearchParams({ room: name, run: run.name, ...state.carried(run.name) })}`;
  };
  state.changed();
  document.getElementById("rooms").replaceChildren(...links.map(([, link]) => make("li", {}, link)));
  document.querySelector("#rooms [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

async function enter() {
  const mine = ++entered;
  leave();
  leave = () => {};
  const run = chosenRun();
  document.getElementById("run").value = run.id;
  const facts = await trying(() => describe(run.id));
  if (!facts || mine !== entered) return;
  let name = state.get("room");
  if (!rooms.some(([one]) => one === name)) {
    name = facts.cannot.decode ? "training" : refused(facts, "encode") || client.lacks.has("map") ? "sliders" : "map";
    state.set({ room: name, run: run.name });
  }
  known(facts);
  tabs(facts);
  pickers(facts);
  const wanted = state.get("run");
  if (wanted && wanted !== run.name) {
    state.set({ run: run.name });
    say(`There is no run called “${wanted}” here. This is ${run.name}.`, true);
  } else say("");
  document.title = `${run.name} · ${name} · morphospace`;
  // Every visit has an element of its own, so that a room that was left cannot draw into the next.
  const place = make("div", { class: "visit" });
  room.replaceChildren(place);
  const why = refused(facts, ROOMS.find(([one]) => one === name)[2]);
  if (why) {
    place.append(make("section", { class: "empty" }, make("h2", {}, "Not available for this run"), ...markdown(why)));
    return;
  }
  place.append(...[intro(name, client.lacks)].filter(Boolean));
  const module = await import(`./rooms/${name}.js`);
  if (mine !== entered) return;
  const own = Object.create(state);
  own.set = (changes) => { if (mine === entered) state.set(changes); };
  const left = await trying(() => module.enter(place, { client, state: own, run: facts, runs, condition: condition(facts), describe }));
  if (mine === entered) leave = left || (() => {});
  else if (left) left();
}

// Ask for the runs, and list them at the head of the page.
async function list() {
  const answer = await trying(() => client.ask("runs"));
  if (!answer) return false;
  runs.splice(0, runs.length, ...answer.runs); // the same list for rooms that hold it
  const select = document.getElementById("run"), chosen = select.value;
  select.replaceChildren(...runs.map((run) => make("option", { value: run.id }, run.name === run.model ? run.name : `${run.name} (${run.model})`)));
  if (chosen) select.value = chosen;
  return true;
}

// What training writes while the page is open; rooms hear it as "news".
async function hear(event) {
  if (event.kind === "runs" || event.kind === "again") await list();
  if (event.kind === "checkpoint") {
    const waited = described.get(event.run)?.cannot.decode;
    described.delete(event.run);
    if (waited && event.run === chosenRun().id) enter(); // its first: now there is a model
  }
  dispatchEvent(new CustomEvent("news", { detail: event }));
}

async function begin() {
  theme();
  copyLink(state);
  const select = document.getElementById("run");
  if (!(await list())) return;
  client.listen(hear);
  select.onchange = () => {
    const run = runs.find((one) => one.id === select.value);
    state.go({ room: state.get("room"), run: run.name });
  };
  state.heard.add(enter);
  await enter();
}

begin();
