// Find the most similar image that the model can make, by the encoder or by search, and use it in the other rooms.
import { busy, button, make, say, trying } from "../dom.js";
import { Picture } from "../picture.js";
import { addEnd } from "./map.js";

const SAMPLES = 6;

export async function enter(place, { client, state, run, condition }) {
  let picture = null; // what is sent with the question: an image of the data, or a picture that was given
  let given = false; // whether the visitor has given a picture: the room does not begin with one of its own then
  let found = null;
  const searches = !client.lacks.has("search");
  const facts = () => ({ run: run.name, code: found && found.code, how: found && found.how });
  const original = new Picture("Your picture, as the model sees it", { role: "real", savable: false });
  const drawn = new Picture("Most similar image", { facts });
  const numbers = make("p", { class: "hint" });
  const waiting = make("p", { class: "hint" }, "Here you will see your picture beside the most similar image.");
  const verdict = make("p", { class: "verdict", role: "status" });
  const input = make("input", { type: "file", accept: "image/*", id: "photo", class: "away", onchange: () => take(input.files[0]) });
  const drop = make("label", { for: "photo", class: "drop" }, make("b", {}, "Drop a picture here"), make("span", {}, searches ? "or choose a file. It stays in memory on the machine of the studio." : "or choose a file. It does not leave this page."));
  const samples = make("div", { class: "strip samples" }), samplesHead = make("h3", {});
  const refine = make("input", { type: "number", min: "0", max: "500", step: "25", value: run.cannot.encode ? "150" : "0", "aria-label": "Search steps" });
  drop.ondragover = (event) => { event.preventDefault(); drop.classList.add("over"); };
  drop.ondragleave = () => drop.classList.remove("over");
  drop.ondrop = (event) => { event.preventDefault(); drop.classList.remove("over"); take(event.dataTransfer.files[0]); };
  const paste = (event) => { if (event.clipboardData.files.length) take(event.clipboardData.files[0]); };
  addEventListener("paste", paste);
  const about = run.cannot.encode ? "This model has no encoder: the code is found by search, which takes a while." : searches ? "The encoder finds the code at once. Search steps make the image more similar." : "";
  const result = make("section", { hidden: true }, make("div", { class: "pair" }, original.element, drawn.element), verdict, numbers,
    make("div", { class: "tools" },
      button("Add to Morph", () => addEnd(state, run, found.code)),
      button("Change with sliders", () => state.go({ room: "sliders", run: run.name, code: found.code.map((x) => x.toFixed(4)).join(",") }))));
  place.append(make("div", { class: "project" },
    make("div", { class: "stage column" }, samplesHead, samples, input, drop,
      searches ? make("div", { class: "tools" }, make("label", { class: "field" }, "Search steps ", refine), button("Search", () => search())) : "",
      make("p", { class: "hint" }, about)), make("div", {}, waiting, result)));

  async function take(file) {
    if (!file) return;
    given = true;
    const name = await trying(() => client.send(file));
    if (name) { picture = { picture: name }; await search("Your picture, as the model sees it"); }
  }

  async function search(words) {
    if (!picture) return say("Choose a sample picture, or drop one, first.");
    const answer = await busy("Searching", () => client.ask("project", { run: run.id, ...picture, refine: Number(refine.value), condition }, "project")).catch(() => null);
    if (!answer) return;
    found = answer;
    result.hidden = original.element.hidden = false;
    waiting.hidden = true;
    if (words) original.words(words);
    original.show(answer.images.images[0]);
    drawn.show(answer.images.images[1]);
    const psnr = answer.psnr === null ? "" : `, a PSNR of ${answer.psnr.toFixed(1)} dB`;
    numbers.textContent = `Found by ${answer.how.replace(/^encoder/, "the encoder")}. Mean squared error: ${answer.mse.toFixed(4)}${psnr}.`;
    state.set({ code: answer.code });
    await judge(answer);
  }

  // Say whether the picture is unlike what the model has learned.
  async function judge({ encoder_mse: error }) {
    verdict.textContent = "";
    verdict.classList.remove("unlike");
    if (error === null) return;
    const answer = await busy("Comparing with held-out images", () => client.ask("likeness", { run: run.id, error: Math.min(1, error) }, "likeness")).catch(() => null);
    if (!answer || found.encoder_mse !== error) return;
    const share = `${answer.share < 0.1 ? (100 * answer.share).toFixed(1) : Math.round(100 * answer.share)} %`;
    verdict.textContent = answer.unlike
      ? `This picture is unlike what the model has learned: at most ${share} of ${answer.n.toLocaleString("en")} held-out images are reconstructed as badly. What you see is the nearest that it can make.`
      : `For this model this is an ordinary picture: ${share} of ${answer.n.toLocaleString("en")} held-out images are reconstructed this badly or worse.`;
    verdict.classList.toggle("unlike", answer.unlike);
  }

  // A shared link has the code that was found, but not the picture.
  const code = state.code("code");
  if (code && code.length === run.latent_dim) {
    const answer = await trying(() => client.ask("decode", { run: run.id, codes: [code], condition }));
    if (answer) { result.hidden = false; waiting.hidden = original.element.hidden = true; drawn.show(answer.images.images[0]); found = { code, how: "the link" }; numbers.textContent = "The code comes from the link, which does not contain the picture."; }
  }
  const some = run.cannot.data ? null : await trying(() => client.ask("examples", { run: run.id, count: SAMPLES }));
  if (some) {
    const made = String(some.numbers[0]).startsWith("seed:");
    samplesHead.textContent = made ? "Samples of the model" : "Held-out images";
    samples.replaceChildren(...some.images.images.map((image, i) => {
      const shown = new Picture("", { role: made ? "generated" : "real", size: image.width, savable: false });
      shown.show(image);
      shown.canvas.setAttribute("aria-hidden", "true"); // the button says what it is
      const name = made ? `Seed ${String(some.numbers[i]).slice(5)}` : `Held-out image ${some.numbers[i]}`;
      return make("button", { type: "button", class: "sample", "aria-label": `Use ${name}`, title: name, onclick: () => { picture = { image: some.numbers[i] }; search(name); } }, shown.canvas);
    }));
    if (!code && !given && !run.cannot.encode) samples.firstChild.click(); // something to see, at once
  }
  return () => removeEventListener("paste", paste);
}
