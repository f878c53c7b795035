// Any picture as an image of a run: cropped and resized by the rule of its data, as the library does (data/decode.py).

const MOST_PIXELS = 16_000_000; // of a picture as it is; a larger one is first made smaller by the browser

const sinc = (x) => (x ? Math.sin(Math.PI * x) / (Math.PI * x) : 1);
const FILTERS = {
  box: [0.5, (x) => (x > -0.5 && x <= 0.5 ? 1 : 0)],
  bilinear: [1, (x) => Math.max(0, 1 - Math.abs(x))],
  bicubic: [2, (x) => { x = Math.abs(x); return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0; }],
  lanczos: [3, (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0)],
};

// Read a picture's file; { width, height, data } with four bytes a pixel.
export async function read(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error("The picture cannot be read. Drop a JPEG, PNG or WebP.");
  }
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

// Pixels of the rule's size, a Uint8Array (channels, height, width): a plane after the other.
export function fit({ width, height, data }, rule) {
  const planes = Array.from({ length: rule.channels }, () => new Uint8ClampedArray(width * height));
  for (let i = 0; i < width * height; i++) {
    const alpha = data[4 * i + 3] / 255, levels = [0, 1, 2].map((c) => Math.round(rule.levels[data[4 * i + c]] * alpha + rule.background[c] * (1 - alpha)));
    if (rule.channels === 3) levels.forEach((level, c) => { planes[c][i] = level; });
    else planes[0][i] = grey(levels);
  }
  const { box: [left, top, right, bottom], size: [wide, high] } = placed(width, height, rule);
  const small = planes.map((plane) => {
    if (wide === width && high === height) return plane;
    if (rule.resize === "nearest") return picked(plane, width, height, [left, top, right, bottom], wide, high);
    const across = along(plane, width, height, left, right, wide, rule.resize); // (wide x height), turned
    return along(across, height, wide, top, bottom, high, rule.resize);
  });
  const whole = new Uint8Array(rule.channels * rule.width * rule.height);
  const x = Math.floor((rule.width - wide) / 2), y = Math.floor((rule.height - high) / 2);
  small.forEach((plane, c) => {
    const first = c * rule.width * rule.height;
    whole.fill(rule.channels === 3 ? rule.background[c] : grey(rule.background), first, first + rule.width * rule.height);
    for (let i = 0; i < high; i++) whole.set(plane.subarray(i * wide, (i + 1) * wide), first + (y + i) * rule.width + x);
  });
  if (rule.binarise === "threshold") whole.forEach((level, i) => { whole[i] = level >= 128 ? 255 : 0; });
  return whole;
}

const grey = ([red, green, blue]) => (red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16; // ITU-R 601

// Which part of the picture is resized, and to which size.
function placed(width, height, { width: wide, height: high, crop }) {
  const box = [0, 0, width, height];
  if ((width === wide && height === high) || crop === "stretch") return { box, size: [wide, high] };
  if (crop === "pad") {
    const scale = Math.min(wide / width, high / height);
    const side = (length, most) => Math.max(1, Math.min(most, Math.round(length * scale)));
    return { box, size: [side(width, wide), side(height, high)] };
  }
  const scale = Math.min(width / wide, height / high);
  const left = Math.max(0, (width - wide * scale) / 2), top = Math.max(0, (height - high * scale) / 2);
  return { box: [left, top, Math.min(left + wide * scale, width), Math.min(top + high * scale, height)], size: [wide, high] };
}

// Resample the rows of a plane from `begin` to `end` to `count` pixels; the result is turned, its columns are the rows.
function along(plane, length, rows, begin, end, count, name) {
  const [support, weigh] = FILTERS[name], scale = (end - begin) / count, wider = Math.max(1, scale);
  const made = new Uint8ClampedArray(rows * count);
  for (let i = 0; i < count; i++) {
    const centre = begin + (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support * wider + 0.5)), last = Math.min(length, Math.trunc(centre + support * wider + 0.5));
    const weights = [];
    for (let x = first; x < last; x++) weights.push(weigh((x - centre + 0.5) / wider));
    const total = weights.reduce((a, b) => a + b, 0);
    for (let row = 0; row < rows; row++) {
      let sum = 0;
      for (let x = 0, at = row * length + first; x < weights.length; x++, at++) sum += weights[x] * plane[at];
      made[i * rows + row] = sum / total;
    }
  }
  return made;
}

function picked(plane, width, height, [left, top, right, bottom], wide, high) {
  const pick = (begin, end, count, length) => Array.from({ length: count }, (_, i) => Math.min(length - 1, Math.max(0, Math.trunc(begin + (i + 0.5) * ((end - begin) / count)))));
  const columns = pick(left, right, wide, width);
  return Uint8ClampedArray.from(pick(top, bottom, high, height).flatMap((row) => columns.map((column) => plane[row * width + column])));
}
