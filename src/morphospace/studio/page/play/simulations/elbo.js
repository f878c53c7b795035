// The evidence lower bound in one dimension, by sums over a fine grid: q is fitted by hand or by gradient ascent.
import { axis, bell, density, dragged, HIGH } from "./bell.js";

const GRID = axis(-5, 5, 1001), STEP = GRID[1] - GRID[0];
const DECODERS = { line: (z) => z, square: (z) => z * z, wave: (z) => 0.6 * z + 1.2 * Math.sin(2.5 * z) };
const NAMES = [["line", "f(z) = z"], ["square", "f(z) = z²"], ["wave", "f(z) = 0.6 z + 1.2 sin 2.5 z"]];
const logNormal = (v, mean, deviation) => -0.5 * ((v - mean) / deviation) ** 2 - Math.log(deviation * Math.sqrt(2 * Math.PI));
const sum = (list) => list.reduce((a, b) => a + b, 0);

// What is known of one observation x under z ~ N(0, 1), x ~ N(f(z), noise²): log p(x) and the true posterior.
export function truth({ decoder, x, noise }) {
  const joint = GRID.map((z) => logNormal(z, 0, 1) + logNormal(x, DECODERS[decoder](z), noise)), most = Math.max(...joint);
  const evidence = most + Math.log(sum(joint.map((v) => Math.exp(v - most))) * STEP);
  return { evidence, posterior: joint.map((v) => Math.exp(v - evidence)) };
}

// The bound of q = N(mean, deviation²): E_q log p(x | z) - KL(q || N(0, 1)), in nats.
export function bound({ decoder, x, noise }, { mean, deviation }) {
  const weights = GRID.map((z) => density(z, mean, deviation)), total = sum(weights);
  const reconstruction = sum(GRID.map((z, i) => weights[i] * logNormal(x, DECODERS[decoder](z), noise))) / total;
  const kl = 0.5 * (mean * mean + deviation * deviation - 1) - Math.log(deviation);
  return { reconstruction, kl, elbo: reconstruction - kl };
}

class Fit {
  constructor(settings) {
    this.settings = settings;
    this.q = { mean: settings.mean, deviation: settings.deviation };
    this.known = truth(settings);
  }
  // A step of gradient ascent in the mean and the logarithm of the deviation; the gradient by differences.
  step() {
    const at = (m, l) => bound(this.settings, { mean: m, deviation: Math.exp(l) }).elbo, m = this.q.mean, l = Math.log(this.q.deviation), h = 1e-3;
    const slope = [at(m + h, l) - at(m - h, l), at(m, l + h) - at(m, l - h)].map((d) => Math.max(-3, Math.min(3, d / (2 * h))));
    this.q = { mean: m + 0.03 * slope[0], deviation: Math.exp(Math.max(-3, Math.min(1, l + 0.03 * slope[1]))) };
    return 1;
  }
  frame() { return { q: this.q, ...bound(this.settings, this.q), ...this.known }; }
  measure() { const { elbo, kl } = bound(this.settings, this.q); return { gap: this.known.evidence - elbo, kl }; }
}

