// One pixel that the code does not determine: what the squared error, the critic and their sum want it to be.
import { axis, density } from "./bell.js";

const GRID = axis(-1, 1, 401), STEP = GRID[1] - GRID[0];
const FLAT = 0.5; // density of the fakes that the critic has learned from: anywhere in [-1, 1]

// The pixel's density over the data: dark or light, `share` of them light.
const data = ({ share, apart, blur }) => (y) => (1 - share) * density(y, -apart, blur) + share * density(y, apart, blur);

// What each part of the loss says of the answer y.
export function losses(settings) {
  const p = data(settings), total = GRID.reduce((sum, y) => sum + p(y), 0) * STEP;
  const mean = (GRID.reduce((sum, y) => sum + y * p(y), 0) * STEP) / total, square = (GRID.reduce((sum, y) => sum + y * y * p(y), 0) * STEP) / total;
  const error = (y) => square - 2 * mean * y + y * y;
  const critic = (y) => p(y) / (p(y) + FLAT);
  const { lambda, form } = settings, vae = form === "mix" ? 1 - lambda : 1;
  return { p, mean, variance: square - mean * mean, error, critic, loss: (y) => (vae * error(y)) / (2 * settings.sigma ** 2) - lambda * Math.log(critic(y)) };
}

class Pixel {
  constructor(settings) { this.settings = settings; this.parts = losses(settings); this.y = settings.y; }
  // Gradient descent, by differences, with a bounded step.
  step() {
    const h = 1e-3, { loss } = this.parts, slope = (loss(this.y + h) - loss(this.y - h)) / (2 * h);
    this.y = Math.max(-1, Math.min(1, this.y - Math.max(-0.02, Math.min(0.02, 0.01 * slope))));
    return 1;
  }
  frame() { const { error, critic, loss, variance } = this.parts; return { y: this.y, parts: this.parts, error: error(this.y), real: critic(this.y), loss: loss(this.y), variance }; }
  // The error in the pixel's variance, the least that is possible; and how real the critic finds the answer.
  measure() { const { error, critic, variance } = this.parts; return { y: this.y, ratio: error(this.y) / variance, real: critic(this.y) }; }
}

