// A start, an end, what may lie between them, and three paths side by side: play, scrub, download.
import { busy, button, calm, make, save, say, trying } from "../dom.js";
import { Picture } from "../picture.js";

const HOWS = ["linear", "slerp", "rotate"];
const WISHES = { train: "seed:7, 12 or train:3", images: "seed:7 or 12", seeds: "seed:7" }; // what may be added
const ABOUT = { linear: "Straight line", slerp: "Along the sphere", rotate: "Rotation" };

export async function enter(place, { client, state, run, condition }) {
  let ends = [];
  let images = null;
  let playing = 0;
  let paths = null;
  const steps = 48;
  const row = make("div", { class: "strip ends" });
  const scrub = make("input", { type: "range", min: "0", max: "1", step: "1", value: "0", "aria-label": "Position on the path" });
  const play = button("Play", () => toggle(), { "aria-keyshortcuts": "Space" });
  const views = Object.fromEntries(HOWS.map((how) => [how, new Picture(`${ABOUT[how]} (${how})`, { role: "path", facts: () => ({ run: run.name, how, ends, place: Number(scrub.value), steps }) })]));
  const numbers = Object.fromEntries(HOWS.map((how) => [how, make("p", { class: "hint" })]));
  const wishes = client.lacks.has("images") ? "seeds" : client.lacks.has("training images") ? "images" : "train";
  const wish = make("input", { type: "text", placeholder: WISHES[wishes], size: 16, "aria-label": `Image to add: ${WISHES[wishes]}` });
  const upload = make("input", { type: "file", accept: "image/*", "aria-label": "Add an image file" });
  const add = make("form", { class: "tools", onsubmit: (event) => { event.preventDefault(); more(wish.value.trim()); } }, wish,
    make("button", { type: "submit" }, "Add image"), button("Add a random sample", () => more(`seed:${Math.floor(Math.random() * (run.seeds || 1e6))}`)), client.lacks.has("project") ? null : upload,
    button("Clear", () => { ends = []; state.set({ t: null }); keep(); show(); }));
  const begin = button("Begin with an example", () => example());
  upload.onchange = () => trying(async () => {
    const picture = await client.send(upload.files[0]);
    const answer = await client.ask(run.cannot.encode ? "project" : "encode", { run: run.id, picture, condition });
    ends.push(answer.code);
    keep();
    show();
  });
  const path_ = make("section", { class: "column stage" },
    make("div", { class: "tools" }, play, scrub),
    make("div", { class: "three" }, ...HOWS.map((how) => make("div", {}, views[how].element, numbers[how],
      make("div", { class: "tools" }, client.lacks.has("film") ? null : button("GIF", () => film(how), { "aria-label": `Download ${how} as GIF` }), button("Path", () => path(how), { "aria-label": `Save ${how} as a path` }))))));
  place.append(row, path_, add, begin);

  function keep() {
    state.set({ ends: ends.map((code) => code.map((x) => x.toFixed(4)).join(",")).join(";") });
  }

  async function more(what) {
    if (!what) return say(`Type what to add: ${WISHES[wishes]}.`);
    const kind = what.startsWith("seed:") ? ["decode", { seeds: [Number(what.slice(5))] }] : ["encode", { image: what }];
    const answer = await trying(() => client.ask(kind[0], { run: run.id, ...kind[1], condition }));
    if (!answer) return;
    ends.push(answer.code || answer.codes[0]);
    ends = ends.slice(-8);
    keep();
    show();
  }

  async function show() {
    images = null;
    stop();
    row.replaceChildren();
    path_.hidden = ends.length < 2;
    begin.hidden = ends.length > 0;
    if (!ends.length) return say(`Add a start and an end: ${WISHES[wishes]}, a random sample${client.lacks.has("project") ? "" : ", or a picture of yours"}.`);
    const drawn = await trying(() => client.ask("decode", { run: run.id, codes: ends, condition }, "ends"));
    if (!drawn) return;
    row.replaceChildren(...drawn.images.images.map((image, i) => {
      const picture = new Picture(i === 0 ? "Start" : i === ends.length - 1 ? "End" : `Image ${i + 1}`, { role: "path", size: image.width, savable: false });
      picture.show(image);
      picture.caption.append(button("×", () => { ends.splice(i, 1); keep(); show(); }, { class: "small", "aria-label": `Remove image ${i + 1}` }));
      return picture.element;
    }));
    if (ends.length < 2) return say("This is the start. Add an end.");
    const answer = await busy("Decoding the paths", () => client.ask("walk", { run: run.id, ends, hows: HOWS, steps, condition }, "walk")).catch(() => null);
    if (!answer) return;
    images = answer.images;
    paths = answer.paths;
    for (const how of HOWS) {
      const { mean, spread, norms } = paths[how];
      numbers[how].textContent = `Average pixel change per step: ${(100 * mean).toFixed(2)} % (± ${(100 * spread).toFixed(2)}). Code norm: ${Math.min(...norms).toFixed(1)} to ${Math.max(...norms).toFixed(1)}.`;
    }
    scrub.max = images.linear.length - 1;
    scrub.value = Math.min(Number(state.get("t", "0")), images.linear.length - 1);
    frame();
    if (!calm() && !state.get("t")) toggle();
  }

  function frame() {
    if (!images) return;
    for (const how of HOWS) views[how].show(images[how][Number(scrub.value)]);
  }
  scrub.oninput = () => { stop(); state.set({ t: scrub.value }); frame(); };

  function stop() {
    cancelAnimationFrame(playing);
    playing = 0;
    play.textContent = "Play";
  }
  function toggle() {
    if (playing) return stop();
    if (!images) return;
    play.textContent = "Pause";
    const last = images.linear.length - 1;
    let at = Number(scrub.value), way = at >= last ? -1 : 1, before = performance.now();
    const turn = (time) => {
      if (time - before >= 40) {
        before = time;
        at += way;
        if (at >= last || at <= 0) way = -way;
        scrub.value = at = Math.max(0, Math.min(last, at));
        frame();
      }
      if (scrub.isConnected) playing = requestAnimationFrame(turn);
    };
    playing = requestAnimationFrame(turn);
  }

  async function film(how) {
    if (ends.length < 2) return;
    const answer = await busy("Making the GIF", () => client.ask("film", { run: run.id, ends, hows: [how], steps, fps: 25, condition })).catch(() => null);
    if (answer) { save(new Blob([answer.file], { type: "image/gif" }), `${run.name}-${how}.gif`); say(`${answer.frames} frames at ${answer.fps} per second.`); }
  }
  function path(how) {
    if (!paths) return;
    // `morpho interpolate RUN --path FILE` reads this file.
    const conditions = paths[how].conditions ?? null;
    const facts = { morphospace: "path", run: run.name, images: run.images, how, ends: ends.map((_, i) => `end ${i + 1}`), codes: paths[how].codes, conditions };
    save(new Blob([JSON.stringify(facts)], { type: "application/json" }), `${run.name}-${how}.json`);
  }

  const keys = (event) => {
    if (event.key !== " " || event.target.matches("input[type=text], button, select")) return;
    toggle();
    event.preventDefault();
  };
  addEventListener("keydown", keys);
  ends = state.get("ends").split(";").filter(Boolean).map((text) => text.split(",").map(Number)).filter((code) => code.length === run.latent_dim && code.every(Number.isFinite));
  async function example() {
    const answer = await trying(() => client.ask("decode", { run: run.id, seeds: run.opening.slice(0, 3), condition }));
    if (!answer) return;
    ends = answer.codes;
    keep();
    show();
  }
  if (ends.length) show(); else example();
  return () => { stop(); removeEventListener("keydown", keys); };
}
