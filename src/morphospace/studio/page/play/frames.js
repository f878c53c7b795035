// The one format of frames, as the server and a recording have it; `studio/live/frames.py` says what it is.

const KINDS = { u8: Uint8Array, i16: Int16Array };

// A frame as the page's own engines hand it over: facts, and arrays of values.
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const { arrays, ...frame } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let at = 4 + length;
  for (const { name, kind, count, low, scale } of arrays) {
    const Kind = KINDS[kind], end = at + count * Kind.BYTES_PER_ELEMENT;
    frame[name] = Float32Array.from(new Kind(buffer.slice(at, end)), (whole) => low + whole * scale);
    at = end;
  }
  return frame;
}
