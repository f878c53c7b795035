// A transposed convolution as stamps: every input pixel sets down the kernel, scaled by its value, `stride` pixels on.
import { stream } from "../networks.js";
import { role } from "../../colours.js";

// (n - 1) stride - 2 padding + kernel + output padding
export const sizeOut = ({ size, kernel, stride, padding, extra }) => (size - 1) * stride - 2 * padding + kernel + extra;

export function weights({ kernel, weights: kind, seed }) {
  const rng = stream(seed, "weights"), middle = (kernel - 1) / 2;
  return Array.from({ length: kernel * kernel }, (_, i) => {
    const [y, x] = [Math.floor(i / kernel), i % kernel];
    if (kind === "ones") return 1;
    return kind === "bilinear" ? [x, y].reduce((p, v) => p * (1 - Math.abs(v - middle) / (middle + 0.5)), 1) * (kernel % 2 ? 1 : 1.3) : rng.normal();
  });
}
export const inputs = ({ size, input, seed }) => { const rng = stream(seed, "input"), centre = Math.floor(size / 2); return Array.from({ length: size * size }, (_, i) => (input === "ones" ? 1 : input === "one" ? Number(i === centre * size + centre) : rng.uniform())); };

// The output and how many stamps touch each of its pixels, after the first `count` stamps.
export function stamped(settings, count = Infinity) {
  const { size, kernel, stride, padding } = settings, out = sizeOut(settings), values = new Array(out * out).fill(0), touched = new Array(out * out).fill(0), w = weights(settings), x = inputs(settings);
  for (let n = 0; n < Math.min(count, size * size); n++) for (let i = 0; i < kernel * kernel; i++) {
    const row = Math.floor(n / size) * stride - padding + Math.floor(i / kernel), column = (n % size) * stride - padding + (i % kernel);
    if (row < 0 || column < 0 || row >= out || column >= out) continue;
    values[row * out + column] += x[n] * w[i];
    touched[row * out + column] += 1;
  }
  return { values, touched, out };
}

class Stamps {
  constructor(settings) { this.settings = settings; this.done = 0; this.all = settings.size ** 2; }
  step() { this.done = this.done >= this.all ? 1 : this.done + 1; return 1; }
  frame() { return { ...stamped(this.settings, this.done), done: this.done, w: weights(this.settings), x: inputs(this.settings), valid: sizeOut(this.settings) > 0 }; }
  // Of the pixels that are a kernel's width from the border: do equally many stamps touch all of them?
  measure() {
    const { touched, out } = stamped(this.settings), k = this.settings.kernel, inner = touched.filter((_, i) => [Math.floor(i / out), i % out].every((v) => v >= k - 1 && v < out - k + 1));
    return { size: out, least: Math.min(...inner), most: Math.max(...inner) };
  }
}

const numbers = (...values) => values.map((v) => [v, String(v)]);

