// Runs a network that `morpho export` wrote down as steps on numbers: a decoder, or an encoder. A batch is one.
import { COLUMNS, products, ROWS, up } from "./gemm.js";

const TILE = 512; // columns of a product worked out at a time, so that a large image needs little memory beside itself

// What a step does with each number; those of one or two operands pass over the rest.
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const FUNCTIONS = {
  copy: (x) => x,
  abs: Math.abs,
  exp: Math.exp,
  expm1: Math.expm1,
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  log: Math.log,
  log1p: Math.log1p,
  neg: (x) => -x,
  reciprocal: (x) => 1 / x,
  relu: (x) => (x > 0 ? x : 0),
  rsqrt: (x) => 1 / Math.sqrt(x),
  sigmoid,
  silu: (x) => x * sigmoid(x),
  sqrt: Math.sqrt,
  tanh: Math.tanh,
  logical_not: (x) => (x === 0 ? 1 : 0),
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  leaky: (x, slope) => (x > 0 ? x : x * slope),
  scale: (x, factor, shift) => x * factor + shift,
  where: (condition, yes, no) => (condition ? yes : no),
  add: (x, y) => x + y,
  sub: (x, y) => x - y,
  mul: (x, y) => x * y,
  div: (x, y) => x / y,
  maximum: (x, y) => Math.max(x, y),
  minimum: (x, y) => Math.min(x, y),
  pow: (x, y) => x ** y,
  lt: (x, y) => (x < y ? 1 : 0),
  gt: (x, y) => (x > y ? 1 : 0),
  le: (x, y) => (x <= y ? 1 : 0),
  ge: (x, y) => (x >= y ? 1 : 0),
  eq: (x, y) => (x === y ? 1 : 0),
};
const REDUCTIONS = {
  sum: [0, (sum, x) => sum + x, (sum) => sum],
  mean: [0, (sum, x) => sum + x, (sum, count) => sum / count],
  max: [-Infinity, (most, x) => Math.max(most, x), (most) => most],
};

// By its series, and by a continued fraction where that is the quicker: good to 1e-7.
function erf(x) {
  const a = Math.abs(x);
  if (a > 3) {
    let f = 0;
    for (let k = 20; k > 0; k--) f = k / 2 / (a + f);
    return Math.sign(x) * (1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * (a + f)));
  }
  let term = x, sum = x;
  for (let k = 1; k < 60; k++) { term *= (-x * x) / k; sum += term / (2 * k + 1); }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

// Build a network from what the page says of it; `take` returns an array by its place.
export function build({ program, matrices, constants }, take, kinds = undefined) {
  const weights = matrices.map((matrix) => {
    let numbers = take(matrix.numbers);
    if (matrix.scale) { // whole numbers, and one scale for each channel
      const scale = take(matrix.scale), each = numbers.length / scale.length;
      numbers = Float32Array.from(numbers, (value, i) => value * scale[Math.floor(i / each)]);
    }
    return { ...matrix, numbers, bias: matrix.bias && take(matrix.bias) };
  });
  return new Network(program, weights, take(constants), kinds);
}

export class Network {
  // `program` has the steps; `weights` a matrix for each product, { groups, rows, inner, numbers, bias }; `constants` is
  // what the memory begins with; `kinds` are the kernels to try.
  constructor(program, weights, constants, kinds = undefined) {
    this.program = program;
    const matrices = program.steps.filter((step) => step.w !== undefined);
    let at = program.size;
    const packed = matrices.map((step) => {
      const { groups, rows, inner } = weights[step.w];
      const begin = at;
      at += groups * (step.op === "linear" ? up(rows, COLUMNS) : up(rows, ROWS)) * inner;
      return begin;
    });
    const most = (of) => matrices.reduce((value, step) => Math.max(value, of(step, weights[step.w])), 0);
    this.panels = at;
    at += most((step, { inner }) => inner * (step.op === "linear" ? up(step.rows, ROWS) : Math.min(TILE, up(places(step), COLUMNS))));
    this.results = at;
    at += most((step, { rows }) => (step.op === "linear" ? up(step.rows, ROWS) * up(rows, COLUMNS) : up(rows, ROWS) * Math.min(TILE, up(places(step), COLUMNS))));
    const { numbers, product, kind } = products(at, kinds);
    this.F = numbers;
    this.product = product;
    this.kind = kind;
    numbers.set(constants);
    matrices.forEach((step, i) => (step.op === "linear" ? packColumns : packRows)(numbers, packed[i], weights[step.w]));
    const made = { linear: this.linear, conv: this.conv, up: this.up, each: this.each, reduce: this.reduce, resize: this.resize };
    this.steps = program.steps.map((step) => made[step.op].call(this, step, weights[step.w], packed[matrices.indexOf(step)]));
  }

