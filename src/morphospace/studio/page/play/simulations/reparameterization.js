// The gradient of E[f(z)], z ~ N(mean, deviation²), by its two estimators: through the sample, and by the score function.
import { stream } from "../networks.js";
import { axis, bell, dragged } from "./bell.js";

const FUNCTIONS = {
  square: [(z) => 0.5 * (z - 1) ** 2, (z) => z - 1],
  bumps: [(z) => 0.25 * z * z + 0.6 * Math.sin(3 * z), (z) => 0.5 * z + 1.8 * Math.cos(3 * z)],
  high: [(z) => 0.5 * (z - 1) ** 2 + 5, (z) => z - 1],
};
const REPEATS = 400, RATE = 0.05, WIDE = 8;
const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
const spread = (list) => { const m = mean(list); return Math.sqrt(mean(list.map((v) => (v - m) ** 2))); };
const bounded = (v, low, high) => Math.max(low, Math.min(high, v));

// Both estimates of the gradient by mean and deviation, from the same noise.
export function estimates(name, { mean: m, deviation: s }, noise) {
  const [f, slope] = FUNCTIONS[name], z = noise.map((e) => m + s * e);
  return {
    through: [mean(z.map((v) => slope(v))), mean(z.map((v, i) => slope(v) * noise[i]))],
    score: [mean(z.map((v, i) => (f(v) * noise[i]) / s)), mean(z.map((v, i) => (f(v) * (noise[i] ** 2 - 1)) / s))],
  };
}

class Descent {
  constructor(settings) {
    this.settings = settings;
    this.rng = stream(settings.seed, "training");
    this.with = { mean: settings.mean, deviation: settings.deviation };
    this.without = { ...this.with };
    this.noise = this.drawn(this.rng);
  }
  drawn(rng) { return Array.from({ length: this.settings.samples }, () => rng.normal()); }
  moved(q, [dm, ds]) { return { mean: bounded(q.mean - RATE * dm, -3, 3), deviation: bounded(q.deviation - RATE * ds, 0.05, 2) }; }
  // Each q moves against its own estimate of the gradient, from the same noise.
  step() {
    this.noise = this.drawn(this.rng);
    this.with = this.moved(this.with, estimates(this.settings.f, this.with, this.noise).through);
    this.without = this.moved(this.without, estimates(this.settings.f, this.without, this.noise).score);
    return 1;
  }
  repeated() {
    const look = stream(this.settings.seed, "look"), all = Array.from({ length: REPEATS }, () => estimates(this.settings.f, this.with, this.drawn(look)));
    return { through: all.map((one) => one.through[0]), score: all.map((one) => one.score[0]) };
  }
  frame() { return { with: this.with, without: this.without, noise: this.noise, ...this.repeated() }; }
  measure() { const { through, score } = this.repeated(); return { ratio: spread(score) / spread(through), apart: Math.abs(mean(score) - mean(through)) / (spread(score) / Math.sqrt(REPEATS)) }; }
}