export const lambda = {
  id: "lambda",
  title: "One pixel between error and critic",
  short: "VAE-GAN, one pixel",
  question: "In the data a pixel is dark or light, and the code does not say which. What should the decoder answer: the grey between, or one of the two?",
  first: "Press Play: gradient descent moves the answer, the violet dot, downhill. Then raise lambda, the critic's weight, and play again. Drag the dot to start elsewhere.",
  model: (settings) => new Pixel(settings),
  defaults: { lambda: 0, form: "sum", share: 0.5, apart: 0.6, blur: 0.12, sigma: 0.5, y: 0.08 },
  length: 300,
  pace: 30,
  aspect: 1.7,
  span: { span: 1.15, aspect: 1.7 },
  legend: [["real", "how often the pixel has each value in the data"], ["probe", "the critic's answer: how real a value looks"], ["muted", "the loss of each answer"], ["generated", "the decoder's answer"]],
  curves: [["error", "squared error", "generated"], ["real", "critic's answer", "probe"]],
  values: ({ error, real }) => ({ error, real }),
  fields: [
    { name: "lambda", label: "Lambda", min: 0, max: 1, step: 0.01, hint: "Weight of the critic." },
    { name: "form", label: "Loss", values: [["sum", "VAE + lambda GAN"], ["mix", "(1 - lambda) VAE + lambda GAN"]] },
    { name: "share", label: "Share of light pixels", min: 0.05, max: 0.95, step: 0.05 },
    { name: "y", label: "First answer", min: -1, max: 1, step: 0.01 },
    { name: "sigma", label: "Decoder's sigma", min: 0.2, max: 1, step: 0.05, more: true },
    { name: "apart", label: "Dark and light at", min: 0.2, max: 0.8, step: 0.05, more: true },
    { name: "blur", label: "Spread of each", min: 0.06, max: 0.3, step: 0.01, more: true },
  ],
  presets: [
    { id: "blur", title: "No critic: grey", good: false, settings: {}, claim: { steps: 300, y: [-0.02, 0.02], ratio: [0.99, 1.01], real: [0, 0.05] },
      sentence: "The squared error is least at the mean, a grey that no image of the data has. That is why a VAE's images are soft. The critic, had it a say, would give it less than 0.05." },
    { id: "sharp", title: "A critic: dark or light", good: true, settings: {}, against: { lambda: 1 }, claim: { steps: 300, real: [0, 0.05] }, claimAgainst: { steps: 300, y: [0.45, 0.6], ratio: [1.6, 2], real: [0.65, 1] },
      sentence: "With lambda 1, B leaves the grey for a value that exists. Its squared error is more than 1.6 times as large: when it answers light, half of the images are dark." },
    { id: "little", title: "A little is not enough", good: false, settings: { lambda: 0.05 }, claim: { steps: 300, y: [0.2, 0.35], ratio: [1.1, 1.3], real: [0, 0.1] },
      sentence: "At lambda 0.05 the answer has moved, and the error has grown. But it is still a grey that hardly an image has: the critic gives it less than 0.1." },
    { id: "pure", title: "The critic alone", good: false, settings: { form: "mix", lambda: 1, share: 0.05, y: 0.3 }, claim: { steps: 300, y: [0.4, 0.7], ratio: [8, 30] },
      sentence: "In the mix, lambda 1 leaves no error at all. One pixel in twenty is light, and the answer is light because it began nearby: it looks real and is wrong 19 times of 20." },
  ],

  draw(paper, frame) {
    const { p, critic, loss } = frame.parts, floor = -0.6, most = Math.max(...GRID.map(p)), values = GRID.map(loss);
    const low = Math.min(...values), high = Math.min(Math.max(...values), low + 6) - low || 1, level = (v) => floor + 0.12 + 0.95 * Math.min(1.06, (v - low) / high);
    paper.style("line", 1).line([[-1.1, floor], [1.1, floor]]);
    const heap = GRID.map((y) => [y, floor + (0.62 * p(y)) / most]);
    paper.style("real", 1, "real", 0.18).line([...heap, [1, floor], [-1, floor]], true, true);
    paper.style("real", 2, "real", 1).line(heap);
    paper.style("probe", 2).line(GRID.map((y) => [y, floor + 0.62 * critic(y)]));
    const inside = GRID.map((y, i) => [y, level(values[i])]), seen = ([, v]) => v < floor + 1.12;
    paper.style("muted", 2.6);
    for (let from = 0; from < inside.length; from++) {
      const length = inside.slice(from).findIndex((one) => !seen(one)), piece = inside.slice(from, length < 0 ? undefined : from + length);
      if (piece.length) paper.line(piece);
      from += piece.length;
    }
    const grey = Math.round(127.5 * (1 + frame.y)), y = level(frame.loss);
    paper.style("generated", 1.5).line([[frame.y, floor], [frame.y, y]]);
    paper.style("generated", 2.5, `rgb(${grey}, ${grey}, ${grey})`, 1).disc(frame.y, y, 9);
    paper.ring(frame.y, y, 9);
    paper.style("muted", 1);
    for (const [x, words] of [[-1, "black"], [0, "grey"], [1, "white"]]) paper.words(words, x, floor, { align: "center", size: 11, pixels: [0, 16] });
  },
  words: ({ y, error, variance, real }) => `The answer is ${y.toFixed(2)}. Squared error ${error.toFixed(2)}, ${(error / variance).toFixed(2)} times the least possible; the critic takes it for real with ${real.toFixed(2)}.`,
  pointer({ at, held, kind }) { return held && kind !== "up" ? { settings: { y: Math.round(100 * Math.max(-1, Math.min(1, at[0]))) / 100 } } : null; },
};
