// Curves of a run, live while it trains; samples of the same codes over training; trouble in words.
import { busy, button, choice, make, trying } from "../dom.js";
import { Panel, panelsOf, usual } from "../curves.js";
import { Picture } from "../picture.js";

const LATE = 20; // lines that may come both with the answer and as news

export async function enter(place, { client, state, run }) {
  let data = await trying(() => client.ask("training", { run: run.id }));
  if (!data) return null;
  let shown = new Set(), panels = [], drawn = [];
  let axis = state.get("axis", "images");
  const charts = make("div", { class: "panels" });
  const names = make("fieldset", { class: "checks" });
  const at = make("p", { class: "hint" });
  const grid = new Picture("Samples", { facts: () => ({ run: run.name, images: data.samples[Number(scrub.value)] }) });
  const scrub = make("input", { type: "range", min: "0", step: "1", "aria-label": "Moment of training" });
  const none = make("p", { class: "hint", hidden: true }, "There are no samples of this run. Some models can be sampled only once they are trained.");
  const findings = make("div", { class: "findings", "aria-live": "polite" });
  const trouble = button("Look for trouble", () => diagnose());
  place.append(make("div", { class: "with-side" },
    make("div", { class: "stage column" }, choice("Along the bottom", [["images", "images seen"], ["seconds", "seconds"]], axis, (value) => { axis = value; state.set({ axis }); draw(); }), at, charts, names),
    make("aside", { class: "side" }, grid.element, scrub, none, trouble, findings)));

  // Make the panels of the numbers that there are, which may become more while a run trains.
  function fill() {
    panels = panelsOf(data.columns);
    shown = new Set(state.get("curves") ? state.get("curves").split(",") : usual(panels));
    drawn = panels.filter(({ key }) => shown.has(key)).map((panel) => new Panel(panel));
    charts.replaceChildren(...drawn.map((panel) => panel.element));
    names.replaceChildren(make("legend", {}, "Numbers shown"), ...panels.map(({ key, title }) => {
      const box = make("input", { type: "checkbox", checked: shown.has(key), onchange: () => {
        if (box.checked) shown.add(key); else shown.delete(key);
        state.set({ curves: [...shown].join(",") || "none" });
        fill();
      } });
      return make("label", { class: "check" }, box, ` ${title}`);
    }));
    names.hidden = !panels.length;
    draw();
  }

  function draw() {
    const last = data.rows.at(-1);
    at.textContent = last ? `After ${last[0].toLocaleString("en")} images:` : "There are no numbers of this run. While a run trains, they appear here by themselves.";
    for (const panel of drawn) panel.draw(data, axis);
  }

  async function moment() {
    const images = data.samples[Number(scrub.value)];
    grid.element.hidden = scrub.hidden = images === undefined;
    none.hidden = !grid.element.hidden;
    place.querySelector(".intro b").hidden = grid.element.hidden; // which says what to do with the samples
    if (images === undefined) return;
    const answer = await trying(() => client.ask("snapshot", { run: run.id, images }, "snapshot"));
    if (!answer) return;
    grid.show(answer.images.grid[0]);
    grid.words(`Samples after ${images.toLocaleString("en")} images${answer.drawn_from && `, ${answer.drawn_from}`}`);
    state.set({ at: images });
  }
  function moments() {
    scrub.max = String(Math.max(0, data.samples.length - 1));
    const asked = data.samples.indexOf(Number(state.get("at", "-1")));
    scrub.value = String(asked >= 0 ? asked : data.samples.length - 1);
  }
  scrub.oninput = moment;

  async function diagnose() {
    trouble.disabled = true;
    findings.replaceChildren(make("p", { class: "hint" }, "Sampling, and reading the curves. This may take a minute."));
    let found;
    try {
      found = (await busy("Looking for trouble", () => client.ask("diagnosis", { run: run.id }))).findings || [];
    } catch (error) {
      findings.replaceChildren(make("p", { class: "cannot" }, `It could not be looked for: ${error.message}`));
      return;
    } finally {
      trouble.disabled = false;
    }
    findings.replaceChildren(...(found.length ? found.map((one) => make("section", { class: `finding ${one.severity}` },
      make("h3", {}, one.name), make("p", {}, one.says), make("p", { class: "hint" }, one.advice))) : [make("p", {}, "No trouble found.")]));
  }

  async function news({ detail: event }) {
    if (event.kind === "again") {
      const answer = await trying(() => client.ask("training", { run: run.id }, "training"));
      if (answer) { data = answer; fill(); moments(); moment(); }
    }
    if (event.run !== run.id) return;
    if (event.kind === "report") {
      const fresh = Object.keys(event).filter((name) => name.includes("/") && !data.columns.includes(name));
      if (fresh.length) { data.columns.push(...fresh); for (const row of data.rows) row.push(...fresh.map(() => null)); }
      const row = data.columns.map((name) => (typeof event[name] === "number" ? event[name] : null));
      if (data.rows.slice(-LATE).some((one) => String(one) === String(row))) return; // it came with the answer already
      data.rows.push(row);
      if (fresh.length) fill(); else draw();
    } else if (event.kind === "samples" && !data.samples.includes(event.images)) {
      const following = Number(scrub.value) >= data.samples.length - 1;
      data.samples.push(event.images);
      scrub.max = String(data.samples.length - 1);
      if (following) { scrub.value = scrub.max; moment(); }
    }
  }
  addEventListener("news", news);
  const resized = new ResizeObserver(draw);
  resized.observe(charts);
  addEventListener("themed", draw);
  fill();
  moments();
  await moment();
  return () => { removeEventListener("news", news); resized.disconnect(); removeEventListener("themed", draw); };
}
