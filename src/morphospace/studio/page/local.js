// Answers what the studio's server answers, in the page itself: the same methods as in client.js. The file that `morpho
// export` writes has this one in its place, and the model and all numbers in two elements of the page.
import { fit, read } from "./fit.js";
import { build } from "./network.js";
import { unpack } from "./numbers.js";
import { norm, route } from "./paths.js";

const REST = 12; // milliseconds of work after which the browser may draw and listen
const KEPT = 16; // pictures that were dropped
const LARGEST = 1000; // of a number in a code

// What happened meanwhile is seen to first.
const channel = new MessageChannel(), waiting = [];
channel.port1.onmessage = () => waiting.shift()();
const turn = () => new Promise((go) => { waiting.push(go); channel.port2.postMessage(0); });

export class Client {
  constructor() {
    this.down = () => {};
    this.space = JSON.parse(document.getElementById("space").textContent);
    // Rooms and abilities that need the images, a server or torch.
    this.lacks = new Set(this.space.lacks);
    this.newest = new Map();
    this.made = new Map();
    this.number = 0;
    this.pictures = new Map();
    this.ready = this.open();
    this.ready.catch((error) => this.warn(error.message));
  }

  async open() {
    const { space } = this;
    this.take = await unpack(document.getElementById("numbers").textContent, space.sizes);
    document.getElementById("numbers").remove();
    this.decoder = build(space.decoder, this.take);
    this.encoder = space.encoder && build(space.encoder, this.take);
    const wrong = this.check();
    if (wrong) this.warn(wrong);
  }

  // An array by its place, as rows of so many numbers; made once.
  rows(place, wide = this.space.describe.latent_dim) {
    const key = place.join();
    if (!this.made.has(key)) {
      const numbers = this.take(place);
      this.made.set(key, Array.from({ length: numbers.length / wide }, (_, i) => Array.from(numbers.subarray(i * wide, (i + 1) * wide))));
    }
    return this.made.get(key);
  }

  // Compare what this browser decodes with what the model decoded when it was exported; a sentence if it differs.
  check() {
    const { golden, describe: { shape: [height, width, channels] } } = this.space;
    const codes = this.rows(golden.codes), conditions = golden.conditions ? this.rows(golden.conditions, this.space.conditions.names.length) : [];
    const levels = this.take(golden.levels), each = levels.length / codes.length;
    this.worst = 0;
    codes.forEach((code, i) => {
      const shown = this.levels(code, conditions[i]);
      for (let j = 0; j < each; j++) {
        const off = Math.abs(shown[j * golden.every] - levels[i * each + j]);
        if (!(off <= this.worst)) this.worst = off; // also where it is no number
      }
    });
    if (!(this.worst <= golden.tolerance)) return `This browser decodes other images than the model did when it was exported: a pixel is off by ${this.worst} of 255. Try another browser, or export the page again.`;
    if (!golden.code) return "";
    const found = this.encode(Uint8Array.from(this.levels(codes[0], conditions[0]).slice(0, height * width * channels)), conditions[0]);
    const off = Math.max(...this.take(golden.code).map((value, i) => Math.abs(value - found[i])));
    return off <= golden.code_tolerance ? "" : `This browser encodes pictures otherwise than the model did when it was exported: a number of a code is off by ${off.toFixed(3)}. What Project finds may be wrong.`;
  }

  warn(words) {
    let line = document.getElementById("warning");
    if (!line) {
      line = document.createElement("p");
      line.id = "warning";
      line.setAttribute("role", "alert");
      document.getElementById("room").before(line);
    }
    line.textContent = words;
  }

  // Ask and wait, as with the server: of one channel only the newest question is answered, the others end as null.
  async ask(kind, fields = {}, channel = undefined) {
    const mine = ++this.number;
    if (channel !== undefined) this.newest.set(channel, mine);
    const late = () => channel !== undefined && this.newest.get(channel) !== mine;
    await this.ready;
    await turn();
    if (late()) return null;
    const answer = this[`answer_${kind}`];
    if (!answer) throw new Error("This page has no server. Open the run in morpho studio to do that.");
    return answer.call(this, fields, late);
  }

  async send(file) {
    if (!file) return "";
    if (!this.encoder) throw new Error("This page has no encoder, so it cannot find the code of a picture.");
    await this.ready;
    const name = `p${++this.number}`;
    this.pictures.set(name, fit(await read(file), this.space.rule));
    if (this.pictures.size > KEPT) this.pictures.delete(this.pictures.keys().next().value);
    return name;
  }

  listen() {} // nothing trains here

  // -- codes and images --------------------------------------------------------------------------------------------

  // The condition as the networks take it, or none.
  condition(asked) {
    const known = this.space.conditions;
    if (!known) return undefined;
    const vector = new Array(known.names.length).fill(0);
    if (known.kind === "label") vector[asked ? known.names.indexOf(String(asked.label)) : 0] = 1;
    else for (const [name, value] of Object.entries((asked && asked.attributes) || {})) vector[known.names.indexOf(name)] = value;
    return vector;
  }