export const elbo = {
  id: "elbo",
  title: "The ELBO in one dimension",
  short: "ELBO",
  question: "One observation x, and the codes z that may explain it. How near does a normal q(z) come to the true posterior, and what does the rest cost?",
  first: "Drag the two handles of the violet curve: its mean and its standard deviation. Make the pink gap as short as you can, then press Play.",
  model: (settings) => new Fit(settings),
  defaults: { decoder: "line", x: 1.5, noise: 0.5, mean: -1, deviation: 1 },
  length: 300,
  pace: 30,
  aspect: 2,
  span: { span: 3.6, aspect: 2, y: 0.4 },
  legend: [["muted", "the prior p(z)"], ["real", "the true posterior p(z | x)"], ["generated", "your q(z)"], ["probe", "the gap: KL from q to the true posterior"]],
  curves: [["elbo", "ELBO, nats", "generated"], ["evidence", "log p(x)", "real"]],
  values: ({ elbo: value, evidence }) => ({ elbo: value, evidence }),
  fields: [
    { name: "decoder", label: "Decoder", values: NAMES },
    { name: "x", label: "Observation x", min: -3, max: 3, step: 0.1 },
    { name: "noise", label: "Decoder's sigma", min: 0.1, max: 3, step: 0.1 },
    { name: "mean", label: "Mean of q", min: -3, max: 3, step: 0.01 },
    { name: "deviation", label: "Deviation of q", min: 0.05, max: 2, step: 0.01 },
  ],
  presets: [
    { id: "line", title: "A straight decoder", good: true, settings: {}, claim: { steps: 300, gap: [-1e-3, 0.01] },
      sentence: "The true posterior is normal, so q can equal it: fitted, the gap is 0, and the ELBO is log p(x)." },
    { id: "two", title: "Two explanations", good: false, settings: { decoder: "square", noise: 0.4, mean: 0.4, deviation: 0.5 }, claim: { steps: 300, gap: [0.5, 0.9] },
      sentence: "Both z and -z explain x. A normal q takes one of the two peaks: a gap of about log 2 = 0.69 nats stays, however long you fit." },
    { id: "prior", title: "A decoder that hears nothing", good: false, settings: { noise: 3, x: 1, mean: 2, deviation: 0.4 }, claim: { steps: 300, kl: [0, 0.1], gap: [-1e-3, 0.02] },
      sentence: "With so much noise x says little about z: q falls back to the prior and the KL to almost 0. This is posterior collapse." },
    { id: "wave", title: "A wavy decoder", settings: { decoder: "wave", noise: 0.3, x: 0.5, mean: 2, deviation: 0.3 }, claim: { steps: 300, gap: [0.3, 20] },
      sentence: "Where q ends depends on where it starts: gradient ascent finds the nearest peak, not the best one." },
  ],

  draw(paper, frame) {
    const tall = 1.5, { q, evidence, elbo: value, reconstruction, kl } = frame;
    paper.style("line", 1).line([[-3.5, 0], [3.5, 0]]);
    bell(paper, { mean: 0, deviation: 1 }, 0, tall, "muted");
    const height = Math.min(tall, HIGH / Math.max(...frame.posterior)), curve = GRID.map((z, i) => [z, height * frame.posterior[i]]).filter(([z]) => Math.abs(z) <= 3.5);
    paper.style("real", 1, "real", 0.18).line([...curve, [3.5, 0], [-3.5, 0]], true, true);
    paper.style("real", 2.2, "real", 1).line(curve);
    bell(paper, q, 0, tall, "generated", true);
    // The bound, below the axis: from log p(x) - 8 nats to log p(x).
    const low = evidence - 6, x = (nats) => -3.3 + (6.2 * (Math.max(low, nats) - low)) / 6, y = -0.9;
    const bar = (from, to, colour, alpha) => paper.style(colour, 1, colour, alpha).line([[from, y], [to, y], [to, y + 0.28], [from, y + 0.28]], true, true);
    bar(x(low), x(value), "generated", 0.75);
    bar(x(value), x(evidence), "probe", 0.9);
    paper.style("real", 2.5).line([[x(evidence), y - 0.1], [x(evidence), y + 0.38]]);
    paper.style("ink", 1);
    paper.words(`ELBO ${value.toFixed(2)}`, -3.3, y + 0.38);
    paper.words(`gap ${(evidence - value).toFixed(2)}`, x(evidence), y - 0.34, { align: "right" });
    paper.words(`log p(x) ${evidence.toFixed(2)}`, x(evidence), y + 0.45, { align: "right" });
    paper.words(`= reconstruction ${reconstruction.toFixed(2)} - KL ${kl.toFixed(2)}`, -3.3, y - 0.34);
  },
  words: ({ evidence, elbo: value, kl, q }) => `q = N(${q.mean.toFixed(2)}, ${q.deviation.toFixed(2)}²): ELBO ${value.toFixed(2)}, log p(x) ${evidence.toFixed(2)}, gap ${(evidence - value).toFixed(2)} nats, KL to the prior ${kl.toFixed(2)}.`,
  pointer(event) {
    if (!event.held) return null;
    const to = dragged(event, event.frame.q, { mean: [-3, 3], deviation: [0.05, 2] });
    return to && { draft: { part: to.part }, settings: { mean: to.mean, deviation: to.deviation } };
  },
};