export const transposed = {
  id: "transposed",
  title: "Transposed convolution",
  short: "Transposed convolution",
  question: "How does a decoder make a larger image from a smaller one? Each pixel of the input stamps the kernel onto the output.",
  first: "Press Play and watch the stamps, one for each input pixel. The numbers say how many stamps touch each output pixel: where they differ, a checkerboard appears.",
  model: (settings) => new Stamps(settings),
  defaults: { size: 4, kernel: 4, stride: 2, padding: 1, extra: 0, weights: "ones", input: "ones", seed: 0 },
  length: ({ size }) => size * size,
  pace: 5,
  stepLabel: "One stamp",
  aspect: 1.9,
  span: { span: 1.9, aspect: 1.9 },
  shared: ["seed"],
  toggles: [{ name: "counts", label: "Count the stamps on each pixel", on: true }],
  legend: [["real", "input, and the pixel that stamps now"], ["generated", "output: the darker, the larger"]],
  curves: [],
  fields: [
    { name: "size", label: "Input", values: [2, 3, 4, 5].map((v) => [v, `${v}x${v}`]) },
    { name: "kernel", label: "Kernel", values: numbers(1, 2, 3, 4, 5) },
    { name: "stride", label: "Stride", values: numbers(1, 2, 3) },
    { name: "padding", label: "Padding", values: numbers(0, 1, 2), hint: "So many pixels are cut off on each side of the output." },
    { name: "extra", label: "Output padding", values: numbers(0, 1), hint: "Rows and columns added on one side." },
    { name: "weights", label: "Kernel's weights", values: [["ones", "all 1"], ["bilinear", "bilinear"], ["random", "random"]] },
    { name: "input", label: "Input's values", values: [["ones", "all 1"], ["one", "one pixel"], ["random", "random"]] },
    { name: "seed", label: "Seed", number: true, min: 0, max: 9999, step: 1, more: true },
  ],
  presets: [
    { id: "even", title: "Kernel 4, stride 2", good: true, settings: {}, claim: { steps: 16, size: [8, 8], least: [4, 4], most: [4, 4] },
      sentence: "The stride divides the kernel: inside, four stamps touch every pixel, and the output is even. Padding 1 makes it exactly twice the input." },
    { id: "uneven", title: "Kernel 3, stride 2", good: false, settings: { kernel: 3, extra: 1 }, against: { kernel: 4, extra: 0 }, claim: { steps: 16, size: [8, 8], least: [1, 1], most: [4, 4] },
      sentence: "The stride does not divide the kernel: one, two or four stamps touch a pixel. Even a flat input gives a checkerboard, until training unlearns it." },
    { id: "apart", title: "Kernel 2, stride 2", settings: { kernel: 2, padding: 0 }, claim: { steps: 16, size: [8, 8], least: [1, 1], most: [1, 1] },
      sentence: "The stamps lie side by side: no checkerboard, but no pixel hears of a neighbour either, and blocks show." },
    { id: "bilinear", title: "Bilinear weights", good: true, settings: { weights: "bilinear", input: "random" }, claim: { steps: 16, size: [8, 8], least: [4, 4], most: [4, 4] },
      sentence: "With these weights the stamps blend into each other: the layer enlarges the image smoothly. A trained layer may find them." },
  ],

  draw(paper, frame, { settings, shown }) {
    const { size } = settings, { out } = frame, high = Math.max(...frame.values.map(Math.abs), 1e-9);
    const cells = (values, n, x, y, wide, colour, most, label) => {
      const cell = wide / n;
      for (let i = 0; i < n * n; i++) {
        const left = x + (i % n) * cell, top = y - Math.floor(i / n) * cell, corners = [[left, top], [left + cell, top], [left + cell, top - cell], [left, top - cell]];
        paper.style("line", 1, values[i] < 0 ? "probe" : colour, Math.min(0.85, (0.85 * Math.abs(values[i])) / most)).line(corners, true, true);
        paper.style("line", 1).line(corners, true);
        if (label) paper.style("ink", 1).words(label(i), left + cell / 2, top - cell / 2, { align: "center", size: Math.min(14, 90 / n), pixels: [0, Math.min(5, 32 / n)] });
      }
      return cell;
    };
    const wide = 1.1, left = -1.85, cell = cells(frame.x, size, left, 0.75, wide, "real", 1.2);
    paper.style("muted", 1).words(`input ${size}x${size}`, left, 0.82);
    if (!frame.valid) { paper.style("ink", 1).words("no output: less padding", 0.1, 0); return; }
    const big = 1.75, x0 = -0.05, y0 = 0.85, step = cells(frame.values, out, x0, y0, big, "generated", high, shown.counts ? (i) => String(frame.touched[i]) : null);
    paper.style("muted", 1).words(`output ${out}x${out}`, x0, 0.92);
    paper.words(`kernel ${settings.kernel}x${settings.kernel}`, left + 0.45, -0.65);
    cells(frame.w, settings.kernel, left, -0.45, 0.4, "path", Math.max(...frame.w.map(Math.abs)) * 1.2);
    if (!frame.done) return;
    const n = frame.done - 1, [r, c] = [Math.floor(n / size), n % size];
    const box = (x, y, s) => paper.style("probe", 3).line([[x, y], [x + s, y], [x + s, y - s], [x, y - s]], true);
    box(left + c * cell, 0.75 - r * cell, cell);
    box(x0 + (c * settings.stride - settings.padding) * step, y0 - (r * settings.stride - settings.padding) * step, settings.kernel * step);
  },
  words(frame, s) {
    const size = `(${s.size} - 1) × ${s.stride} - 2 × ${s.padding} + ${s.kernel} + ${s.extra} = ${sizeOut(s)}`;
    if (!frame.valid) return `Output: ${size}, which is no size.`;
    const counts = [...new Set(stamped(s).touched)].sort((a, b) => a - b);
    return `Stamp ${frame.done} of ${s.size ** 2}. Output: ${size} pixels a side. In the end ${counts.length === 1 ? `${counts[0]} stamp${counts[0] === 1 ? "" : "s"} touch every pixel` : `${counts[0]} to ${counts.at(-1)} stamps touch a pixel`}.`;
  },
};