  // The levels of a decoded code, a plane of the image after the other.
  levels(code, condition) {
    const values = condition ? this.decoder.run(code, condition) : this.decoder.run(code);
    const [scale, shift] = this.space.describe.signed ? [127.5, 127.5] : [255, 0];
    const levels = new Uint8ClampedArray(values.length); // which rounds as the library does, halves to even
    for (let i = 0; i < values.length; i++) levels[i] = values[i] * scale + shift;
    return levels;
  }

  image(levels) {
    const [height, width, channels] = this.space.describe.shape, plane = height * width;
    const pixels = new Uint8ClampedArray(4 * plane).fill(255);
    for (let i = 0; i < plane; i++) for (let c = 0; c < 3; c++) pixels[4 * i + c] = levels[(channels === 3 ? c : 0) * plane + i];
    return new ImageData(pixels, width, height);
  }

  // Decode codes, one after the other, and let the browser breathe in between; null when nobody waits any more.
  async decode(codes, condition, late = () => false) {
    const vector = this.condition(condition), images = [];
    let began = performance.now();
    for (const code of codes) {
      if (code.length !== this.space.describe.latent_dim) throw new Error(`A code has ${this.space.describe.latent_dim} numbers here, not ${code.length}.`);
      images.push(this.image(this.levels(code.map((x) => Math.max(-LARGEST, Math.min(LARGEST, x))), vector)));
      if (performance.now() - began > REST && images.length < codes.length) {
        await turn();
        if (late()) return null;
        began = performance.now();
      }
    }
    return images;
  }

  encode(levels, condition) {
    const [scale, shift] = this.space.describe.signed ? [2 / 255, -1] : [1 / 255, 0];
    const values = Float32Array.from(levels, (level) => level * scale + shift);
    return Array.from(condition ? this.encoder.run(values, condition) : this.encoder.run(values));
  }

  start() { return Array.from(this.take(this.space.start)); }

  axes() {
    const { mean, directions, spread } = this.space.axes;
    return { mean: Array.from(this.take(mean)), directions: this.rows(directions), spread: this.take(spread) };
  }

  at([x, y]) {
    if (this.space.describe.latent_dim === 2) return [x, y];
    const { mean, directions: [first, second] } = this.axes();
    return mean.map((value, i) => value + x * first[i] + y * second[i]);
  }

  moved(base, moves) {
    const code = [...base], { directions, spread } = this.axes(), vectors = this.rows(this.space.vectors), apart = this.take(this.space.spread);
    for (const [kind, name, far] of moves) {
      if (kind === "dim") { code[name] += far * apart[name]; continue; }
      const index = kind === "direction" ? this.space.directions.findIndex((one) => one.name === name) : name;
      const way = (kind === "direction" ? vectors : directions)[index];
      if (!way) throw new Error(`There is no slider ${name} here.`);
      const step = kind === "direction" ? far : far * spread[index];
      way.forEach((value, i) => { code[i] += step * value; });
    }
    return code;
  }

  // -- questions ---------------------------------------------------------------------------------------------------

  answer_runs() { return { runs: [this.space.describe], broken: [] }; }
  answer_describe() { return this.space.describe; }
  answer_card() { return { card: this.space.card }; }

  answer_sliders({ by }) {
    return { rows: { component: this.space.components, dim: this.space.dims, direction: this.space.directions }[by] };
  }

  async answer_decode({ codes, seeds, points, base, moves, condition }, late) {
    // The page holds the codes of the first seeds and of those that it opens with.
    if (seeds) { const all = this.rows(this.space.seeds), { numbered, describe } = this.space; codes = seeds.map((seed) => all[numbered.includes(seed) ? numbered.indexOf(seed) : seed % describe.seeds]); }
    else if (points) codes = points.map((point) => this.at(point));
    else if (!codes) codes = [this.moved(base || this.start(), moves || [])];
    const images = await this.decode(codes, condition, late);
    return images && { codes, images: { images } };
  }

  async answer_map({ by }) {
    const { map, codes } = this.space;
    if (!map || by === "umap") throw new Error("This page has the map by principal components alone.");
    return { ...map, points: this.rows(map.points, 2), images: { thumbnails: codes ? await this.thumbnails() : [] } };
  }

  answer_colours({ by }) {
    const { colours, coloured } = this.space.map, place = colours.indexOf(by);
    if (place < 0) throw new Error(`This page cannot colour by ${by}.`);
    return { values: Array.from(this.take(coloured[place])) };
  }

  // The small pictures of the map, and the pictures to begin with.
  thumbnails() { return (this.small ||= this.cut(this.space.sheet)); }
  samples() { return (this.large ||= this.cut(this.space.examples)); }

