// The numbers of an exported page: one packed text in the page, many named arrays in it.

// Unpack the text. `sizes` says how many numbers there are of each kind, in this order: i8, i16, f16, f32, u8.
// Bytes of wider numbers lie apart, all first ones, then all second ones: so they pack better.
export async function unpack(text, sizes) {
  let bytes;
  try {
    const packed = Uint8Array.from(atob(text.replace(/\s/g, "")), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  } catch (error) {
    const old = typeof DecompressionStream === "undefined";
    throw new Error(old ? "This browser is too old to unpack the model. Use one of 2023 or later." : DAMAGED);
  }
  const whole = sizes.i8 + 2 * sizes.i16 + 2 * sizes.f16 + 4 * sizes.f32 + sizes.u8;
  if (bytes.length !== whole) throw new Error(DAMAGED);
  let at = 0;
  const take = (count) => bytes.subarray(at, (at += count));
  const kinds = {
    i8: new Int8Array(take(sizes.i8).slice().buffer),
    i16: twice(take(sizes.i16), take(sizes.i16)),
    f16: widened(take(sizes.f16), take(sizes.f16)),
    f32: joined([0, 1, 2, 3].map(() => take(sizes.f32)), sizes.f32),
    u8: take(sizes.u8),
  };
  // An array by its place: [kind, first, count].
  return ([kind, first, count]) => {
    const found = kinds[kind].subarray(first, first + count);
    if (found.length !== count) throw new Error(DAMAGED);
    return found;
  };
}

const DAMAGED = "The model in this file is damaged, so nothing can be decoded. Get the file again, or export it again.";

function joined(planes, count) {
  const bytes = new Uint8Array(4 * count);
  planes.forEach((plane, i) => { for (let j = 0; j < count; j++) bytes[4 * j + i] = plane[j]; });
  const view = new DataView(bytes.buffer); // whatever order this machine has
  return Float32Array.from({ length: count }, (_, j) => view.getFloat32(4 * j, true));
}

const twice = (low, high) => Int16Array.from(low, (byte, i) => byte | (high[i] << 8));

// Half precision, low and high bytes apart.
function widened(low, high) {
  const table = new Float32Array(65536);
  for (let h = 0; h < 65536; h++) {
    const exponent = (h >> 10) & 31, fraction = h & 1023, sign = h & 0x8000 ? -1 : 1;
    if (exponent === 0) table[h] = sign * fraction * 2 ** -24;
    else table[h] = exponent === 31 ? (fraction ? NaN : sign * Infinity) : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return Float32Array.from(low, (byte, i) => table[byte | (high[i] << 8)]);
}
