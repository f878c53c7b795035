// Paths between two codes in a plane of the latent space, and the drawn faces that a small decoder makes along them.
import { along, norm } from "../../paths.js";
import { faces } from "../faces.js";
import { stream } from "../networks.js";

const HOWS = [["linear", "line", "muted"], ["slerp", "slerp", "generated"], ["rotate", "rotate", "probe"]];
const FINE = 41, SHOWN = 5;
const SHELL = 0.71; // standard deviation of the norm of a random code, whatever its length

const unit = (v) => { const length = norm(v); return v.map((x) => x / length); };
// Two directions at right angles, by the seed; a code of the plane is x u + y v, in units of sqrt(D).
function plane(seed, dimensions) {
  const rng = stream(seed, "plane"), draw = () => Array.from({ length: dimensions }, () => rng.normal()), u = unit(draw()), w = draw();
  const shared = w.reduce((sum, x, i) => sum + x * u[i], 0);
  return [u, unit(w.map((x, i) => x - shared * u[i]))];
}

class Paths {
  constructor(settings) {
    this.settings = settings;
    this.decoder = faces();
    this.root = Math.sqrt(this.decoder.dimensions);
    this.axes = plane(settings.seed, this.decoder.dimensions);
    this.at = 0;
    const { ax, ay, bx, by } = settings;
    this.flat = Object.fromEntries(HOWS.map(([how]) => [how, along([ax, ay], [bx, by], FINE, how)]));
    const images = ([x, y]) => this.decode(x, y).slice();
    this.strips = HOWS.map(([how]) => along([ax, ay], [bx, by], SHOWN, how).map(images));
  }
  decode(x, y) { const [u, v] = this.axes; return this.decoder.decode(u.map((value, i) => this.root * (x * value + y * v[i]))); }
  step() { this.at = (this.at + 1) % FINE; return 1; }
  frame() { return { at: this.at, flat: this.flat, strips: this.strips, now: HOWS.map(([how]) => this.decode(...this.flat[how][this.at]).slice()), shell: SHELL / this.root }; }
  // Norm of each path's middle, in sqrt(D), and how far its image is from that of the mean code.
  measure() {
    const mean = this.decode(0, 0).slice(), found = {};
    for (const [how] of HOWS) {
      const middle = this.flat[how][(FINE - 1) / 2], image = this.decode(...middle);
      found[how] = norm(middle);
      found[`${how}_unusual`] = Math.sqrt(image.reduce((sum, v, i) => sum + (v - mean[i]) ** 2, 0) / image.length);
    }
    return { ...found, fainter: found.linear_unusual / found.slerp_unusual };
  }
}

const clamp = (v) => Math.round(100 * Math.max(-1.4, Math.min(1.4, v))) / 100;
const LEFT = -0.5, TOP = 0.6, SCALE = 0.33; // where the plane lies on the paper
const place = ([x, y]) => [LEFT + SCALE * x, TOP + SCALE * y];

