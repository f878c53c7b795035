// An autoencoder or a VAE: what it decodes, and where its codes lie.
import { colour } from "../../colours.js";
import { CODER_DEFAULTS } from "../coder.js";
import { digits } from "../digits.js";
import { held, offered } from "../golden.js";
import { greys } from "../paper.js";
import { Plane, SHAPES } from "../plane.js";

const numbers = (...values) => values.map((v) => [v, String(v)]);
const off = (...values) => values.map((v) => [v, v ? String(v) : "off"]);
const NAMES = { vae: "VAE", ae: "autoencoder" };
const vae = ({ model }) => model === "vae";
const clamp = (v, span) => Math.max(-span, Math.min(span, v));
const SHOWN = 200;

// The next of the shown images that is this digit.
function nextOf(digit, frame) {
  const { labels } = digits(), from = frame?.watched ? frame.watched.row + 1 : 0;
  return Array.from({ length: SHOWN }, (_, i) => (from + i) % SHOWN).find((i) => labels[i] === digit);
}

// Each digit, and the mean place of its codes.
function middles(labels, count, at) {
  return Array.from({ length: 10 }, (_, digit) => {
    const places = Array.from({ length: count }, (_, i) => i).filter((i) => labels[i] === digit).map(at);
    return [String(digit), ...[0, 1].map((k) => places.reduce((sum, place) => sum + place[k], 0) / places.length)];
  });
}

