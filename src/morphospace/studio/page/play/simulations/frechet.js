// Frechet distance, precision and recall of two clouds of points in the plane.
import { stream } from "../networks.js";

const COUNT = 150;

const moments = (points) => {
  const n = points.length, mean = [0, 1].map((d) => points.reduce((s, p) => s + p[d], 0) / n);
  const cov = (a, b) => points.reduce((s, p) => s + (p[a] - mean[a]) * (p[b] - mean[b]), 0) / (n - 1);
  return { mean, xx: cov(0, 0), xy: cov(0, 1), yy: cov(1, 1) };
};

// |m - m'|² + tr S + tr S' - 2 tr (S S')^(1/2); the root's trace in closed form, as S is 2x2. In two parts: of the means,
// and of the covariances.
export function frechetDistance(real, fake) {
  const a = moments(real), b = moments(fake), means = (a.mean[0] - b.mean[0]) ** 2 + (a.mean[1] - b.mean[1]) ** 2;
  const trace = a.xx * b.xx + 2 * a.xy * b.xy + a.yy * b.yy, det = (a.xx * a.yy - a.xy ** 2) * (b.xx * b.yy - b.xy ** 2);
  const spreads = a.xx + a.yy + b.xx + b.yy - 2 * Math.sqrt(Math.max(0, trace + 2 * Math.sqrt(Math.max(0, det))));
  return { means, spreads: Math.max(0, spreads), distance: Math.max(0, means + spreads) };
}

