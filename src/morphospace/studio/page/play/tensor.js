// Matrices that know how they were made, and gradients of them. A gradient is made of the same operations, so it has a
// gradient too: the penalties on a critic's slope need that. A step's matrices lie in one memory, which the next step uses
// again.
import { stridedProducts } from "../gemm.js";

const FLOATS = 1 << 24; // 64 MiB of address space; the system gives memory only to the part that is used
let fast = stridedProducts(FLOATS);
let memory = fast ? fast.numbers : new Float32Array(FLOATS);
let used = 0;

// Begin a step: every matrix made before is void, but for those that are kept.
export const clear = () => { used = 0; };

function take(count) {
  const start = used;
  used += count;
  if (used > FLOATS) throw new Error("this step needs more memory than the page has; choose narrower layers or a smaller batch");
  return memory.subarray(start, used);
}

export class Matrix {
  constructor(rows, cols, data = take(rows * cols)) {
    this.rows = rows;
    this.cols = cols;
    this.data = data;
    this.from = null; // the matrices that it was made of
    this.back = null; // its gradient -> theirs
  }
}

export const kept = (rows, cols, values = rows * cols) => new Matrix(rows, cols, new Float32Array(values));
export function constant(rows, cols, value) {
  const out = new Matrix(rows, cols);
  out.data.fill(value);
  return out;
}

let recording = true;
function made(out, from, back) {
  if (recording) { out.from = from; out.back = back; }
  return out;
}

// Compute without noting how.
export function still(work) {
  const before = recording;
  recording = false;
  try { return work(); } finally { recording = before; }
}

// -- products ------------------------------------------------------------------------------------------------------

// For tests: compute products in JavaScript, or by WebAssembly again.
export function plainProducts(plain) {
  fast = plain ? null : fast || stridedProducts(FLOATS);
  memory = fast ? fast.numbers : new Float32Array(FLOATS);
  used = 0;
}

const inside = (data) => (data.buffer === memory.buffer ? data : copied(data));
function copied(data) {
  const out = take(data.length);
  out.set(data);
  return out;
}

// out (m, n) = A (m, k) B (k, n); A's element (i, p) is at i * row + p * col.
function multiply(m, n, k, A, row, col, B, out) {
  let rows = 0, columns = 0;
  if (fast && m >= 4 && n >= 8) {
    rows = m & ~3;
    columns = n & ~7;
    const a = inside(A), b = inside(B);
    fast.product(rows, columns, k, a.byteOffset / 4, row, col, b.byteOffset / 4, out.byteOffset / 4, n);
  }
  if (columns < n) rest(0, m, columns, n, k, A, row, col, B, out);
  if (rows < m && columns) rest(rows, m, 0, columns, k, A, row, col, B, out);
}

function rest(i0, i1, j0, j1, k, A, row, col, B, out) {
  const n = out.length / i1 | 0;
  if (j1 - j0 <= 4) {
    for (let i = i0; i < i1; i++) for (let j = j0; j < j1; j++) {
      let sum = 0;
      for (let p = 0, a = i * row, b = j; p < k; p++, a += col, b += n) sum += A[a] * B[b];
      out[i * n + j] = sum;
    }
    return;
  }
  for (let i = i0; i < i1; i++) {
    out.fill(0, i * n + j0, i * n + j1);
    for (let p = 0, a = i * row; p < k; p++, a += col) {
      const x = A[a], to = i * n, b = p * n;
      for (let j = j0; j < j1; j++) out[to + j] += x * B[b + j];
    }
  }
}

function transposed({ rows, cols, data }) {
  const out = take(rows * cols);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) out[j * rows + i] = data[i * cols + j];
  return out;
}

// A B
export function times(a, b) {
  const out = new Matrix(a.rows, b.cols);
  multiply(a.rows, b.cols, a.cols, a.data, a.cols, 1, b.data, out.data);
  return made(out, [a, b], [(g) => timesT(g, b), (g) => Ttimes(a, g)]);
}
// A B^T
export function timesT(a, b) {
  const out = new Matrix(a.rows, b.rows);
  multiply(a.rows, b.rows, a.cols, a.data, a.cols, 1, transposed(b), out.data);
  return made(out, [a, b], [(g) => times(g, b), (g) => Ttimes(g, a)]);
}
// A^T B
export function Ttimes(a, b) {
  const out = new Matrix(a.cols, b.cols);
  multiply(a.cols, b.cols, a.rows, a.data, 1, a.cols, b.data, out.data);
  return made(out, [a, b], [(g) => timesT(b, g), (g) => times(a, g)]);
}