export const reparameterization = {
  id: "reparameterization",
  title: "The reparameterization trick",
  short: "Reparameterization",
  question: "For which q is the loss f(z) small on average, if all you can do is sample z from q? Which way should its mean move?",
  first: "Below: 400 estimates of that gradient, with the trick (violet) and without (amber). Drag the mean and the deviation, redraw the noise, then press Play: both follow their own estimate.",
  model: (settings) => new Descent(settings),
  defaults: { f: "square", mean: -1, deviation: 0.7, samples: 4, seed: 0 },
  length: 200,
  pace: 15,
  aspect: 1.6,
  span: { span: 3.6, aspect: 1.6, y: 0.2 },
  shared: ["seed"],
  legend: [["muted", "f(z)"], ["generated", "q with the trick: z = mean + deviation × noise; arrows: where each sample wants to go"], ["path", "q without it: f(z) × noise / deviation of each sample"]],
  curves: [["with", "mean, with the trick", "generated"], ["without", "mean, without", "path"]],
  values: (frame) => ({ with: frame.with.mean, without: frame.without.mean }),
  fields: [
    { name: "f", label: "Loss f", values: [["square", "(z - 1)² / 2"], ["high", "(z - 1)² / 2 + 5"], ["bumps", "z² / 4 + 0.6 sin 3z"]] },
    { name: "mean", label: "Mean", min: -3, max: 3, step: 0.01 },
    { name: "deviation", label: "Deviation", min: 0.05, max: 2, step: 0.01 },
    { name: "samples", label: "Samples a step", values: [1, 4, 16, 64].map((v) => [v, String(v)]) },
    { name: "seed", label: "Seed", number: true, min: 0, max: 9999, step: 1 },
  ],
  presets: [
    { id: "trick", title: "Same mean, less noise", good: true, settings: {}, claim: { steps: 0, ratio: [2, 100], apart: [0, 4] },
      sentence: "Both estimates are right on average. Without the trick they scatter more than twice as widely: look at the two heaps below." },
    { id: "high", title: "A constant added to f", good: false, settings: { f: "high" }, claim: { steps: 0, ratio: [8, 200] },
      sentence: "A constant changes no gradient, and the violet heap does not move. The amber one spreads more than eight times as wide: it multiplies f itself." },
    { id: "narrow", title: "A narrow q", good: false, settings: { deviation: 0.1 }, claim: { steps: 0, ratio: [40, 2000] },
      sentence: "The narrower q, the worse the estimate without the trick: it divides by the deviation." },
    { id: "bumps", title: "A bumpy f", settings: { f: "bumps", deviation: 0.9, mean: 1.5 }, claim: { steps: 0, ratio: [0.1, 2] },
      sentence: "Where f is steep and small, the trick has no advantage: its noise comes from f's slope, not from f." },
  ],
  buttons: ({ seed }) => [["Redraw the noise", { seed: (seed + 1) % 10000 }]],

  draw(paper, frame, { settings }) {
    const [f, slope] = FUNCTIONS[settings.f], base = 0.4, lift = settings.f === "high" ? 5 : 0, height = (z) => base + 0.25 * (f(z) - lift);
    paper.style("line", 1).line([[-3.5, base], [3.5, base]]);
    paper.style("muted", 1.6).line(axis(-3.5, 3.5, 141).map((z) => [z, height(z)]).filter(([, y]) => y < 2.3));
    bell(paper, frame.without, base, 1.2, "path");
    bell(paper, frame.with, base, 1.2, "generated", true);
    for (const e of frame.noise.slice(0, 16)) {
      const z = frame.with.mean + frame.with.deviation * e;
      paper.style("generated", 1.6, "generated", 1).disc(z, height(z), 3.2);
      paper.arrow(z, height(z), Math.max(-0.8, Math.min(0.8, -0.25 * slope(z))), 0, 5);
    }
    // The estimates below, in bins.
    const floor = -1.95, bins = 60, tall = 1.7, width = (2 * 3.4) / bins;
    paper.style("line", 1).line([[-3.5, floor], [3.5, floor]]);
    for (const [name, colour] of [["score", "path"], ["through", "generated"]]) {
      const counts = new Array(bins).fill(0);
      for (const v of frame[name]) counts[Math.max(0, Math.min(bins - 1, Math.floor(((v + WIDE) / (2 * WIDE)) * bins)))] += 1;
      paper.style(colour, 1, colour, 0.6);
      counts.forEach((n, i) => { if (n) { const x = -3.4 + i * width, top = floor + tall * Math.sqrt(n / REPEATS); paper.line([[x, floor], [x + width, floor], [x + width, top], [x, top]], true, true); } });
    }
    const x = (v) => (3.4 * v) / WIDE;
    paper.style("ink", 1, "muted");
    for (const v of [-8, -4, 0, 4, 8]) paper.words(String(v), x(v), floor, { align: "center", pixels: [0, 14] });
    paper.words("estimates of the gradient by the mean", -3.4, floor + tall, { pixels: [0, -2] });
  },
  words(frame) {
    const told = (list) => `${mean(list).toFixed(2)} ± ${spread(list).toFixed(2)}`;
    return `Estimates: with the trick ${told(frame.through)}, without ${told(frame.score)}. Means now: ${frame.with.mean.toFixed(2)} and ${frame.without.mean.toFixed(2)}.`;
  },
  pointer(event) {
    if (!event.held) return null;
    const to = dragged(event, event.frame.with, { mean: [-3, 3], deviation: [0.05, 2] });
    return to && { draft: { part: to.part }, settings: { mean: to.mean, deviation: to.deviation } };
  },
};