  // Run it on arrays of numbers, one for each input; the answer is a view of its memory, good until the next run.
  run(...inputs) {
    this.program.inputs.forEach(([at, count], i) => {
      if (inputs[i].length !== count) throw new Error(`The network takes ${count} numbers, and was given ${inputs[i].length}.`);
      this.F.set(inputs[i], at);
    });
    for (const step of this.steps) step();
    const [at, count] = this.program.output;
    return this.F.subarray(at, at + count);
  }

  linear({ x, y, rows: given, outputs, inputs, slope }, { bias }, weight) {
    const { F, product, panels, results } = this, high = up(given, ROWS), wide = up(outputs, COLUMNS);
    return () => {
      F.fill(0, panels, panels + high * inputs);
      for (let i = 0; i < given; i++) {
        const to = panels + (i - (i % ROWS)) * inputs + (i % ROWS), from = x + i * inputs;
        for (let p = 0; p < inputs; p++) F[to + ROWS * p] = F[from + p];
      }
      product(high, wide, inputs, panels, weight, results);
      for (let i = 0; i < given; i++) finish(F, results + i * wide, y + i * outputs, outputs, bias, slope);
    };
  }

  conv(step, { bias, rows, inner }, weight) {
    const { x, y, c, o, size: [height, width], to: [tall, wide], groups, slope } = step;
    const { F, product, panels, results } = this, high = up(rows, ROWS), all = tall * wide, pixels = height * width;
    return () => {
      for (let g = 0; g < groups; g++) {
        for (let first = 0; first < all; first += TILE) {
          const count = Math.min(TILE, all - first), n = up(count, COLUMNS);
          gather(F, step, x + (g * c * pixels) / groups, c / groups, first, count, panels);
          product(high, n, inner, weight + g * high * inner, panels, results);
          for (let r = 0; r < rows; r++) {
            const channel = g * rows + r, add = bias ? bias[channel] : 0, out = y + channel * all + first, from = results + r * n;
            if (slope === undefined) for (let j = 0; j < count; j++) F[out + j] = F[from + j] + add;
            else for (let j = 0; j < count; j++) { const v = F[from + j] + add; F[out + j] = v > 0 ? v : v * slope; }
          }
        }
      }
    };
  }

  // A transposed convolution: what each pixel of the input stamps into the output, all stamps by one product.
  up(step, { bias, rows, inner }, weight) {
    const { x, y, c, o, size: [height, width], to: [tall, wide], kernel: [kh, kw], stride: [sh, sw], pad: [ph, pw], groups, slope } = step;
    const { F, product, panels, results } = this, high = up(rows, ROWS), all = tall * wide, pixels = height * width, each = o / groups;
    return () => {
      for (let channel = 0; channel < o; channel++) F.fill(bias ? bias[channel] : 0, y + channel * all, y + (channel + 1) * all);
      for (let g = 0; g < groups; g++) {
        for (let first = 0; first < pixels; first += TILE) {
          const count = Math.min(TILE, pixels - first), n = up(count, COLUMNS), last = first + count - 1;
          lay(F, x + (g * c * pixels) / groups + first, c / groups, pixels, count, panels);
          product(high, n, inner, weight + g * high * inner, panels, results);
          for (let q = 0; q < each; q++) {
            const out = y + (g * each + q) * all;
            for (let u = 0; u < kh; u++) {
              for (let v = 0; v < kw; v++) {
                const from = results + ((q * kh + u) * kw + v) * n - first;
                const left = Math.max(0, Math.ceil((pw - v) / sw)), right = Math.min(width - 1, Math.floor((wide - 1 + pw - v) / sw));
                for (let i = Math.floor(first / width); i * width <= last; i++) {
                  const r = i * sh + u - ph;
                  if (r < 0 || r >= tall) continue;
                  const begin = Math.max(left, first - i * width), end = Math.min(right, last - i * width);
                  const target = out + r * wide + v - pw, source = from + i * width;
                  for (let j = begin; j <= end; j++) F[target + j * sw] += F[source + j];
                }
              }
            }
          }
        }
      }
      if (slope !== undefined) for (let i = y, end = y + o * all; i < end; i++) if (F[i] < 0) F[i] *= slope;
    };
  }

  each({ f, n: [n0, n1, n2, n3, n4], x, y: [y, y0, y1, y2, y3, y4] }) {
    const { F } = this, make = FUNCTIONS[f];
    if (!make) throw new Error(`This page knows no step ${f}.`);
    const [[a, a0, a1, a2, a3, a4], [b, b0, b1, b2, b3, b4], [c, c0, c1, c2, c3, c4]] = [x[0], x[1] || x[0], x[2] || x[0]];
    return () => {
      for (let h = 0; h < n0; h++) for (let i = 0; i < n1; i++) for (let j = 0; j < n2; j++) for (let k = 0; k < n3; k++) {
        let to = y + h * y0 + i * y1 + j * y2 + k * y3, p = a + h * a0 + i * a1 + j * a2 + k * a3;
        let q = b + h * b0 + i * b1 + j * b2 + k * b3, r = c + h * c0 + i * c1 + j * c2 + k * c3;
        for (let l = 0; l < n4; l++, to += y4, p += a4, q += b4, r += c4) F[to] = make(F[p], F[q], F[r]);
      }
    };
  }

