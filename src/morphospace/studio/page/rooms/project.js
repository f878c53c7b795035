// Find the most similar image that the model can generate, by the encoder or by search, and use it in the other rooms.
import { button, make, say, trying } from "../dom.js";
import { Picture } from "../picture.js";
import { addEnd } from "./map.js";

export async function enter(place, { client, state, run, condition }) {
  let picture = null;
  let found = null;
  const facts = () => ({ run: run.name, code: found && found.code, how: found && found.how });
  const original = new Picture("Your image, as the model sees it", { role: "real", savable: false });
  const drawn = new Picture("Most similar image", { facts });
  const numbers = make("p", { class: "hint" });
  const input = make("input", { type: "file", accept: "image/*", id: "photo", class: "away", onchange: () => take(input.files[0]) });
  const drop = make("label", { for: "photo", class: "drop" }, make("b", {}, "Drop a picture here"), make("span", {}, client.lacks.has("search") ? "or choose a file. It does not leave this page." : "or choose a file. It stays in memory on the machine of the studio."));
  const refine = make("input", { type: "number", min: "0", max: "500", step: "25", value: run.cannot.encode ? "150" : "0", "aria-label": "Search steps" });
  drop.ondragover = (event) => { event.preventDefault(); drop.classList.add("over"); };
  drop.ondragleave = () => drop.classList.remove("over");
  drop.ondrop = (event) => { event.preventDefault(); drop.classList.remove("over"); take(event.dataTransfer.files[0]); };
  const paste = (event) => { if (event.clipboardData.files.length) take(event.clipboardData.files[0]); };
  addEventListener("paste", paste);
  const about = run.cannot.encode ? "This model has no encoder: the code is found by search, which takes a while." : client.lacks.has("search") ? "The encoder finds the code." : "The encoder finds the code; search steps refine it.";
  const result = make("section", { hidden: true }, make("div", { class: "pair" }, original.element, drawn.element), numbers,
    make("div", { class: "tools" },
      button("Use in Morph", () => addEnd(state, run, found.code)),
      button("Use in Sliders", () => state.go({ room: "sliders", run: run.name, code: found.code.map((x) => x.toFixed(4)).join(",") }))));
  place.append(make("p", { class: "hint" }, "Drop a picture to see the most similar image that this model can generate, then change it in Sliders or Morph."), input, drop,
    ...(client.lacks.has("search") ? [] : [make("div", { class: "tools" }, make("label", { class: "field" }, "Search steps ", refine), button("Search again", () => search()))]),
    make("p", { class: "hint" }, about), result);

  async function take(file) {
    if (!file) return;
    picture = await trying(() => client.send(file));
    if (picture) await search();
  }

  async function search() {
    if (!picture) return say("Drop a picture first.");
    say("Searching…");
    const answer = await trying(() => client.ask("project", { run: run.id, picture, refine: Number(refine.value), condition }, "project"));
    if (!answer) return;
    found = answer;
    result.hidden = original.element.hidden = false;
    original.show(answer.images.images[0]);
    drawn.show(answer.images.images[1]);
    const psnr = answer.psnr === null ? "" : `, ${answer.psnr.toFixed(1)} dB`;
    numbers.textContent = `Found by ${answer.how}: mean squared error ${answer.mse.toFixed(4)}${psnr}.`;
    state.set({ code: answer.code });
    say("");
  }

  // A shared link has the code that was found, but not the picture.
  const code = state.code("code");
  if (code && code.length === run.latent_dim) {
    const answer = await trying(() => client.ask("decode", { run: run.id, codes: [code], condition }));
    if (answer) { result.hidden = false; original.element.hidden = true; drawn.show(answer.images.images[0]); found = { code, how: "the link" }; numbers.textContent = "The code comes from the link, which does not contain the picture."; }
  }
  return () => removeEventListener("paste", paste);
}
