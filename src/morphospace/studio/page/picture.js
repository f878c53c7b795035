// A picture on a canvas: drawn at most once per animation frame, and saved with its parameters.
import { button, make, save } from "./dom.js";

let queue = new Map();
let drawn = new Set();
let asked = false;

function frame() {
  asked = false;
  const due = queue;
  queue = new Map();
  drawn = new Set(due.keys());
  for (const draw of due.values()) draw();
  if (due.size) ask();
}

function ask() {
  if (!asked) requestAnimationFrame(frame);
  asked = true;
}

// Draw in the next animation frame; of several drawings of one thing only the last is done.
export function nextFrame(key, draw) {
  queue.set(key, draw);
  ask();
}

// Draw now, unless this thing has been drawn since the last frame: then in the next. To wait for it anyway would show
// nothing any sooner, and might be one frame late.
function soon(key, draw) {
  if (drawn.has(key)) return nextFrame(key, draw);
  drawn.add(key);
  draw();
  ask();
}

export class Picture {
  // `facts` returns what made the picture, for the file; `role` is real, generated, probe or path.
  constructor(label, { role = "generated", size = 256, facts = () => ({}), savable = true } = {}) {
    this.canvas = make("canvas", { width: size, height: size, class: `picture ${role}`, role: "img", "aria-label": label });
    this.caption = make("figcaption", {}, make("span", {}, label));
    this.element = make("figure", {}, this.canvas, this.caption);
    if (savable) this.caption.append(button("Save", () => this.save(label, facts()), { class: "small", "aria-label": `Save ${label}` }));
    this.drawn = 0;
  }

  show(image) {
    this.image = image;
    soon(this, () => {
      if (this.canvas.width !== image.width || this.canvas.height !== image.height) {
        this.canvas.width = image.width;
        this.canvas.height = image.height;
      }
      this.canvas.getContext("2d").putImageData(image, 0, 0);
      this.drawn += 1;
      this.canvas.dataset.drawn = this.drawn;
    });
  }

  words(text) {
    this.caption.firstChild.textContent = text;
    this.canvas.setAttribute("aria-label", text);
  }

  async save(name, facts) {
    if (!this.image) return;
    const blob = await png(this.image, facts);
    save(blob, `${name.replace(/\W+/g, "-").toLowerCase()}.png`);
  }
}

// A PNG of an image with its parameters as text, as those that `morpho` writes.
export async function png(image, facts) {
  const canvas = make("canvas", { width: image.width, height: image.height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  const plain = await new Promise((done) => canvas.toBlob(done, "image/png"));
  const bytes = new Uint8Array(await plain.arrayBuffer());
  const text = new TextEncoder().encode(`morphospace\0${ascii(JSON.stringify(facts))}`);
  const chunk = new Uint8Array(12 + text.length);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, text.length);
  chunk.set(new TextEncoder().encode("tEXt"), 4);
  chunk.set(text, 8);
  view.setUint32(8 + text.length, crc32(chunk.subarray(4, 8 + text.length)));
  const header = 33; // signature and IHDR
  return new Blob([bytes.subarray(0, header), chunk, bytes.subarray(header)], { type: "image/png" });
}

const ascii = (text) => text.replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let k = 0; k < 8; k++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

// Several images side by side in one.
export function strip(images, columns = images.length, pad = 2) {
  const { width, height } = images[0];
  const rows = Math.ceil(images.length / columns);
  const canvas = make("canvas", { width: columns * (width + pad) - pad, height: rows * (height + pad) - pad });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  images.forEach((image, i) => {
    context.putImageData(image, (i % columns) * (width + pad), Math.floor(i / columns) * (height + pad));
  });
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

// A bitmap of an image, for drawing it scaled.
export function stamp(image) {
  const canvas = make("canvas", { width: image.width, height: image.height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