// -- element by element: a loop each, as an engine inlines no function that many loops are given ----------------------

const like = (a) => new Matrix(a.rows, a.cols);

export function add(a, b) {
  const out = like(a), x = a.data, y = b.data, o = out.data;
  for (let i = 0; i < o.length; i++) o[i] = x[i] + y[i];
  return made(out, [a, b], [(g) => g, (g) => g]);
}
export function sub(a, b) {
  const out = like(a), x = a.data, y = b.data, o = out.data;
  for (let i = 0; i < o.length; i++) o[i] = x[i] - y[i];
  return made(out, [a, b], [(g) => g, (g) => scale(g, -1)]);
}
export function mul(a, b) {
  const out = like(a), x = a.data, y = b.data, o = out.data;
  for (let i = 0; i < o.length; i++) o[i] = x[i] * y[i];
  return made(out, [a, b], [(g) => mul(g, b), (g) => mul(g, a)]);
}
export function scale(a, by) {
  const out = like(a), x = a.data, o = out.data;
  for (let i = 0; i < o.length; i++) o[i] = x[i] * by;
  return made(out, [a], [(g) => scale(g, by)]);
}
export function shift(a, by) {
  const out = like(a), x = a.data, o = out.data;
  for (let i = 0; i < o.length; i++) o[i] = x[i] + by;
  return made(out, [a], [(g) => g]);
}
// x where it is positive, slope * x elsewhere.
export function leaky(a, slope) {
  const mask = like(a), out = like(a), x = a.data, m = mask.data, o = out.data;
  for (let i = 0; i < o.length; i++) { m[i] = x[i] > 0 ? 1 : slope; o[i] = x[i] * m[i]; }
  return made(out, [a], [(g) => mul(g, mask)]);
}
export function clamped(a, low, high) {
  const mask = like(a), out = like(a), x = a.data, m = mask.data, o = out.data;
  for (let i = 0; i < o.length; i++) { m[i] = x[i] >= low && x[i] <= high ? 1 : 0; o[i] = Math.max(low, Math.min(high, x[i])); }
  return made(out, [a], [(g) => mul(g, mask)]);
}
export function tanh(a) {
  const out = like(a), x = a.data, o = out.data;
  for (let i = 0; i < o.length; i++) o[i] = Math.tanh(x[i]);
  return made(out, [a], [(g) => mul(g, shift(scale(mul(out, out), -1), 1))]);
}
export function exp(a) {
  const out = like(a), x = a.data, o = out.data;
  for (let i = 0; i < o.length; i++) o[i] = Math.exp(x[i]);
  return made(out, [a], [(g) => mul(g, out)]);
}
export function sigmoid(a) {
  const out = like(a), x = a.data, o = out.data;
  for (let i = 0; i < o.length; i++) o[i] = 1 / (1 + Math.exp(-x[i]));
  return made(out, [a], [(g) => mul(g, mul(out, shift(scale(out, -1), 1)))]);
}
// log(1 + e^x)
export function softplus(a) {
  const out = like(a), x = a.data, o = out.data;
  for (let i = 0; i < o.length; i++) o[i] = Math.max(x[i], 0) + Math.log1p(Math.exp(-Math.abs(x[i])));
  return made(out, [a], [(g) => mul(g, sigmoid(a))]);
}
export function sqrt(a) {
  const out = like(a), x = a.data, o = out.data;
  for (let i = 0; i < o.length; i++) o[i] = Math.sqrt(x[i]);
  return made(out, [a], [(g) => mul(g, scale(inverse(out), 0.5))]);
}
export function inverse(a) {
  const out = like(a), x = a.data, o = out.data;
  for (let i = 0; i < o.length; i++) o[i] = 1 / x[i];
  return made(out, [a], [(g) => mul(g, scale(mul(out, out), -1))]);
}

