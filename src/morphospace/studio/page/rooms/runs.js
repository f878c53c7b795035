// All runs, and what is known of the chosen one: its model card and its settings, as pages that one can read.
import { make, trying } from "../dom.js";
import { markdown } from "../markdown.js";

const HEAD = ["Run", "Model", "Data", "Pixels", "Numbers in a code", "Trained on", "Minutes"];

export async function enter(place, { client, state, run, runs }) {
  const body = make("tbody", {}), card = make("div", { class: "card" }, make("p", { class: "hint" }, "Writing the card…"));
  const table = make("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Runs" }, make("table", {},
    make("thead", {}, make("tr", {}, ...HEAD.map((words) => make("th", { scope: "col" }, words)))), body));
  const list = () => body.replaceChildren(...runs.map((one) => {
    const link = make("a", { href: `#${new URLSearchParams({ room: "runs", run: one.name })}` }, one.name);
    if (one.id === run.id) link.setAttribute("aria-current", "true");
    const cells = [one.model, one.data, one.shape.join("×"), one.latent_dim, `${one.images.toLocaleString("en")} images`, one.minutes ? one.minutes.toFixed(1) : "not known"];
    return make("tr", {}, make("th", { scope: "row" }, link), ...cells.map((cell) => make("td", {}, String(cell))));
  }));
  const cannot = [...new Set(Object.values(run.cannot))].map((why) => make("div", { class: "cannot" }, ...markdown(why)));
  const about = [run.model, `${run.data}`, run.parameters === null ? "" : `${run.parameters.toLocaleString("en")} parameters`].filter(Boolean).join(" · ");
  place.append(table,
    make("section", {}, make("h2", {}, run.name), make("p", {}, about), run.terms ? make("p", { class: "hint" }, `Training data: ${run.data}. Their terms: ${run.terms}.`) : null, ...cannot),
    make("details", { open: true }, make("summary", {}, "Model card"), card),
    make("details", {}, make("summary", {}, "Settings"), ...settings(run.settings)));
  list();
  state.set({ run: run.name });
  const news = ({ detail }) => { if (detail.kind === "runs" || detail.kind === "again") list(); };
  addEventListener("news", news);
  if (run.parameters === null) card.replaceChildren(make("p", {}, "The card is written once the run has a checkpoint."));
  else {
    const answer = await trying(() => client.ask("card", { run: run.id }));
    if (answer) card.replaceChildren(...markdown(answer.card));
  }
  return () => removeEventListener("news", news);
}

// The settings of a TOML file as tables, one a section.
function settings(text) {
  const sections = [];
  for (const line of text.replace(/\[\n\s+/g, "[").replace(/,\n\s*\]/g, "]").replace(/,\n\s+/g, ", ").split("\n")) {
    const head = /^\[(.+)\]$/.exec(line), pair = /^([\w"-]+) = (.*)$/.exec(line);
    if (head) sections.push([head[1], []]);
    else if (pair) { if (!sections.length) sections.push(["", []]); sections.at(-1)[1].push([pair[1], pair[2]]); }
  }
  const row = ([name, value]) => make("tr", {}, make("th", { scope: "row" }, name.replace(/_/g, " ")), make("td", {}, value.replace(/^"(.*)"$/, "$1")));
  return sections.filter(([, pairs]) => pairs.length).map(([name, pairs]) => make("section", {}, make("h3", {}, name),
    make("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": `Settings: ${name}` }, make("table", { class: "wrap" }, make("tbody", {}, ...pairs.map(row))))));
}
