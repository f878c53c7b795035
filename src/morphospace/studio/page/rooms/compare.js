// Up to four runs side by side, with the same seed or the same image.
import { button, make, say, tell, trying } from "../dom.js";
import { markdown } from "../markdown.js";
import { Picture } from "../picture.js";

export async function enter(place, { client, state, run, runs, condition }) {
  // The chosen run comes first, then those that a link names, or else the next ones.
  const names = state.get("with") ? state.get("with").split(",") : null;
  const others = runs.filter((one) => one.id !== run.id && (!names || names.includes(one.name)));
  const chosen = new Set([...(!names || names.includes(run.name) || !others.length ? [run.id] : []), ...others.map((one) => one.id)].slice(0, 4));
  let what = state.get("what", "seed:0");
  let picture = null;
  const boxes = make("fieldset", { class: "checks" }, make("legend", {}, "Runs (up to four)"), ...runs.slice(0, 40).map((one) => {
    const box = make("input", { type: "checkbox", checked: chosen.has(one.id), onchange: () => {
      if (box.checked && chosen.size >= 4) { box.checked = false; return say("You can compare up to four runs.", true); }
      if (box.checked) chosen.add(one.id); else chosen.delete(one.id);
      state.set({ with: [...chosen].map((id) => runs.find((one_) => one_.id === id).name).join(",") });
      show();
    } });
    return make("label", { class: "check" }, box, ` ${one.name}`);
  }));
  const wish = make("input", { type: "text", value: what, size: 14, "aria-label": "What to show: seed:7, the number of a held-out image, or train:3" });
  const upload = make("input", { type: "file", accept: "image/*", "aria-label": "An image file to show in each run" });
  upload.onchange = () => trying(async () => { picture = await client.send(upload.files[0]); show(); });
  const rows = make("div", { class: "compare" });
  const next = (by) => { const match = what.match(/^(.*?)(\d+)$/); if (match) { what = match[1] + Math.max(0, Number(match[2]) + by); wish.value = what; picture = null; show(); } };
  place.append(make("form", { class: "tools", onsubmit: (event) => { event.preventDefault(); what = wish.value.trim(); picture = null; show(); } }, wish,
    make("button", { type: "submit" }, "Show"), button("Previous", () => next(-1)), button("Next", () => next(1)), upload), rows, boxes);

  async function show() {
    const ids = [...chosen];
    if (!ids.length) return rows.replaceChildren(make("p", { class: "hint" }, "Choose a run."));
    state.set({ what });
    const asked = picture ? { picture } : what.startsWith("seed:") ? { seed: Number(what.slice(5)) } : { image: what };
    const answer = await trying(() => client.ask("compare", { runs: ids, ...asked, condition }, "compare"));
    if (!answer) return;
    if (runs.length > 1) tell();
    else say("There is one run here. `morpho studio FOLDER` shows every run below a folder.");
    rows.replaceChildren(...answer.each.map((one) => {
      const about = runs.find((other) => other.id === one.run);
      const head = make("h3", {}, about.name, make("small", {}, ` ${about.model}, ${about.data}`));
      if (one.error) return make("section", {}, head, make("div", { class: "cannot" }, ...markdown(one.error)));
      const images = answer.images[one.run];
      const pictures = images.map((image, i) => {
        const real = images.length > 1 && i === 0;
        const shown = new Picture(real ? one.words : images.length > 1 ? `error ${one.mse.toFixed(4)}` : what.replace("seed:", "Seed "), { role: real ? "real" : "generated", facts: () => ({ run: about.name, what, code: one.code }) });
        shown.show(image);
        return shown.element;
      });
      return make("section", {}, head, make("div", { class: "pair" }, ...pictures));
    }));
  }
  await show();
}