// -- sums, and their reverse ----------------------------------------------------------------------------------------

// A row vector added to every row: a layer's bias.
export function plusRow(a, row) {
  const out = like(a), x = a.data, y = row.data, o = out.data, n = a.cols;
  for (let i = 0; i < o.length; i += n) for (let j = 0; j < n; j++) o[i + j] = x[i + j] + y[j];
  return made(out, [a, row], [(g) => g, (g) => sumOfRows(g)]);
}
// (n, m) -> (1, m)
export function sumOfRows(a) {
  const out = constant(1, a.cols, 0), x = a.data, o = out.data, n = a.cols;
  for (let i = 0; i < x.length; i += n) for (let j = 0; j < n; j++) o[j] += x[i + j];
  return made(out, [a], [(g) => repeatedRow(g, a.rows)]);
}
export function repeatedRow(a, rows) {
  const out = new Matrix(rows, a.cols);
  for (let i = 0; i < rows; i++) out.data.set(a.data, i * a.cols);
  return made(out, [a], [(g) => sumOfRows(g)]);
}
// (n, m) -> (n, 1): each row's sum.
export function rowSums(a) {
  const out = new Matrix(a.rows, 1), x = a.data, o = out.data, n = a.cols;
  for (let r = 0, i = 0; r < a.rows; r++) { let sum = 0; for (let j = 0; j < n; j++, i++) sum += x[i]; o[r] = sum; }
  return made(out, [a], [(g) => repeatedColumn(g, n)]);
}
export function repeatedColumn(a, cols) {
  const out = new Matrix(a.rows, cols), x = a.data, o = out.data;
  for (let r = 0, i = 0; r < a.rows; r++) for (let j = 0; j < cols; j++, i++) o[i] = x[r];
  return made(out, [a], [(g) => rowSums(g)]);
}
export const total = (a) => sumOfRows(rowSums(a));
// The mean over rows of each row's sum, as losses are: summed over an image, averaged over the batch.
export const mean = (a) => scale(total(a), 1 / a.rows);

// -- other shapes -----------------------------------------------------------------------------------------------------

export const shaped = (a, rows, cols) => made(new Matrix(rows, cols, a.data), [a], [(g) => shaped(g, a.rows, a.cols)]);
// Columns from..to
export function columns(a, from, to) {
  const n = to - from, out = new Matrix(a.rows, n);
  for (let i = 0; i < a.rows; i++) for (let j = 0; j < n; j++) out.data[i * n + j] = a.data[i * a.cols + from + j];
  return made(out, [a], [(g) => placed(g, from, a.cols)]);
}
function placed(a, from, cols) {
  const out = constant(a.rows, cols, 0), n = a.cols;
  for (let i = 0; i < a.rows; i++) for (let j = 0; j < n; j++) out.data[i * cols + from + j] = a.data[i * n + j];
  return made(out, [a], [(g) => columns(g, from, from + n)]);
}

// Gradients of y (1, 1) by each of `wanted`. With `again` they can be differentiated too.
export function grad(y, wanted, again = false) {
  const order = [], seen = new Set(), stack = [[y, 0]];
  while (stack.length) { // each matrix after those that it was made of
    const top = stack[stack.length - 1], from = top[0].from;
    if (!from || top[1] === from.length) { stack.pop(); if (from) order.push(top[0]); continue; }
    const next = from[top[1]++];
    if (!seen.has(next)) { seen.add(next); if (next.from) stack.push([next, 0]); }
  }
  const needed = new Set(wanted);
  for (const one of order) if (one.from.some((f) => needed.has(f))) needed.add(one);
  const before = recording, of = new Map([[y, constant(1, 1, 1)]]);
  recording = again;
  for (let i = order.length - 1; i >= 0; i--) {
    const one = order[i], g = of.get(one);
    if (!g || !needed.has(one)) continue;
    one.from.forEach((f, n) => {
      if (!needed.has(f)) return;
      const part = one.back[n](g), known = of.get(f);
      of.set(f, known ? add(known, part) : part);
    });
  }
  recording = before;
  return wanted.map((one) => of.get(one) || constant(one.rows, one.cols, 0));
}
