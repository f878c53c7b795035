// Products of matrices in single precision. A kernel of some 600 bytes is put together here as WebAssembly, so that there
// is no binary file and no compiler; where the browser has no vectors, or may not compile, plain JavaScript takes its place.
//
// `products`: C (m x n, a row after the other) = A B. A lies in panels of ROWS rows, B in panels of COLUMNS columns: of each panel
// first its part of k = 0, then of k = 1, and so on. m is a multiple of ROWS and n of COLUMNS; fill up with zeros.

export const ROWS = 4;
export const COLUMNS = 8;
export const up = (count, step) => Math.ceil(count / step) * step;

const PAGE = 16384; // numbers in a page of memory of WebAssembly

// Return { numbers, product, kind }: a Float32Array of at least `count` numbers, and product(m, n, k, A, B, C), in which
// A, B and C say at which number each matrix begins. `kind` is "fused", "vector" or "plain"; `kinds` says which to try.
export function products(count, kinds = ["fused", "vector", "plain"]) {
  for (const kind of kinds) {
    const made = kind === "plain" ? plain(count) : compiled(count, kind);
    if (made) return { kind, ...made };
  }
  throw new Error("This browser can multiply no matrices.");
}

// The same for matrices that lie a row after the other, and are used once: { numbers, product, kind }, or null where the
// browser compiles no kernel. product(m, n, k, A, row, col, B, C, width): element (i, p) of A is at A + i row + p col, so
// that a transpose needs no copy; rows of B and C are `width` numbers long, of which n count.
export function stridedProducts(count) {
  return ["fused", "vector"].reduce((made, kind) => made || compiled(count, kind, true), null);
}

function compiled(count, kind, strided = false) {
  const bytes = kernel(kind === "fused", strided);
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(bytes)) return null;
  const memory = new WebAssembly.Memory({ initial: Math.ceil(count / PAGE) + 1 });
  let instance;
  try {
    instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  } catch {
    return null; // the page's policy, or its lack of memory, forbids it
  }
  const { gemm } = instance.exports;
  const product = strided
    ? (m, n, k, A, row, col, B, C, width) => gemm(m, n, k, 4 * A, 4 * B, 4 * C, 4 * row, 4 * col, 4 * width)
    : (m, n, k, A, B, C) => gemm(m, n, k, 4 * A, 4 * B, 4 * C);
  return { numbers: new Float32Array(memory.buffer), product, kind };
}