  // Cut a sheet into its pictures.
  cut({ url, count, width, height, columns }) {
    return (async () => {
      const sheet = new Image();
      sheet.src = url;
      await sheet.decode();
      const canvas = document.createElement("canvas");
      canvas.width = sheet.width;
      canvas.height = sheet.height;
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(sheet, 0, 0);
      return Array.from({ length: count }, (_, i) => context.getImageData((i % columns) * width, Math.floor(i / columns) * height, width, height));
    })();
  }

  async answer_neighbours({ code, count, among }) {
    const { codes, map } = this.space;
    if (!codes || among !== "codes") throw new Error("This page does not have the images of the data.");
    const all = this.rows(codes), far = all.map((one) => norm(one.map((x, i) => x - code[i])));
    const near = [...far.keys()].sort((a, b) => far[a] - far[b]).slice(0, count);
    const small = await this.thumbnails(), points = this.rows(map.points, 2);
    const pick = (list) => near.map((i) => list[i]);
    return { rows: pick(map.rows), distances: pick(far), codes: pick(all), points: pick(points), images: { images: pick(small) } };
  }

  async answer_walk({ ends, hows, steps, condition }, late) {
    const paths = {}, images = {};
    for (const how of hows) {
      const codes = route(ends, steps, how), drawn = await this.decode(codes, condition, late);
      if (!drawn) return null;
      const changes = drawn.slice(1).map((image, i) => Math.sqrt(squared(image.data, drawn[i].data)));
      const mean = changes.reduce((a, b) => a + b, 0) / changes.length;
      const spread = Math.sqrt(changes.reduce((sum, x) => sum + (x - mean) ** 2, 0) / changes.length);
      const vector = this.condition(condition);
      paths[how] = { mean, spread, norms: codes.map(norm), codes, conditions: vector ? codes.map(() => vector) : null };
      images[how] = drawn;
    }
    return { paths, images };
  }

  // An image of the map, by its number, or a picture that was dropped.
  async answer_encode({ image, picture, condition }) {
    if (picture) return this.found(picture, condition);
    const { codes, map } = this.space, place = codes ? map.rows.indexOf(Number(image)) : -1;
    if (place < 0) throw new Error(codes ? `Image ${image} is not in this page, which has ${map.rows.length} of the data: ${map.rows.slice(0, 5).join(", ")} and others.` : "This page has no images of the data. Use a seed.");
    const code = this.rows(codes)[place], images = await this.decode([code], condition);
    return { code, words: `image ${image}`, mse: null, condition: null, images: { images } };
  }

  // Held-out pictures, where their terms let the page have them; else samples of the model.
  async answer_examples({ count }) {
    const { examples, describe } = this.space;
    if (examples) return { numbers: examples.numbers, images: { images: await this.samples() } };
    const seeds = describe.opening.slice(0, count);
    return { numbers: seeds.map((seed) => `seed:${seed}`), images: (await this.answer_decode({ seeds }, () => false)).images };
  }

  answer_likeness({ error }) {
    const errors = Array.from(this.take(this.space.errors)), share = (errors.filter((one) => one >= error).length + 1) / (errors.length + 1);
    return { share, unlike: share < this.space.unlike, n: errors.length };
  }

  async answer_project({ picture, image, condition }) {
    if (!picture) picture = await this.example(image);
    const found = await this.found(picture, condition);
    return { ...found, encoder_mse: this.space.errors ? found.mse : null, how: "the encoder", psnr: found.mse ? -10 * Math.log10(found.mse) : null };
  }

  // One of the pictures to begin with, as if it had been sent.
  async example(image) {
    const { numbers, images } = await this.answer_examples({ count: 32 }), place = numbers.findIndex((one) => String(one) === String(image));
    if (place < 0) throw new Error(`Image ${image} is not in this page.`);
    const { width, height, data } = images.images[place], { channels } = this.space.rule;
    const levels = new Uint8Array(channels * width * height);
    for (let i = 0; i < width * height; i++) for (let c = 0; c < channels; c++) levels[c * width * height + i] = data[4 * i + c];
    const name = `p${++this.number}`;
    this.pictures.set(name, levels);
    return name;
  }

  async found(picture, condition) {
    const levels = this.pictures.get(picture);
    if (!levels) throw new Error("This picture is forgotten. Drop it again.");
    const code = this.encode(levels, this.condition(condition));
    const images = [this.image(levels), ...(await this.decode([code], condition))];
    return { code, words: "your picture", mse: squared(images[0].data, images[1].data), condition: null, images: { images } };
  }
}

// Mean squared difference of two images, on the scale from 0 to 1.
function squared(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += i % 4 === 3 ? 0 : (a[i] - b[i]) ** 2;
  return sum / ((a.length * 3) / 4) / 255 ** 2;
}