export const coder = {
  id: "coder",
  title: "Autoencoder and VAE",
  short: "Autoencoder, VAE",
  question: "The encoder turns an image into a code of a few numbers, the decoder turns it back. What does the space between the codes decode to?",
  first: "Press Play. Left: the codes, one ellipse for each image's posterior. Right: what evenly spaced codes decode to. Point at a place among the codes to decode it, or type a digit to look at one.",
  engine: "coder",
  defaults: { ...CODER_DEFAULTS, width: 64 },
  length: 3000,
  pace: 100,
  aspect: 1.75,
  span: { span: 2, aspect: 1.75 },
  shared: ["data", "own", "seed"],
  hovers: true,
  typed: { label: "Type a digit", when: ({ data }) => data === "digits", pattern: /^[0-9]$/, look: (digit, frame) => ({ row: nextOf(Number(digit), frame) }) },
  legend: [["line", "left: codes in the two most active dimensions, a colour for each digit; circles: the prior's one and two standard deviations"], ["real", "right, in the plane: data"], ["generated", "the same data, encoded and decoded"], ["probe", "samples of the prior; of digits, the place (here) or image that you look at, and what its posterior's mean and a sample decode to"]],
  curves: [["reconstruction", "reconstruction, nats", "real"], ["kl", "KL, nats", "generated"]],
  fields: [
    { name: "model", label: "Model", values: offered("model").map((name) => [name, NAMES[name]]) },
    { name: "data", label: "Data", values: [["digits", "8x8 digits"], ...SHAPES.filter(([name]) => name !== "own")] },
    { name: "beta", label: "Beta", values: numbers(0, 0.1, 0.25, 0.5, 1, 2, 4, 10), when: vae, hint: "Weight of the KL; 1 is the ELBO." },
    { name: "latent_dim", label: "Size of the code", values: numbers(1, 2, 4, 8, 16) },
    ...[
      { name: "kl_warmup_images", label: "KL warm-up, images", values: off(0, 10000, 30000, 100000), when: vae, hint: "The weight of the KL rises from 0 over so many images." },
      { name: "free_bits", label: "Free nats a dimension", values: off(0, 0.1, 0.5, 1), when: vae, hint: "KL of a dimension that costs nothing." },
    ].filter((field) => held(field.name)),
    { name: "sigma", label: "Decoder's sigma", values: numbers(0.03, 0.05, 0.1, 0.2, 0.5), when: (s) => vae(s) && s.data !== "digits", hint: "Standard deviation of p(x | z) in the plane." },
    { name: "lr", label: "Learning rate", values: numbers(0.0003, 0.001, 0.002, 0.005, 0.02) },
    { name: "width", label: "Units a layer", values: numbers(16, 32, 64, 128), more: true },
    { name: "layers", label: "Layers", values: numbers(1, 2, 3), more: true },
    { name: "batch", label: "Batch", values: numbers(32, 64, 128), more: true },
    { name: "seed", label: "Seed", number: true, min: 0, max: 9999, step: 1 },
  ],
  presets: [
    { id: "vae", title: "VAE of digits", good: true, settings: {}, claim: { steps: 300, active: [2, 2], kl: [0.6, 5], norm: [0.5, 1.5] },
      sentence: "The KL keeps the codes within the prior's circles and makes each an ellipse: after 300 steps both dimensions are in use, and neighbouring codes decode to similar digits." },
    { id: "ae", title: "Autoencoder: no prior", settings: { model: "ae" }, against: { model: "vae" }, claim: { steps: 300, error: [0, 0.05], norm: [2, 100] }, claimAgainst: { steps: 300, norm: [0.4, 1.5] },
      sentence: "A has no KL, and its codes spread far beyond the circle of a prior: twice as far as B's or more. B is a VAE of the same seed. Where would you sample?" },
    { id: "collapse", title: "Posterior collapse", good: false, settings: { beta: 4 }, claim: { steps: 300, active: [0, 0], kl: [0, 0.05], error: [0.065, 0.1] },
      sentence: "With beta 4 a code costs more than it saves: within 300 steps no dimension is in use, and every code decodes to the mean image." },
    { id: "free", title: "Free nats help", good: true, settings: { beta: 4 }, against: { free_bits: 0.5 }, claim: { steps: 300, active: [0, 0] }, claimAgainst: { steps: 300, active: [2, 2], kl: [0.5, 2] },
      sentence: "Half a nat for each dimension costs B nothing: after 300 steps both of its dimensions are in use, none of A's." },
    { id: "warm", title: "A warm-up only delays", good: false, settings: { beta: 4, kl_warmup_images: 30000 }, claim: { steps: 200, active: [1, 2] }, claimLater: { steps: 650, active: [0, 0] },
      sentence: "The KL's weight rises over 30,000 images. At first the code is in use; when the weight is near 4, after some 500 steps, it collapses all the same." },
    { id: "beta", title: "Sharp or smooth", settings: { beta: 0.1 }, against: { beta: 1 }, claim: { steps: 300, kl: [4, 9] }, claimAgainst: { steps: 300, kl: [0.6, 3.5] },
      sentence: "With beta 0.1 A keeps more than 4 nats about an image, in small ellipses with gaps between them. B keeps fewer than 3.5, and fills the prior." },
    { id: "moons", title: "Moons by one number", good: true, settings: { data: "moons", latent_dim: 1 }, claim: { steps: 400, active: [1, 1], error: [0, 0.02] },
      sentence: "One number a point: the decoder bends a line through both moons. After 400 steps the squared error is below 0.02, and it goes on falling." },
    { id: "deaf", title: "A decoder too vague", good: false, settings: { data: "ring", sigma: 0.5 }, claim: { steps: 300, error: [0.1, 0.4], kl: [0, 0.6] },
      sentence: "A decoder's sigma of 0.5 calls every error small: the code says little (a KL below 0.6), and points are decoded far from where they were (error above 0.1)." },
  ],

  draw(paper, frame, { settings }) {
    const scale = 0.94 / frame.span, at = (i) => [-1 + frame.centres[2 * i] * scale, frame.centres[2 * i + 1] * scale];
    const labels = settings.data === "digits" ? digits().labels : null, n = frame.centres.length / 2;
    const c = paper.context;
    c.save();
    c.beginPath();
    c.rect(0, 0, paper.width / 2, paper.height);
    c.clip();
    if (settings.model === "vae") { paper.style("line", 1.5); for (const r of [1, 2]) paper.ellipse(-1, 0, r * scale, r * scale); }
    for (let i = 0; i < n; i++) {
      const [x, y] = at(i), tint = labels ? colour(labels[i]) : "real";
      paper.style(tint, 1, tint, 0.28);
      if (frame.radii[2 * i] || frame.radii[2 * i + 1]) paper.ellipse(x, y, frame.radii[2 * i] * scale, Math.max(0.004, frame.radii[2 * i + 1] * scale), true);
      paper.style(tint, 1, tint, 1).disc(x, y, 2.2);
    }
    if (labels) for (const [digit, x, y] of middles(labels, n, at)) paper.style("ink", 1, "ink", 1).words(digit, x, y, { align: "center", size: 15, pixels: [0, 5] });
    c.restore();
    if (labels) this.drawDigits(paper, frame, at);
    else this.drawPlane(paper, frame, settings);
  },

  drawDigits(paper, frame, at) {
    paper.image(greys(frame.grid, 8, frame.side, 1), 0.1, 1.08, 1.52);
    paper.style("probe", 2.5);
    const { watched, atCode, code } = frame, scale = 0.94 / frame.span, strip = [];
    if (code) { paper.ring(-1 + code[0] * scale, code[1] * scale, 6); strip.push(["here", atCode]); }
    if (watched) { paper.ring(...at(watched.row), 9); strip.push(["image", watched.image], ["mean", watched.decoded.subarray(0, 64)], ["a sample", watched.decoded.subarray(64, 128)]); }
    strip.forEach(([words, values], i) => {
      const x = 0.1 + 0.48 * i;
      paper.image(greys(values, 8, 1), x, -0.52, 0.4);
      paper.style("muted", 1).words(words, x, -0.92, { size: 11, pixels: [0, 12], most: 0.45 });
    });
  },

  drawPlane(paper, frame, settings) {
    const data = new Plane(settings.data), x = data.reference;
    const moved = (values) => Array.from(values, (v, i) => (i % 2 ? 0.94 * v : 1 + 0.94 * v));
    paper.style("real", 1, "real", 0.5);
    paper.dots(moved(x.flat()), 5);
    // The decoder bends a net of codes.
    paper.style("line", 1, "line", 1);
    const net = moved(frame.grid), side = frame.side, node = (i) => [net[2 * i], net[2 * i + 1]];
    if (frame.of > 1) for (let r = 0; r < side; r += 2) {
      paper.line(Array.from({ length: side }, (_, k) => node(r * side + k)));
      paper.line(Array.from({ length: side }, (_, k) => node(k * side + r)));
    } else paper.style("generated", 2).line(Array.from({ length: side }, (_, k) => node(k)));
    paper.style("generated", 1, "generated", 0.9).dots(moved(frame.decoded), 3);
    paper.style("probe", 1, "probe", 1).dots(moved(frame.samples), 4);
  },

  words(frame, settings, measured) {
    const { reconstruction, kl } = frame.losses, seen = Number.isFinite(reconstruction) ? `reconstruction ${reconstruction.toFixed(1)}${Number.isFinite(kl) ? `, KL ${kl.toFixed(2)} nats` : ""}; ` : "";
    const error = measured ? `, mean squared error ${measured.error.toPrecision(2)}` : "";
    const looked = frame.watched ? ` Image ${frame.watched.row}, a ${digits().labels[frame.watched.row]}.` : "";
    return `Step ${frame.steps}: ${seen}${frame.active} of ${frame.of} dimensions in use${error}.${looked}`;
  },
  values: (frame) => frame.losses,

  pointer({ at, frame, settings }) {
    if (settings.data !== "digits" || at[0] > 0 || !frame) return null;
    return { look: { code: [clamp(((at[0] + 1) * frame.span) / 0.94, frame.span), clamp((at[1] * frame.span) / 0.94, frame.span)] } };
  },
  // Digits look up an image of that digit; arrows move the code.
  key({ key, frame, settings }) {
    if (settings.data !== "digits" || !frame) return null;
    if (/^[0-9]$/.test(key)) return { look: { row: nextOf(Number(key), frame) } };
    const by = frame.span / 25, moves = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, by], ArrowDown: [0, -by] }, [x, y] = frame.code || [0, 0];
    return moves[key] ? { look: { code: [clamp(x + moves[key][0], frame.span), clamp(y + moves[key][1], frame.span)] } } : null;
  },
};
