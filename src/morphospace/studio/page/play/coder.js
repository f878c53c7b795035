// An autoencoder or a VAE, of points in the plane or of 8x8 digits. Settings have the library's names; the losses are those
// of `morphospace.zoo.ae` and `vae`.
import { digits } from "./digits.js";
import { adam, mlp, stream } from "./networks.js";
import { Plane } from "./plane.js";
import { add, clamped, clear, columns, exp, grad, kept, Matrix, mean, mul, scale, shift, sigmoid, softplus, still, sub, sumOfRows, tanh } from "./tensor.js";

export const CODER_DEFAULTS = {
  model: "vae", data: "digits", own: "", likelihood: "", signed: false, sigma: 0.1, beta: 1, kl_warmup_images: 0, free_bits: 0, latent_dim: 2,
  width: 64, layers: 2, lr: 0.002, beta1: 0.9, beta2: 0.999, batch: 64, seed: 0,
};
const ACTIVE = 0.01; // variance of a unit's posterior mean over the data, above which it is active
const LIMIT = 30; // of a log variance, as in the library
const SHOWN = 200, GRID = 9, SPAN = 2.5;

const squared = (a) => mul(a, a);

// Points of the plane, in [-1, 1].
class Points {
  constructor(name, own) { this.plane = new Plane(name, own); this.inputs = 2; this.shown = matrixOf(this.plane.sample(stream(0, "shown"), SHOWN)); this.labels = null; }
  draw(rng, count) { return this.plane.draw(rng, count); }
  get mean() { return [0, 1].map((d) => average(this.plane.sample(stream(0, "mean"), 500).map((p) => p[d]))); }
}

// 8x8 digits, in [0, 1].
class Digits {
  constructor() { ({ images: this.images, labels: this.all } = digits()); this.inputs = 64; this.count = this.all.length; this.shown = new Matrix(SHOWN, 64, this.images.slice(0, 64 * SHOWN)); this.labels = this.all.slice(0, SHOWN); }
  draw(rng, count) {
    const out = new Matrix(count, 64);
    for (let i = 0; i < count; i++) { const at = 64 * rng.below(this.count); out.data.set(this.images.subarray(at, at + 64), 64 * i); }
    return out;
  }
  get mean() { return Array.from({ length: 64 }, (_, p) => average(Array.from({ length: this.count }, (_, i) => this.images[64 * i + p]))); }
}

const average = (list) => list.reduce((a, b) => a + b, 0) / list.length;
const matrixOf = (rows) => new Matrix(rows.length, rows[0].length, Float32Array.from(rows.flat()));

export class Coder {
  constructor(settings) {
    const s = (this.settings = { ...CODER_DEFAULTS, ...settings });
    this.digits = s.data === "digits";
    if (!s.likelihood) { s.signed = !this.digits; s.likelihood = this.digits ? "bernoulli" : s.model === "ae" ? "squared-error" : "gaussian"; }
    this.source = this.digits ? new Digits() : new Points(s.data, s.own);
    this.plain = s.model === "ae";
    const { inputs } = this.source, widths = Array(s.layers).fill(s.width), weights = stream(s.seed, "weights");
    this.E = mlp([inputs, ...widths, (this.plain ? 1 : 2) * s.latent_dim], weights, 0.01);
    this.D = mlp([s.latent_dim, ...widths, inputs], weights, 0.01);
    this.startAtMean();
    this.parameters = [...this.E.parameters, ...this.D.parameters];
    this.move = adam(this.parameters, { lr: s.lr, betas: [s.beta1, s.beta2] });
    this.rng = stream(s.seed, "training");
    this.look = kept(40, s.latent_dim, stream(s.seed, "look").normals(40, s.latent_dim).data);
    this.images = 0;
    this.losses = { reconstruction: NaN, kl: NaN };
    this.watched = { code: null, row: -1 };
  }

  // The decoder's last bias begins where it alone decodes the mean of the data, as in the library.
  startAtMean() {
    const bias = this.D.layers.at(-1)[1].data;
    this.source.mean.forEach((value, i) => {
      if (this.settings.signed) bias[i] = Math.atanh(Math.max(-0.998, Math.min(0.998, value)));
      else { const p = Math.max(0.001, Math.min(0.999, value)); bias[i] = Math.log(p / (1 - p)); }
    });
  }

  encode(x) {
    const h = this.E.call(x), d = this.settings.latent_dim;
    return this.plain ? { mu: h } : { mu: columns(h, 0, d), logvar: clamped(columns(h, d, 2 * d), -LIMIT, LIMIT) };
  }

  decode(z) { const raw = this.D.call(z); return this.settings.signed ? tanh(raw) : sigmoid(raw); }

  // -log p(x | z) of each image, as a mean over the batch.
  reconstruction(raw, x) {
    const s = this.settings;
    if (s.likelihood === "bernoulli") return mean(sub(softplus(raw), mul(x, raw)));
    const error = mean(squared(sub(s.signed ? tanh(raw) : sigmoid(raw), x)));
    if (s.likelihood === "squared-error") return error;
    return shift(scale(error, 0.5 / s.sigma ** 2), 0.5 * this.source.inputs * Math.log(2 * Math.PI * s.sigma ** 2));
  }

  // The weight of the KL after so many images.
  klWeight(images) { const s = this.settings; return s.beta * (s.kl_warmup_images ? Math.min(1, images / s.kl_warmup_images) : 1); }