const squared = (a, b) => (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2;
// Squared distance of each point to its k-th nearest other one.
export const radii = (points, k) => points.map((p, i) => points.map((q, j) => (i === j ? Infinity : squared(p, q))).sort((x, y) => x - y)[k - 1]);
const within = (points, centres, reach) => points.filter((p) => centres.some((c, i) => squared(p, c) <= reach[i])).length / points.length;
// Share of fakes within reach of a real point, and of real points within reach of a fake; a point reaches as far as its k-th
// nearest neighbour of its own kind (Kynkaanniemi et al. 2019).
export const precisionRecall = (real, fake, k) => ({ precision: within(fake, real, radii(real, k)), recall: within(real, fake, radii(fake, k)) });

const CLOUDS = {
  one: (rng) => [0.35 * rng.normal(), 0.25 * rng.normal()],
  two: (rng) => [(rng.uniform() < 0.5 ? -0.5 : 0.5) + 0.09 * rng.normal(), 0.2 * rng.normal()],
  ring: (rng) => { const t = 2 * Math.PI * rng.uniform(), r = 0.6 + 0.05 * rng.normal(); return [r * Math.cos(t), r * Math.sin(t)]; },
};
const SPREADS = { one: [0.35, 0.25], two: [0.508, 0.2], ring: [0.4257, 0.4257] };

class Clouds {
  constructor(settings) {
    this.settings = settings;
    const rng = stream(settings.seed, "real"), other = stream(settings.seed, "fake");
    this.real = Array.from({ length: COUNT }, () => CLOUDS[settings.real](rng));
    this.base = Array.from({ length: COUNT }, () => (settings.shape === "same" ? CLOUDS[settings.real](other) : [0, 1].map((d) => SPREADS[settings.real][d] * other.normal())));
    this.at = [settings.x, settings.y, settings.wide, settings.tall];
  }
  fake([x, y, wide, tall] = this.at) { return this.base.map((p) => [x + wide * p[0], y + tall * p[1]]); }
  // Move and stretch the cloud a little, so that the Frechet distance falls.
  step() {
    const h = 1e-3, value = (at) => frechetDistance(this.real, this.fake(at)).distance;
    const slope = this.at.map((_, i) => { const up = [...this.at], down = [...this.at]; up[i] += h; down[i] -= h; return (value(up) - value(down)) / (2 * h); });
    this.at = this.at.map((v, i) => (i < 2 ? v - 0.05 * slope[i] : Math.max(0.02, v - 0.2 * slope[i])));
    return 1;
  }
  frame() { const fake = this.fake(), { k } = this.settings; return { real: this.real, fake, at: this.at, ...frechetDistance(this.real, fake), ...precisionRecall(this.real, fake, k), reach: { real: radii(this.real, k), fake: radii(fake, k) } }; }
  measure() { const fake = this.fake(); return { distance: frechetDistance(this.real, fake).distance, ...precisionRecall(this.real, fake, this.settings.k) }; }
}

const round = (v) => Math.round(100 * v) / 100;

export const frechet = {
  id: "frechet",
  title: "Frechet distance, precision and recall",
  short: "Frechet distance",
  question: "What do the Frechet distance, precision and recall say of a cloud of samples that is moved, narrowed, or of the wrong shape?",
  first: "Drag the violet cloud, or its handle to make it wider or narrower. Find two different failures with the same Frechet distance.",
  model: (settings) => new Clouds(settings),
  defaults: { real: "one", shape: "same", x: 0, y: 0, wide: 1, tall: 1, k: 3, seed: 0 },
  length: 120,
  pace: 20,
  shared: ["real", "seed", "k"],
  toggles: [{ name: "reach", label: "Draw how far each real point reaches", on: false }, { name: "gaussians", label: "Draw what the distance sees", on: true }],
  legend: [["real", "real points (rings)"], ["generated", "samples (squares)"], ["line", "ellipses: mean and covariance, which is all that the distance sees"]],
  curves: [["distance", "Frechet distance", "ink"], ["precision", "precision", "generated"], ["recall", "recall", "real"]],
  values: ({ distance, precision, recall }) => ({ distance, precision, recall }),
  fields: [
    { name: "real", label: "Real points", values: [["one", "one cloud"], ["two", "two clouds"], ["ring", "ring"]] },
    { name: "shape", label: "Samples", values: [["same", "the same shape"], ["normal", "a normal distribution"]] },
    { name: "x", label: "Move right", min: -1, max: 1, step: 0.01 },
    { name: "y", label: "Move up", min: -1, max: 1, step: 0.01 },
    { name: "wide", label: "Width", min: 0.02, max: 3, step: 0.01 },
    { name: "tall", label: "Height", min: 0.02, max: 3, step: 0.01 },
    { name: "k", label: "Neighbours", values: [1, 3, 5, 10].map((v) => [v, String(v)]), more: true },
    { name: "seed", label: "Seed", number: true, min: 0, max: 9999, step: 1, more: true },
  ],
  presets: [
    { id: "same", title: "Fresh points of the same kind", good: true, settings: {}, claim: { steps: 0, distance: [0, 0.02], precision: [0.75, 1], recall: [0.75, 1] },
      sentence: "Even the true distribution has a small Frechet distance, and not all of its samples count as precise: 150 points are few." },
    { id: "moved", title: "Moved, or narrowed?", good: false, settings: { x: 0.36 }, against: { x: 0, wide: 0.17, tall: 0.17 }, claim: { steps: 0, distance: [0.08, 0.2], recall: [0.25, 1] }, claimAgainst: { steps: 0, distance: [0.08, 0.2], precision: [0.85, 1], recall: [0, 0.2] },
      sentence: "Both have a Frechet distance of about 0.13. A is off in place. B is a mode collapse: its precision is above 0.85, its recall below 0.2. One number cannot tell them apart, two can." },
    { id: "shape", title: "Distance 0, wrong shape", good: false, settings: { real: "two", shape: "normal" }, claim: { steps: 120, distance: [0, 0.01], precision: [0, 0.6] },
      sentence: "Press Play: the distance falls below 0.01, as mean and covariance agree. Yet many samples lie between the clouds, where nothing is real: precision stays below 0.6." },
    { id: "wide", title: "Too wide", good: false, settings: { wide: 3, tall: 3 }, claim: { steps: 0, precision: [0, 0.7], recall: [0.85, 1] },
      sentence: "Samples everywhere reach all that is real: recall is above 0.85. Many of them are bad: precision is below 0.7." },
  ],

  draw(paper, frame, { shown }) {
    if (shown.reach) { paper.style("real", 1, "real", 0.1); frame.real.forEach((p, i) => { const r = Math.sqrt(frame.reach.real[i]); paper.ellipse(...p, r, r, true); }); }
    paper.style("real", 1.5, "real", 0.9);
    for (const p of frame.real) paper.ring(...p, 2.6);
    paper.style("generated", 1, "generated", 0.9).dots(frame.fake.flat(), 4);
    if (shown.gaussians) for (const [points, colour] of [[frame.real, "real"], [frame.fake, "generated"]]) {
      const m = moments(points), angles = Array.from({ length: 61 }, (_, i) => (i * Math.PI) / 30), l = Math.sqrt(m.xx), b = m.xy / l, c = Math.sqrt(Math.max(0, m.yy - b * b));
      paper.style(colour, 2.2).line(angles.map((t) => [m.mean[0] + 2 * l * Math.cos(t), m.mean[1] + 2 * (b * Math.cos(t) + c * Math.sin(t))]));
    }
    const [x, y, wide] = frame.at;
    paper.style("generated", 2, "card", 1);
    for (const at of [x, x + 0.5 * wide]) { paper.disc(at, y, 7); paper.ring(at, y, 7); }
  },
  words: (f) => `Frechet distance ${f.distance.toFixed(3)} (means ${f.means.toFixed(3)}, covariances ${f.spreads.toFixed(3)}); precision ${f.precision.toFixed(2)}, recall ${f.recall.toFixed(2)}.`,
  pointer({ kind, at, frame, draft, held }) {
    if (!held || kind === "up") return null;
    const [x, y, wide, tall] = frame.at, bounded = (low, high, v) => round(Math.max(low, Math.min(high, v)));
    const part = kind === "down" ? (Math.hypot(at[0] - x - 0.5 * wide, at[1] - y) < Math.hypot(at[0] - x, at[1] - y) ? "width" : "place") : draft.part;
    if (part === "place") return { draft: { part }, settings: { x: bounded(-1, 1, at[0]), y: bounded(-1, 1, at[1]), wide: bounded(0.02, 3, wide), tall: bounded(0.02, 3, tall) } };
    const next = bounded(0.02, 3, 2 * Math.abs(at[0] - x));
    return { draft: { part }, settings: { x: bounded(-1, 1, x), y: bounded(-1, 1, y), wide: next, tall: bounded(0.02, 3, (tall * next) / wide) } };
  },
};
