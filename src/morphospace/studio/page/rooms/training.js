// Curves of a run, live while it trains; samples of fixed noise over training; a diagnosis in words.
import { button, choice, make, say, trying } from "../dom.js";
import { nextFrame, Picture } from "../picture.js";
import { colour, role } from "../colours.js";

export async function enter(place, { client, state, run }) {
  let data = await trying(() => client.ask("training", { run: run.id }));
  if (!data) return null;
  const losses = () => data.columns.filter((name) => name.includes("/"));
  const usual = losses().filter((name) => name.endsWith("/loss"));
  let shown = new Set(state.get("curves") ? state.get("curves").split(",") : usual);
  let axis = state.get("axis", "images");
  const chart = make("canvas", { class: "chart", role: "img", "aria-label": "Training curves" });
  const names = make("fieldset", { class: "checks" });
  const table = make("p", { class: "hint" });
  const grid = new Picture("Samples of fixed noise", { facts: () => ({ run: run.name, images: data.samples[Number(scrub.value)] }) });
  const scrub = make("input", { type: "range", min: "0", step: "1", "aria-label": "Moment of training" });
  const findings = make("div", { class: "findings", "aria-live": "polite" });
  place.append(make("p", { class: "hint" }, "The curves of this run, live while it trains, and samples of fixed noise. Drag the slider below the samples to go back in training."), make("div", { class: "with-side" },
    make("div", { class: "stage column" }, choice("Horizontal axis", [["images", "images seen"], ["seconds", "seconds"]], axis, (value) => { axis = value; state.set({ axis }); draw(); }), chart, table, names),
    make("aside", { class: "side" }, grid.element, scrub, button("Diagnose", () => diagnose()), findings)));

  function fill() {
    names.replaceChildren(make("legend", {}, "Curves"), ...losses().map((name) => {
      const index = losses().indexOf(name);
      const box = make("input", { type: "checkbox", checked: shown.has(name), onchange: () => {
        if (box.checked) shown.add(name); else shown.delete(name);
        state.set({ curves: [...shown].join(",") });
        draw();
      } });
      const dot = make("span", { class: "dot", "aria-hidden": "true" });
      dot.style.background = colour(index);
      return make("label", { class: "check" }, box, dot, ` ${name}`);
    }));
  }

  function latest(column) {
    const row = data.rows.findLast((one) => one[column] !== null);
    return row ? row[column].toPrecision(4) : "not yet";
  }

  function draw() {
    nextFrame(chart, () => {
      const ratio = devicePixelRatio || 1;
      const box = chart.getBoundingClientRect();
      chart.width = Math.max(1, Math.round(box.width * ratio));
      chart.height = Math.max(1, Math.round(box.height * ratio));
      const context = chart.getContext("2d");
      context.scale(ratio, ratio);
      const x = data.columns.indexOf(axis);
      const chosen = losses().filter((name) => shown.has(name));
      const columns = chosen.map((name) => data.columns.indexOf(name));
      const values = data.rows.flatMap((row) => columns.map((c) => row[c])).filter((v) => v !== null).sort((a, b) => a - b);
      const last = data.rows.length ? data.rows[data.rows.length - 1] : null;
      if (!values.length || !last) { table.textContent = "No numbers yet."; return; }
      // Without the most extreme values: a first step a thousand times the rest would flatten all the others.
      const low = values[Math.floor(values.length * 0.005)], high = values[Math.min(values.length - 1, Math.floor(values.length * 0.985))];
      const pad = { left: 62, right: 12, top: 12, bottom: 30 };
      const wide = box.width - pad.left - pad.right, tall = box.height - pad.top - pad.bottom;
      const end = last[x] || 1;
      const px = (value) => pad.left + (wide * value) / end;
      const py = (value) => pad.top + tall * (1 - (value - low) / (high - low || 1));
      context.font = "12px system-ui, sans-serif";
      context.fillStyle = role("muted");
      context.strokeStyle = role("line");
      for (let i = 0; i <= 4; i++) {
        const value = low + ((high - low) * i) / 4;
        context.beginPath(); context.moveTo(pad.left, py(value)); context.lineTo(pad.left + wide, py(value)); context.stroke();
        context.textAlign = "right"; context.fillText(brief(value), pad.left - 8, py(value) + 4);
        context.textAlign = i === 4 ? "right" : "center"; context.fillText(brief((end * i) / 4), px((end * i) / 4), box.height - 8);
      }
      context.save();
      context.beginPath(); context.rect(pad.left, pad.top - 2, wide + 2, tall + 4); context.clip();
      columns.forEach((c, i) => {
        context.strokeStyle = colour(losses().indexOf(chosen[i]));
        context.lineWidth = 1.8;
        context.beginPath();
        let drawing = false;
        const known = data.rows.filter((row) => row[c] !== null);
        for (const row of known) {
          if (drawing) context.lineTo(px(row[x]), py(row[c])); else context.moveTo(px(row[x]), py(row[c]));
          drawing = true;
        }
        context.stroke();
        // Curves with few values, such as those of validation, are drawn with points, so that the first one shows.
        context.fillStyle = context.strokeStyle;
        if (known.length <= 60) for (const row of known) { context.beginPath(); context.arc(px(row[x]), py(row[c]), 2.6, 0, 7); context.fill(); }
      });
      context.restore();
      table.textContent = `At ${brief(last[0])} images: ${chosen.map((name, i) => `${name} ${latest(columns[i])}`).join(", ")}`;
      chart.dataset.drawn = Number(chart.dataset.drawn || 0) + 1;
    });
  }

  async function moment() {
    const images = data.samples[Number(scrub.value)];
    if (images === undefined) return grid.words("No samples yet");
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
    say("Diagnosing…");
    findings.replaceChildren(make("p", { class: "hint" }, "Sampling and reading the curves…"));
    const answer = await trying(() => client.ask("diagnosis", { run: run.id }));
    say("");
    if (!answer) return findings.replaceChildren();
    const list = answer.findings || [];
    findings.replaceChildren(...(list.length ? list.map((one) => make("section", { class: `finding ${one.severity}` },
      make("h3", {}, one.name), make("p", {}, one.evidence), make("p", { class: "hint" }, one.advice))) : [make("p", {}, "No problem found.")]));
  }

  const stop = client.listen((event) => {
    if (event.run !== run.id) return;
    if (event.kind === "report") {
      const fresh = Object.keys(event).filter((name) => name.includes("/") && !data.columns.includes(name));
      if (fresh.length) { data.columns.push(...fresh); for (const row of data.rows) row.push(...fresh.map(() => null)); fill(); }
      data.rows.push(data.columns.map((name) => (typeof event[name] === "number" ? event[name] : null)));
      draw();
    } else if (event.kind === "samples") {
      const following = Number(scrub.value) >= data.samples.length - 1;
      data.samples.push(event.images);
      scrub.max = String(data.samples.length - 1);
      if (following) { scrub.value = scrub.max; moment(); }
    }
  });
  const resized = new ResizeObserver(draw);
  resized.observe(chart);
  addEventListener("themed", draw);
  fill();
  draw();
  moments();
  await moment();
  return () => { stop(); resized.disconnect(); removeEventListener("themed", draw); };
}

const brief = (value) => (Math.abs(value) >= 10000 ? Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value) : Number(value.toPrecision(3)).toString());
