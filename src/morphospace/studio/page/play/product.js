// The matrix product in WebAssembly, assembled here byte by byte: no compiler, no binary file. It reads and writes one
// memory, by byte addresses and strides, so that neither operand is copied or packed.

// Bytes of a module that exports product(m, n, k, A, aRow, aCol, B, bRow, C, cRow): C (m, n) = A (m, k) B (k, n), with m a
// multiple of 4 and n of 8. The rows of B and C are contiguous; A has any strides, so its transpose needs no copy.
// `fused` takes one rounding for a product and a sum; not every machine has it.
export function productModule(fused) {
  const unsigned = (n) => { const out = []; do { out.push((n & 127) | (n > 127 ? 128 : 0)); n >>>= 7; } while (n); return out; };
  const signed = (n) => { const out = []; for (;;) { const b = n & 127; n >>= 7; if ((n === 0 && !(b & 64)) || (n === -1 && b & 64)) return [...out, b]; out.push(b | 128); } };
  const section = (id, body) => [id, ...unsigned(body.length), ...body];
  const text = (words) => [words.length, ...[...words].map((c) => c.charCodeAt(0))];

  const [m, n, k, A, aRow, aCol, B, bRow, C, cRow, i, j, p, y, o] = Array(15).keys();
  const rows = [0, 1, 2, 3], x = (r) => 15 + r, sum = (r, half) => 19 + 2 * r + half, b0 = 27, b1 = 28, a = 29;
  const get = (v) => [0x20, v], set = (v) => [0x21, v], number = (v) => [0x41, ...signed(v)], vector = (op) => [0xfd, ...unsigned(op)];
  const ADD = 0x6a, TIMES = 0x6c, BELOW = 0x49;
  const increase = (v, by) => [...get(v), ...by, ADD, ...set(v)];
  const loop = (v, step, end, body) => [...number(0), ...set(v), 0x03, 0x40, ...body, ...increase(v, number(step)), ...get(v), ...get(end), BELOW, 0x0d, 0, 0x0b];
  const load = (at, offset) => [...get(at), ...vector(0), 2, offset], spread = (at) => [...get(at), ...vector(9), 2, 0];
  const store = (at, offset, v) => [...get(at), ...get(v), ...vector(11), 2, offset];
  const zero = [...vector(12), ...Array(16).fill(0)];
  const multiply = (r, half) => {
    const operands = [...get(a), ...get(half ? b1 : b0)];
    const value = fused ? [...operands, ...get(sum(r, half)), ...vector(0x105)] : [...operands, ...vector(0xe6), ...get(sum(r, half)), ...vector(0xe4)];
    return [...value, ...set(sum(r, half))];
  };
  const code = loop(j, 8, n, loop(i, 4, m, [
    ...rows.flatMap((r) => [...zero, ...set(sum(r, 0)), ...zero, ...set(sum(r, 1))]),
    ...get(A), ...get(i), ...get(aRow), TIMES, ADD, ...set(x(0)),
    ...rows.slice(1).flatMap((r) => [...get(x(r - 1)), ...get(aRow), ADD, ...set(x(r))]),
    ...get(B), ...get(j), ...number(4), TIMES, ADD, ...set(y),
    ...loop(p, 1, k, [
      ...load(y, 0), ...set(b0), ...load(y, 16), ...set(b1),
      ...rows.flatMap((r) => [...spread(x(r)), ...set(a), ...multiply(r, 0), ...multiply(r, 1), ...increase(x(r), get(aCol))]),
      ...increase(y, get(bRow))]),
    ...get(C), ...get(i), ...get(cRow), TIMES, ADD, ...get(j), ...number(4), TIMES, ADD, ...set(o),
    ...rows.flatMap((r) => [...store(o, 0, sum(r, 0)), ...store(o, 16, sum(r, 1)), ...increase(o, get(cRow))])]));
  const body = [2, 9, 0x7f, 11, 0x7b, ...code, 0x0b]; // 9 integers and 11 vectors beside the arguments
  return new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, [1, 0x60, 10, ...Array(10).fill(0x7f), 0]), ...section(2, [1, ...text("env"), ...text("memory"), 2, 0, 1]),
    ...section(3, [1, 0]), ...section(7, [1, ...text("product"), 0, 0]), ...section(10, [1, ...unsigned(body.length), ...body])]);
}

// The product over a memory of so many floats, { floats, product, fused }; null where the browser has no vectors.
export function openProduct(count) {
  if (typeof WebAssembly !== "object") return null;
  for (const fused of [true, false]) {
    const bytes = productModule(fused);
    if (!WebAssembly.validate(bytes)) continue;
    try {
      const memory = new WebAssembly.Memory({ initial: Math.ceil(count / 16384) });
      const { product } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } }).exports;
      return { floats: new Float32Array(memory.buffer), product, fused };
    } catch {
      return null; // a policy that forbids it, or no memory left
    }
  }
  return null;
}
