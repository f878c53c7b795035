// All runs, and the model card and settings of the chosen one.
import { make, trying } from "../dom.js";

export async function enter(place, { client, state, run, runs }) {
  const card = make("pre", { tabIndex: 0, "aria-label": "Model card" }, "Writing the card…");
  const head = ["Run", "Model", "Data", "Shape", "Latent dim", "Images", "Minutes"];
  const body = runs.map((one) => {
    const link = make("a", { href: `#${new URLSearchParams({ room: "runs", run: one.name })}` }, one.name);
    if (one.id === run.id) link.setAttribute("aria-current", "true");
    const cells = [one.model, one.data, one.shape.join("×"), one.latent_dim, one.images.toLocaleString("en"), one.minutes.toFixed(1)];
    return make("tr", {}, make("th", { scope: "row" }, link), ...cells.map((cell) => make("td", {}, String(cell))));
  });
  const table = make("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Runs" }, make("table", {},
    make("thead", {}, make("tr", {}, ...head.map((words) => make("th", { scope: "col" }, words)))), make("tbody", {}, ...body)));
  const cannot = Object.entries(run.cannot).map(([what, why]) => make("p", { class: "cannot" }, `${what}: ${why}`));
  place.append(make("p", { class: "hint" }, runs.length > 1 ? "All runs of this studio. Choose one to see its model card and settings." : "The run, its model card and its settings."), table,
    make("section", {}, make("h2", {}, run.name), make("p", {}, `${run.parameters.toLocaleString("en")} parameters`), run.terms ? make("p", { class: "hint" }, `Training data: ${run.data}. Their terms: ${run.terms}.`) : null, ...cannot),
    make("details", { open: true }, make("summary", {}, "Model card"), card),
    make("details", {}, make("summary", {}, "Settings"), make("pre", { tabIndex: 0, "aria-label": "Settings" }, run.settings)));
  state.set({ run: run.name });
  const answer = await trying(() => client.ask("card", { run: run.id }));
  if (answer) card.textContent = answer.card;
}