function plain(count) {
  const F = new Float32Array(count), round = Math.fround;
  // A panel of A by two columns of a panel of B at a time; rounded as a machine's single precision is.
  const product = (m, n, k, A, B, C) => {
    for (let j = 0; j < n; j += COLUMNS, B += COLUMNS * k) {
      for (let i = 0; i < m; i += ROWS) {
        for (let h = 0; h < COLUMNS; h += 2) {
          let a0 = round(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
          for (let p = 0, x = A + i * k, y = B + h; p < k; p++, x += ROWS, y += COLUMNS) {
            const u = F[y], v = F[y + 1], w0 = F[x], w1 = F[x + 1], w2 = F[x + 2], w3 = F[x + 3];
            a0 = round(a0 + round(w0 * u)); a1 = round(a1 + round(w1 * u)); a2 = round(a2 + round(w2 * u)); a3 = round(a3 + round(w3 * u));
            b0 = round(b0 + round(w0 * v)); b1 = round(b1 + round(w1 * v)); b2 = round(b2 + round(w2 * v)); b3 = round(b3 + round(w3 * v));
          }
          const at = C + i * n + j + h;
          F[at] = a0; F[at + n] = a1; F[at + 2 * n] = a2; F[at + 3 * n] = a3;
          F[at + 1] = b0; F[at + n + 1] = b1; F[at + 2 * n + 1] = b2; F[at + 3 * n + 1] = b3;
        }
      }
    }
  };
  return { numbers: F, product };
}

// The bytes of a module that imports env.memory and exports gemm(m, n, k, A, B, C), addresses in bytes; with `strided` also
// how many bytes lie between rows of A, columns of A, and rows of B and C.
function kernel(fused, strided) {
  const parameters = strided ? 9 : 6, locals = Array.from({ length: 10 }, (_, i) => parameters + i);
  const [m, n, k, A, B, C, aRow, aCol, width] = Array(9).keys(), [i, j, p, a, x, y, out, ...others] = locals;
  const first = parameters + 10, sum = (row, half) => first + 2 * row + half, left = first + 8, right = first + 9, one = first + 10; // vectors of four
  const get = (local) => [0x20, local], set = (local) => [0x21, local], number = (value) => [0x41, ...signed(value)];
  const ADD = 0x6a, MULTIPLY = 0x6c, LESS = 0x49, BRANCH_IF = 0x0d, LOOP = [0x03, 0x40], END = 0x0b, ALIGNED = 2;
  const vector = (code) => [0xfd, ...whole(code)];
  const load = (at, offset) => [...get(at), ...vector(0), ALIGNED, ...whole(offset)];
  const spread = (at, offset) => [...get(at), ...vector(9), ALIGNED, ...whole(offset)];
  const store = (at, offset, value) => [...get(at), ...get(value), ...vector(11), ALIGNED, ...whole(offset)];
  const zero = (local) => [...vector(12), ...Array(16).fill(0), ...set(local)];
  const times = (local, value) => [...get(local), ...number(value), MULTIPLY];
  const advance = (local, by) => [...get(local), ...by, ADD, ...set(local)];
  const loop = (local, step, end, body) => [...number(0), ...set(local), ...LOOP, ...body,
    ...advance(local, number(step)), ...get(local), ...get(end), LESS, BRANCH_IF, 0, END];
  const accumulate = (row, half) => fused // relaxed_madd, or multiply and add
    ? [...get(one), ...get(half ? right : left), ...get(sum(row, half)), ...vector(0x105), ...set(sum(row, half))]
    : [...get(sum(row, half)), ...get(one), ...get(half ? right : left), ...vector(0xe6), ...vector(0xe4), ...set(sum(row, half))];
  const rows = [0, 1, 2, 3], each = (make) => rows.flatMap((row) => [...make(row, 0), ...make(row, 1)]);
  // Where the four rows of A are: side by side in a panel, or each at an address of its own.
  const at = strided ? [x, ...others] : rows.map(() => x), begin = strided
    ? [...get(A), ...get(i), ...get(aRow), MULTIPLY, ADD, ...set(x), ...rows.slice(1).flatMap((row) => [...get(at[row - 1]), ...get(aRow), ADD, ...set(at[row])]), ...get(B), ...times(j, 4), ADD, ...set(y)]
    : [...get(a), ...set(x), ...get(B), ...set(y)];
  const value = (row) => spread(at[row], strided ? 0 : 4 * row), next = strided ? rows.flatMap((row) => advance(at[row], get(aCol))) : advance(x, number(4 * ROWS));
  const rowOfC = strided ? get(width) : times(n, 4);
  const inner = loop(p, 1, k, [
    ...load(y, 0), ...set(left), ...load(y, 16), ...set(right),
    ...rows.flatMap((row) => [...value(row), ...set(one), ...accumulate(row, 0), ...accumulate(row, 1)]),
    ...next, ...advance(y, strided ? get(width) : number(4 * COLUMNS))]);
  const code = loop(j, COLUMNS, n, [
    ...get(A), ...set(a),
    ...loop(i, ROWS, m, [
      ...each((row, half) => zero(sum(row, half))), ...begin, ...inner,
      ...get(C), ...get(i), ...rowOfC, MULTIPLY, ADD, ...times(j, 4), ADD, ...set(out),
      ...rows.flatMap((row) => [...store(out, 0, sum(row, 0)), ...store(out, 16, sum(row, 1)), ...advance(out, rowOfC)]),
      ...(strided ? [] : advance(a, times(k, 4 * ROWS)))]),
    ...(strided ? [] : advance(B, times(k, 4 * COLUMNS)))]);
  const I32 = 0x7f, V128 = 0x7b, body = [2, 10, I32, 11, V128, ...code, END];
  const section = (id, content) => [id, ...whole(content.length), ...content];
  const text = (words) => [words.length, ...[...words].map((letter) => letter.charCodeAt(0))];
  return new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, [1, 0x60, parameters, ...Array(parameters).fill(I32), 0]), ...section(2, [1, ...text("env"), ...text("memory"), 2, 0, 1]),
    ...section(3, [1, 0]), ...section(7, [1, ...text("gemm"), 0, 0]), ...section(10, [1, ...whole(body.length), ...body])]);
}

// Whole numbers as WebAssembly writes them (LEB128), without and with a sign.
function whole(value) {
  const bytes = [];
  do { bytes.push((value & 127) | (value > 127 ? 128 : 0)); value >>>= 7; } while (value);
  return bytes;
}

function signed(value) {
  const bytes = [];
  for (;;) {
    const seven = value & 127;
    value >>= 7;
    if ((value === 0 && seven < 64) || (value === -1 && seven >= 64)) return [...bytes, seven];
    bytes.push(seven | 128);
  }
}
