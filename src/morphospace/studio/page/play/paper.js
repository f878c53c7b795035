// Drawing: a canvas with coordinates of its own, in the colours of the page.
import { role } from "../colours.js";

const PAD = 0.04; // of the width, around what is drawn

// A canvas's context for coordinates x in [-span, span] across, y upwards; `aspect` is width over height.
export class Paper {
  constructor(canvas, { span = 1, aspect = 1, x = 0, y = 0 } = {}) {
    const ratio = Math.min(2, devicePixelRatio || 1), width = Math.max(1, Math.round((canvas.clientWidth || 320) * ratio)), height = Math.round(width / aspect);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    this.context = canvas.getContext("2d");
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.globalAlpha = 1;
    Object.assign(this, { canvas, ratio, width, height, span, centre: [x, y], scale: (width * (1 - 2 * PAD)) / (2 * span) });
    this.context.fillStyle = role("card");
    this.context.fillRect(0, 0, width, height);
    this.context.lineJoin = this.context.lineCap = "round";
  }

  at(x, y) { return [this.width / 2 + (x - this.centre[0]) * this.scale, this.height / 2 - (y - this.centre[1]) * this.scale]; }
  from(event) {
    const box = this.canvas.getBoundingClientRect(), x = ((event.clientX - box.left) / box.width) * this.width, y = ((event.clientY - box.top) / box.height) * this.height;
    return [(x - this.width / 2) / this.scale + this.centre[0], (this.height / 2 - y) / this.scale + this.centre[1]];
  }

  style(stroke, width = 1.5, fill = stroke, alpha = 1) {
    const c = this.context;
    c.strokeStyle = role(stroke) || stroke;
    c.fillStyle = role(fill) || fill;
    c.lineWidth = width * this.ratio;
    c.globalAlpha = alpha;
    return this;
  }

  // Squares of a few pixels at points (x, y, x, y, ...): quicker than discs.
  dots(points, size = 3) {
    const c = this.context, s = size * this.ratio;
    for (let i = 0; i + 1 < points.length; i += 2) { const [x, y] = this.at(points[i], points[i + 1]); c.fillRect(x - s / 2, y - s / 2, s, s); }
  }
  disc(x, y, size = 5) { const c = this.context, [u, v] = this.at(x, y); c.beginPath(); c.arc(u, v, size * this.ratio, 0, 7); c.fill(); }
  ring(x, y, size = 5) { const c = this.context, [u, v] = this.at(x, y); c.beginPath(); c.arc(u, v, size * this.ratio, 0, 7); c.stroke(); }
  // In the paper's own units; `fill` fills it.
  ellipse(x, y, a, b, fill = false) {
    const c = this.context, [u, v] = this.at(x, y);
    c.beginPath();
    c.ellipse(u, v, Math.max(0.5, Math.abs(a) * this.scale), Math.max(0.5, Math.abs(b) * this.scale), 0, 0, 7);
    if (fill) c.fill(); else c.stroke();
  }
  line(points, closed = false, fill = false) {
    const c = this.context;
    c.beginPath();
    points.forEach(([x, y], i) => { const p = this.at(x, y); if (i) c.lineTo(...p); else c.moveTo(...p); });
    if (closed) c.closePath();
    if (fill) c.fill(); else c.stroke();
  }
  arrow(x, y, dx, dy, head = 4) {
    const c = this.context, [u, v] = this.at(x, y), [s, t] = this.at(x + dx, y + dy), long = Math.hypot(s - u, t - v), h = Math.min(head * this.ratio, long);
    if (long < 1) return;
    const ux = (s - u) / long, uy = (t - v) / long;
    c.beginPath();
    c.moveTo(u, v); c.lineTo(s, t);
    c.moveTo(s - h * (ux + uy * 0.6), t - h * (uy - ux * 0.6)); c.lineTo(s, t); c.lineTo(s - h * (ux - uy * 0.6), t - h * (uy + ux * 0.6));
    c.stroke();
  }
  // `most`: how wide the words may be, in the paper's units; they are written smaller where they need more.
  words(text, x, y, { align = "left", size = 12, pixels = [0, 0], most = Infinity } = {}) {
    const c = this.context, [u, v] = this.at(x, y), font = (pixels) => { c.font = `${pixels * this.ratio}px system-ui, sans-serif`; return c.measureText(text).width; };
    font(size * Math.min(1, (most * this.scale) / font(size)));
    c.textAlign = align;
    c.fillText(text, u + pixels[0] * this.ratio, v + pixels[1] * this.ratio);
  }
  // Values (side * side), rows from the top, as tints over [-1, 1] of both axes: low `cool`, high `warm`.
  heat(values, side, low = "probe", high = "real") {
    const sorted = Float32Array.from(values).sort(), cut = Math.floor(sorted.length * 0.02), from = sorted[cut], width = sorted[sorted.length - 1 - cut] - from || 1;
    const image = new ImageData(side, side), [paper, cool, warm] = [role("card"), role(low), role(high)].map(parts);
    for (let i = 0; i < values.length; i++) {
      const v = 2 * Math.max(0, Math.min(1, (values[i] - from) / width)) - 1, tint = v < 0 ? cool : warm, share = 0.5 * Math.abs(v);
      for (let k = 0; k < 3; k++) image.data[4 * i + k] = paper[k] + share * (tint[k] - paper[k]);
      image.data[4 * i + 3] = 255;
    }
    this.image(image, -1, 1, 2, true);
  }
  // An image whose corner is at (x, y) and that is `wide` across.
  image(image, x, y, wide, smooth = false) {
    const own = document.createElement("canvas"), [u, v] = this.at(x, y), c = this.context;
    own.width = image.width; own.height = image.height;
    own.getContext("2d").putImageData(image, 0, 0);
    c.imageSmoothingEnabled = smooth;
    c.drawImage(own, u, v, wide * this.scale, (wide * this.scale * image.height) / image.width);
  }
}

const parts = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

// Images, each of height * width * channels values in [0, 1], side by side in rows of `across`.
export function tiles(values, [height, width, channels], across, gap = 0) {
  const each = height * width, count = values.length / (each * channels), image = new ImageData(across * (width + gap) - gap, Math.ceil(count / across) * (height + gap) - gap);
  for (let n = 0; n < count; n++) for (let i = 0; i < each; i++) {
    const x = (n % across) * (width + gap) + (i % width), y = Math.floor(n / across) * (height + gap) + Math.floor(i / width), from = (n * each + i) * channels, to = 4 * (y * image.width + x);
    for (let c = 0; c < 3; c++) image.data[to + c] = 255 * values[from + (channels === 3 ? c : 0)];
    image.data[to + 3] = 255;
  }
  return image;
}
export const greys = (values, size, across, gap = 0) => tiles(values, [size, size, 1], across, gap);