  // Over the places of `r` at each place of `n`; `x` has where the first is, and the strides of both.
  reduce({ f, n, r, x: [x, ...strides], y }) {
    const { F } = this, [zero, join, end] = REDUCTIONS[f];
    const outer = offsets(n, strides), inner = offsets(r, strides.slice(n.length));
    return () => {
      for (let i = 0; i < outer.length; i++) {
        let value = zero;
        for (let j = 0; j < inner.length; j++) value = join(value, F[x + outer[i] + inner[j]]);
        F[y + i] = end(value, inner.length);
      }
    };
  }

  // Bilinear, pixels being squares: as torch without align_corners.
  resize({ x, y, c, size: [height, width], to: [tall, wide] }) {
    const { F } = this, down = between(height, tall), across = between(width, wide);
    return () => {
      for (let channel = 0, to = y; channel < c; channel++) {
        const from = x + channel * height * width;
        for (const [i, next, v] of down) {
          const above = from + i * width, below = from + next * width;
          for (const [j, right, u] of across) {
            const top = F[above + j] * (1 - u) + F[above + right] * u, bottom = F[below + j] * (1 - u) + F[below + right] * u;
            F[to++] = top * (1 - v) + bottom * v;
          }
        }
      }
    };
  }
}

const places = (step) => (step.op === "conv" ? step.to : step.size).reduce((a, b) => a * b);

// How far from the first place each place of a shape is.
function offsets(shape, strides) {
  return shape.reduce((all, size, axis) => all.flatMap((at) => Array.from({ length: size }, (_, i) => at + i * strides[axis])), [0]);
}

// For each new pixel the two old ones it lies between, and how near to the second.
function between(before, after) {
  return Array.from({ length: after }, (_, i) => {
    const at = Math.max(0, ((i + 0.5) * before) / after - 0.5), first = Math.min(Math.floor(at), before - 1);
    return [first, Math.min(first + 1, before - 1), at - first];
  });
}

function finish(F, from, to, count, bias, slope) {
  for (let j = 0; j < count; j++) {
    const v = F[from + j] + (bias ? bias[j] : 0);
    F[to + j] = slope === undefined || v > 0 ? v : v * slope;
  }
}

// A matrix (rows x inner) in panels of rows, and turned, in panels of columns.
function packRows(F, to, { groups, rows, inner, numbers }) {
  const high = up(rows, ROWS);
  for (let g = 0; g < groups; g++) for (let i = 0; i < rows; i++) {
    const at = to + (g * high + i - (i % ROWS)) * inner + (i % ROWS), from = (g * rows + i) * inner;
    for (let p = 0; p < inner; p++) F[at + ROWS * p] = numbers[from + p];
  }
}

function packColumns(F, to, { rows, inner, numbers }) {
  for (let i = 0; i < rows; i++) {
    const at = to + (i - (i % COLUMNS)) * inner + (i % COLUMNS), from = i * inner;
    for (let p = 0; p < inner; p++) F[at + COLUMNS * p] = numbers[from + p];
  }
}

// Channels (inner x pixels) from a place on, in panels of columns.
function lay(F, x, inner, pixels, count, to) {
  for (let j = 0; j < count; j += COLUMNS) {
    const wide = Math.min(COLUMNS, count - j);
    for (let p = 0; p < inner; p++, to += COLUMNS) {
      const from = x + p * pixels + j;
      for (let t = 0; t < wide; t++) F[to + t] = F[from + t];
      for (let t = wide; t < COLUMNS; t++) F[to + t] = 0;
    }
  }
}

// The pixels under the kernel at some places of a convolution's output, in panels of columns.
function gather(F, { size: [height, width], to: [, wide], kernel: [kh, kw], stride: [sh, sw], pad: [ph, pw] }, x, channels, first, count, to) {
  if (kh * kw === 1 && sh * sw === 1 && !ph && !pw) return lay(F, x + first, channels, height * width, count, to);
  for (let j = first; j < first + count; j += COLUMNS) {
    for (let t = 0; t < COLUMNS; t++) {
      const place = j + t, row = Math.floor(place / wide) * sh - ph, column = (place % wide) * sw - pw;
      const there = place < first + count;
      let at = to + t;
      for (let channel = 0, from = x; channel < channels; channel++, from += height * width) {
        for (let u = 0; u < kh; u++) {
          const r = row + u, inside = there && r >= 0 && r < height, source = from + r * width + column;
          for (let v = 0; v < kw; v++, at += COLUMNS) F[at] = inside && column + v >= 0 && column + v < width ? F[source + v] : 0;
        }
      }
    }
    to += COLUMNS * channels * kh * kw;
  }
}