  loss(x, noise, images) {
    const { mu, logvar } = this.encode(x), s = this.settings;
    const z = this.plain ? mu : add(mu, mul(exp(scale(logvar, 0.5)), noise)), reconstruction = this.reconstruction(this.D.call(z), x);
    if (this.plain) return { total: reconstruction, reconstruction, kl: null };
    const units = scale(sub(add(exp(logvar), squared(mu)), shift(logvar, 1)), 0.5), kl = mean(units);
    const each = scale(sumOfRows(units), 1 / x.rows); // the batch's mean KL of every unit
    const counted = s.free_bits ? mean(clamped(each, s.free_bits, Infinity)) : kl;
    // Where a unit is below its free nats, `clamped` passes no gradient; the constant does not matter then.
    return { total: add(reconstruction, scale(counted, this.klWeight(images))), reconstruction, kl };
  }

  step() {
    clear();
    const s = this.settings, x = this.source.draw(this.rng, s.batch), noise = this.plain ? null : this.rng.normals(s.batch, s.latent_dim);
    const { total, reconstruction, kl } = this.loss(x, noise, this.images);
    this.losses = { reconstruction: reconstruction.data[0], kl: kl ? kl.data[0] : NaN };
    if (!Number.isFinite(total.data[0])) this.failed = true;
    this.move(grad(total, this.parameters));
    this.images += s.batch;
    return 1;
  }

  // Posteriors of some of the data, most active units first.
  posteriors() {
    const { mu, logvar } = this.encode(this.source.shown), d = this.settings.latent_dim, n = mu.rows;
    const spread = Array.from({ length: d }, (_, k) => { let s1 = 0, s2 = 0; for (let i = 0; i < n; i++) { const v = mu.data[i * d + k]; s1 += v; s2 += v * v; } return s2 / n - (s1 / n) ** 2; });
    const order = spread.map((_, k) => k).sort((a, b) => spread[b] - spread[a]);
    return { mu, logvar, order, active: spread.filter((v) => v > ACTIVE).length };
  }

  // Codes that vary in the two most active units; the rest is 0.
  planeOfCodes(pairs, order) {
    const d = this.settings.latent_dim, out = new Matrix(pairs.length, d);
    out.data.fill(0);
    pairs.forEach(([x, y], i) => { out.data[i * d + order[0]] = x; if (d > 1) out.data[i * d + order[1]] = y; });
    return out;
  }

  // What is drawn: posteriors in the two most active units, what is decoded, and one image that is looked at closely.
  frame() {
    clear();
    return still(() => {
      const { mu, logvar, order, active } = this.posteriors(), d = this.settings.latent_dim, n = mu.rows, [a, b] = [order[0], d > 1 ? order[1] : -1];
      const centres = new Float32Array(2 * n), radii = new Float32Array(2 * n);
      for (let i = 0; i < n; i++) [a, b].forEach((unit, k) => {
        centres[2 * i + k] = unit < 0 ? 0 : mu.data[i * d + unit];
        radii[2 * i + k] = unit < 0 || !logvar ? 0 : Math.exp(logvar.data[i * d + unit] / 2);
      });
      const span = this.plain ? Math.max(1, ...centres.map(Math.abs)) : SPAN, side = this.digits ? GRID : 24;
      const places = Array.from({ length: side * side }, (_, i) => [(span * (2 * (i % side) + 1)) / side - span, span - (span * (2 * Math.floor(i / side) + 1)) / side]);
      const out = { centres, radii, span, side, active, order, of: d, losses: { ...this.losses }, grid: Float32Array.from(this.decode(this.planeOfCodes(places, order)).data) };
      if (this.digits) this.watch(out, mu, logvar, order);
      else {
        out.decoded = Float32Array.from(this.decode(mu).data);
        out.samples = Float32Array.from(this.decode(this.look).data);
      }
      return out;
    });
  }

  // One digit: the image, its reconstruction and samples of its posterior; and what the chosen place decodes to.
  watch(out, mu, logvar, order) {
    const d = this.settings.latent_dim, { row, code } = this.watched;
    if (code) { out.code = code; out.atCode = Float32Array.from(this.decode(this.planeOfCodes([code], order)).data); }
    if (row < 0) return;
    const codes = new Matrix(4, d);
    for (let i = 0; i < 4; i++) for (let k = 0; k < d; k++) codes.data[i * d + k] = mu.data[row * d + k] + (i && logvar ? Math.exp(logvar.data[row * d + k] / 2) * this.look.data[i * d + k] : 0);
    out.watched = { row, image: this.source.shown.data.slice(64 * row, 64 * row + 64), decoded: Float32Array.from(this.decode(codes).data) };
  }

  lookAt(watched) { this.watched = { ...this.watched, ...watched }; }

  // Numbers that a preset's sentence speaks of: on the data shown, decoding means.
  measure() {
    clear();
    return still(() => {
      const { mu, logvar, active } = this.posteriors(), x = this.source.shown, out = this.decode(mu);
      let error = 0, kl = 0, spread = 0;
      for (let i = 0; i < x.data.length; i++) error += (out.data[i] - x.data[i]) ** 2;
      for (let i = 0; logvar && i < mu.data.length; i++) kl += 0.5 * (Math.exp(logvar.data[i]) + mu.data[i] ** 2 - 1 - logvar.data[i]);
      for (const v of mu.data) spread += v * v;
      return { active, error: error / x.data.length, kl: kl / x.rows, norm: Math.sqrt(spread / mu.data.length) };
    });
  }
}