export const paths = {
  id: "paths",
  title: "Paths between two codes",
  short: "Paths",
  question: "Two codes, and three ways from one to the other. Where does each pass, and which faces are decoded on the way?",
  first: "Drag the codes A and B. The ring is where random codes lie; the decoder's training hardly ever saw a code far inside or outside it.",
  model: (settings) => new Paths(settings),
  defaults: { ax: 1, ay: 0, bx: 0, by: 1, seed: 7 },
  length: FINE - 1,
  pace: 16,
  aspect: 0.93,
  span: { span: 1, aspect: 0.93 },
  shared: ["seed"],
  legend: [["muted", "straight line"], ["generated", "slerp"], ["probe", "rotate"], ["real", "ring and band: norm of random codes, 1 on average, and one standard deviation around it"]],
  curves: [],
  fields: [
    ...[["ax", "A, right"], ["ay", "A, up"], ["bx", "B, right"], ["by", "B, up"]].map(([name, label]) => ({ name, label, min: -1.4, max: 1.4, step: 0.01 })),
    { name: "seed", label: "Seed of the plane", number: true, min: 0, max: 9999, step: 1 },
  ],
  presets: [
    { id: "random", title: "Two random codes", settings: {}, claim: { steps: 0, linear: [0.7, 0.72], slerp: [0.99, 1.01], rotate: [0.99, 1.01], fainter: [0, 0.98] },
      sentence: "Random codes are nearly at right angles. The middle of the line has 0.71 of their norm, and its face is nearer to the mean face. Slerp and rotate stay on the ring." },
    { id: "near", title: "Two similar codes", good: true, settings: { bx: 0.87, by: 0.5 }, claim: { steps: 0, linear: [0.95, 0.98], slerp: [0.99, 1.01], rotate: [0.99, 1.01] },
      sentence: "At 30 degrees the middle of the line has 0.97 of the norm. All three paths decode to nearly the same faces." },
    { id: "lengths", title: "Different norms", settings: { ax: 0.4, bx: 0, by: 1.3 }, claim: { steps: 0, linear: [0.6, 0.72], slerp: [0.92, 0.99], rotate: [0.84, 0.86] },
      sentence: "The norms are 0.4 and 1.3. At the middle of rotate the norm is their mean, 0.85. Slerp is at 0.96: it mixes the raw codes." },
    { id: "opposite", title: "Nearly opposite", good: false, settings: { ax: 1.2, bx: -0.5, by: 0.05 }, claim: { steps: 0, linear: [0.3, 0.4], slerp: [4, 20], rotate: [0.84, 0.86] },
      sentence: "Slerp divides by a small sine: the middle has seven times the norm of a random code, and its face falls apart. Rotate stays between the two norms." },
  ],

  draw(paper, frame, { settings }) {
    const { shell } = frame, c = paper.context, side = 1.4 * SCALE;
    c.save();
    c.beginPath();
    const [left, top] = paper.at(LEFT - side, TOP + side), [right, bottom] = paper.at(LEFT + side, TOP - side);
    c.rect(left, top, right - left, bottom - top);
    c.clip();
    paper.style("real", (2 * shell * SCALE * paper.scale) / paper.ratio, "real", 0.22).ellipse(LEFT, TOP, SCALE, SCALE);
    paper.style("real", 1.2, "real", 0.9).ellipse(LEFT, TOP, SCALE, SCALE);
    paper.disc(LEFT, TOP, 2.5);
    for (const [how, , colour] of HOWS) {
      paper.style(colour, 2.4).line(frame.flat[how].map(place));
      paper.disc(...place(frame.flat[how][frame.at]), 5);
    }
    c.restore();
    for (const [letter, x, y] of [["A", settings.ax, settings.ay], ["B", settings.bx, settings.by]]) {
      const at = place([x, y]);
      paper.style("ink", 2, "card", 1).disc(...at, 9);
      paper.ring(...at, 9);
      paper.style("ink", 1).words(letter, ...at, { align: "center", size: 11, pixels: [0, 4] });
    }
    this.norms(paper, frame);
    const gap = 0.02, wide = (2 - gap * (SHOWN + 2)) / (SHOWN + 1), high = 0.4;
    HOWS.forEach(([how, words, colour], row) => {
      const y = 0.09 - row * high;
      frame.strips[row].forEach((image, i) => paper.image(picture(image), -1 + i * (wide + gap), y, wide));
      paper.image(picture(frame.now[row]), 1 - wide, y, wide);
      paper.style(colour, 1).words(words, -1, y, { size: 10, pixels: [0, -3] });
      paper.style("muted", 1).words(`t = ${(frame.at / (FINE - 1)).toFixed(2)}`, 1 - wide, y, { size: 10, pixels: [0, -3] });
    });
  },

  // The norm along each path, in sqrt(D), over t.
  norms(paper, frame) {
    const x = (t) => 0.14 + 0.82 * t, y = (value) => TOP - 0.42 + 0.6 * Math.min(1.5, value);
    paper.style("real", 1, "real", 0.2).line([[x(0), y(1 - frame.shell)], [x(1), y(1 - frame.shell)], [x(1), y(1 + frame.shell)], [x(0), y(1 + frame.shell)]], true, true);
    paper.style("line", 1).line([[x(0), y(0)], [x(1), y(0)]]);
    for (const [how, , colour] of HOWS) {
      const values = frame.flat[how].map(norm);
      paper.style(colour, 2).line(values.map((value, i) => [x(i / (FINE - 1)), y(value)]));
      paper.disc(x(frame.at / (FINE - 1)), y(values[frame.at]), 4);
    }
    paper.style("muted", 1);
    paper.words("norm, from A to B", x(0), y(1.5), { size: 10, pixels: [0, -3] });
    paper.words("1", x(0), y(1), { size: 10, align: "right", pixels: [-4, 3] });
    paper.words("0", x(0), y(0), { size: 10, align: "right", pixels: [-4, 3] });
  },

  words: (frame, settings, measured) => (measured ? `In the middle the norm is ${HOWS.map(([how, words]) => `${measured[how].toFixed(2)} (${words})`).join(", ")} of what random codes have.` : ""),
  pointer({ kind, at, settings, draft, held }) {
    if (!held || kind === "up") return null;
    const x = (at[0] - LEFT) / SCALE, y = (at[1] - TOP) / SCALE, { ax, ay, bx, by } = settings;
    if (kind === "down" && Math.max(Math.abs(x), Math.abs(y)) > 1.5) return { draft: { part: "" } };
    const part = kind === "down" ? (Math.hypot(x - ax, y - ay) < Math.hypot(x - bx, y - by) ? "a" : "b") : draft.part;
    return part ? { draft: { part }, settings: { [`${part}x`]: clamp(x), [`${part}y`]: clamp(y) } } : null;
  },
};

// Three planes of size * size values in [0, 1] as an image.
function picture(values) {
  const count = values.length / 3, size = Math.sqrt(count), image = new ImageData(size, size);
  for (let i = 0; i < count; i++) { for (let c = 0; c < 3; c++) image.data[4 * i + c] = 255 * values[c * count + i]; image.data[4 * i + 3] = 255; }
  return image;
}
