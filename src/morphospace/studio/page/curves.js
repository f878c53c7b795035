// A run's numbers as panels: what belongs together is in one, as in the curves.png of a run's folder.
import { nextFrame } from "./picture.js";
import { colour, role } from "./colours.js";
import { make } from "./dom.js";

const WORDS = { "score": "What the critic takes for real", "loss": "Loss", "reconstruction": "Reconstruction", "kl": "kl: what the codes say", "gradient_norm": "Gradient norm", "mse": "Error of reconstructions (mse)" };

// The panels of some columns: { key, title, series: [{ name, label, stroke, dash }], half }. `vae/loss` and `generator/loss`
// are of players, `valid/loss` and `valid/vae/kl` of held-out images, `metric/fd@raw` of a run's own weights.
export function panelsOf(columns) {
  const panels = new Map(), names = columns.filter((name) => name.includes("/"));
  const players = names.filter((name) => /^(?!valid\/).*\/loss$/.test(name)).map((name) => name.split("/")[0]), several = players.length > 1;
  for (const name of names) {
    const held = name.startsWith("valid/"), own = name.endsWith("@raw"), plain = name.replace(/^valid\//, "").replace(/@raw$/, "");
    const player = plain.includes("/") ? plain.split("/")[0] : "", term = plain.split("/").at(-1), judged = /^score_(real|fake)$/.exec(term);
    const key = judged ? `${player}/score` : term === "loss" ? "loss" : plain, kind = judged ? "score" : term;
    const title = WORDS[kind] ? `${WORDS[kind]}${several && player && kind !== "loss" && !judged ? `, ${player}` : ""}` : key.replace("/", ": ").replace(/_/g, " ");
    const whose = key === "loss" && several ? player : "", seen = held ? "held-out images" : whose ? "" : player === "metric" ? (own ? "own weights" : "averaged weights") : "training images";
    const label = judged ? (judged[1] === "real" ? "real images" : "generated images") : [whose, seen].filter(Boolean).join(", ");
    const hue = whose ? 2 * players.indexOf(player) : 0;
    if (!panels.has(key)) panels.set(key, { key, title, series: [], half: Boolean(judged) });
    panels.get(key).series.push({ name, label, dash: held || own || judged?.[1] === "fake",
      stroke: judged ? () => role(judged[1] === "real" ? "real" : "generated") : () => colour(hue + (held || own ? 1 : 0)) });
  }
  return [...panels.values()];
}

// Those shown first: the losses of all players, and what the critic takes for real.
export const usual = (panels) => panels.filter(({ key, half }) => key === "loss" || half).map(({ key }) => key);

export class Panel {
  constructor(panel) {
    this.panel = panel;
    this.canvas = make("canvas", { class: "chart", role: "img", "aria-label": panel.title });
    this.legend = make("ul", { class: "legend" });
    this.element = make("section", { class: "panel" }, make("h3", {}, panel.title), this.canvas, this.legend);
  }

  draw(data, axis) {
    nextFrame(this, () => {
      const { canvas, panel } = this, ratio = devicePixelRatio || 1, box = canvas.getBoundingClientRect();
      canvas.width = Math.max(1, Math.round(box.width * ratio));
      canvas.height = Math.max(1, Math.round(box.height * ratio));
      const context = canvas.getContext("2d"), x = data.columns.indexOf(axis);
      context.scale(ratio, ratio);
      const lines = panel.series.map((one) => ({ ...one, points: known(data, x, data.columns.indexOf(one.name)) }));
      const values = lines.flatMap(({ points }) => points.map(([, value]) => value)).sort((a, b) => a - b);
      const half = panel.half && values.length && values[0] >= 0 && values.at(-1) <= 1;
      this.legend.replaceChildren(...lines.map(({ label, points, stroke, dash }) => entry(`${label} ${points.length ? brief(points.at(-1)[1]) : "not yet"}`, stroke(), dash)), ...(half ? [entry(".5: it cannot tell", role("muted"), true)] : []));
      canvas.setAttribute("aria-label", `${panel.title}: ${[...this.legend.children].map((one) => one.textContent).join(", ")}`);
      if (!values.length) return;
      // Without the most extreme values: a first step a thousand times the rest would flatten all the others.
      const low = half ? 0 : values[Math.floor(values.length * 0.005)], high = half ? 1 : values[Math.min(values.length - 1, Math.floor(values.length * 0.985))];
      const pad = { left: 52, right: 12, top: 10, bottom: 26 }, wide = box.width - pad.left - pad.right, tall = box.height - pad.top - pad.bottom;
      const end = Math.max(...lines.flatMap(({ points }) => points.map(([at]) => at)), 0) || 1;
      const px = (value) => pad.left + (wide * value) / end, py = (value) => pad.top + tall * (1 - (value - low) / (high - low || 1));
      context.font = "12px system-ui, sans-serif";
      context.fillStyle = role("muted");
      context.strokeStyle = role("line");
      for (let i = 0; i <= 4; i++) {
        const value = low + ((high - low) * i) / 4;
        context.beginPath(); context.moveTo(pad.left, py(value)); context.lineTo(pad.left + wide, py(value)); context.stroke();
        context.textAlign = "right"; context.fillText(brief(value, 3), pad.left - 6, py(value) + 4);
        if (i % 2 === 0) { context.textAlign = ["left", "", "center", "", "right"][i]; context.fillText(i === 4 ? `${brief(end)} ${axis}` : brief((end * i) / 4), px((end * i) / 4), box.height - 6); }
      }
      context.save();
      context.beginPath(); context.rect(pad.left, pad.top - 3, wide + 4, tall + 6); context.clip();
      if (half) { context.strokeStyle = role("muted"); context.setLineDash([2, 4]); context.lineWidth = 1.5; context.beginPath(); context.moveTo(pad.left, py(0.5)); context.lineTo(pad.left + wide, py(0.5)); context.stroke(); }
      for (const { points, stroke, dash } of lines) {
        context.strokeStyle = context.fillStyle = stroke();
        context.lineWidth = 2;
        context.setLineDash(dash ? [7, 4] : []);
        context.beginPath();
        points.forEach(([at, value], i) => (i ? context.lineTo(px(at), py(value)) : context.moveTo(px(at), py(value))));
        context.stroke();
        // Curves with few values, such as those of held-out images, are drawn with points, so that the first one shows.
        if (points.length <= 60) for (const [at, value] of points) { context.beginPath(); context.arc(px(at), py(value), 2.6, 0, 7); context.fill(); }
      }
      context.restore();
      canvas.dataset.drawn = Number(canvas.dataset.drawn || 0) + 1;
    });
  }
}

const known = (data, x, column) => (column < 0 ? [] : data.rows.filter((row) => row[column] !== null && row[x] !== null).map((row) => [row[x], row[column]]));

function entry(words, stroke, dash) {
  const line = make("span", { class: dash ? "line dash" : "line", "aria-hidden": "true" });
  line.style.borderColor = stroke;
  return make("li", {}, line, words);
}

function brief(value, digits = 4) {
  if (Math.abs(value) >= 10000) return Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value);
  const short = Number(value.toPrecision(digits));
  return Math.abs(short) < 1000 ? short.toString() : short.toLocaleString("en");
}
