// A GAN in the plane. Settings have the library's names; losses and penalties are those of `morphospace.zoo.gan`.
import { adam, mlp, stream } from "./networks.js";
import { Plane } from "./plane.js";
import { add, clear, grad, kept, leaky, Matrix, mean, mul, rowSums, scale, shaped, shift, softplus, sqrt, still, sub, tanh, total } from "./tensor.js";

const squared = (a) => mul(a, a);
const relu = (a) => leaky(a, 0);

// What each player minimises: critic(real, fake) and generator(fake, real), of judgements that are higher for more real.
const LOSSES = {
  "non-saturating": {
    critic: (real, fake) => add(mean(softplus(scale(real, -1))), mean(softplus(fake))),
    generator: (fake) => mean(softplus(scale(fake, -1))),
  },
  wasserstein: { critic: (real, fake) => sub(mean(fake), mean(real)), generator: (fake) => scale(mean(fake), -1), shifts: true },
  hinge: {
    critic: (real, fake) => add(mean(relu(shift(scale(real, -1), 1))), mean(relu(shift(fake, 1)))),
    generator: (fake) => scale(mean(fake), -1),
  },
  "least-squares": {
    critic: (real, fake) => scale(add(mean(squared(shift(real, -1))), mean(squared(fake))), 0.5),
    generator: (fake) => scale(mean(squared(shift(fake, -1))), 0.5),
  },
  relativistic: {
    critic: (real, fake) => mean(softplus(sub(fake, real))),
    generator: (fake, real) => mean(softplus(sub(real, fake))),
    pairs: true, shifts: true,
  },
};

export const GAN_DEFAULTS = {
  data: "ring", own: "", loss: "non-saturating", packing: 1, gradient_penalty: 0, r1: 0, r2: 0, weight_clip: 0, turns: 1,
  lr: 0.001, critic_lr: 0, beta1: 0.5, beta2: 0.999, latent_dim: 2, width: 64, layers: 2, batch: 128, seed: 0,
};

const POINTS = 400, JUDGED = 1000, SIDE = 40, ARROWS = 48;

export class GAN {
  constructor(settings) {
    const s = (this.settings = { ...GAN_DEFAULTS, ...settings });
    this.loss = LOSSES[s.loss];
    const widths = Array(s.layers).fill(s.width), weights = stream(s.seed, "weights");
    this.G = mlp([s.latent_dim, ...widths, 2], weights, 0);
    this.D = mlp([2 * s.packing, ...widths, 1], weights, 0.2, { headBias: !this.loss.shifts });
    const betas = [s.beta1, s.beta2];
    this.moveG = adam(this.G.parameters, { lr: s.lr, betas });
    this.moveD = adam(this.D.parameters, { lr: s.critic_lr || s.lr, betas });
    this.rng = stream(s.seed, "training");
    this.plane = new Plane(s.data, s.own);
    this.losses = { critic: NaN, generator: NaN };
    this.codes = kept(POINTS, s.latent_dim, stream(s.seed, "codes").normals(POINTS, s.latent_dim).data);
    this.look = stream(s.seed, "look");
    this.next = "critic";
    this.turn = 0;
  }

  generate(z) { return tanh(this.G.call(z)); }
  // The critic judges `packing` points at once.
  packed(x) { const m = this.settings.packing; return m === 1 ? x : shaped(x, x.rows / m, 2 * m); }
  judge(shown) { return this.D.call(shown); }

  // The critic's loss: real points and codes, and a share for each judgement where the gradient penalty wants one.
  criticLoss(real, z, shares) {
    const s = this.settings, [x, y] = [this.packed(real), this.packed(still(() => this.generate(z)))];
    const onReal = this.judge(x), onFake = this.judge(y);
    let loss = this.loss.critic(onReal, onFake);
    const slope = (judgements, at) => rowSums(squared(grad(total(judgements), [at], true)[0]));
    if (s.r1) loss = add(loss, scale(mean(slope(onReal, x)), s.r1 / 2));
    if (s.r2) loss = add(loss, scale(mean(slope(onFake, y)), s.r2 / 2));
    if (s.gradient_penalty) {
      const between = new Matrix(x.rows, x.cols), n = x.cols;
      for (let i = 0; i < between.data.length; i++) { const share = shares.data[Math.floor(i / n)]; between.data[i] = y.data[i] + share * (x.data[i] - y.data[i]); }
      const norm = sqrt(shift(slope(this.judge(between), between), 1e-12));
      loss = add(loss, scale(mean(squared(shift(norm, -1))), s.gradient_penalty));
    }
    return loss;
  }

  generatorLoss(z, real) {
    const onFake = this.judge(this.packed(this.generate(z)));
    return this.loss.generator(onFake, this.loss.pairs ? still(() => this.judge(this.packed(real))) : null);
  }

  clip() {
    const most = this.settings.weight_clip;
    if (most) for (const p of this.D.parameters) for (let i = 0; i < p.data.length; i++) p.data[i] = Math.max(-most, Math.min(most, p.data[i]));
  }

  criticTurn() {
    clear();
    const { batch, latent_dim, packing, gradient_penalty } = this.settings, rng = this.rng;
    const loss = this.criticLoss(this.plane.draw(rng, batch), rng.normals(batch, latent_dim), gradient_penalty ? rng.uniforms(batch / packing, 1) : null);
    this.note("critic", loss);
    this.moveD(grad(loss, this.D.parameters));
    this.clip();
  }

  generatorTurn() {
    clear();
    const { batch, latent_dim } = this.settings, rng = this.rng;
    const loss = this.generatorLoss(rng.normals(batch, latent_dim), this.loss.pairs ? this.plane.draw(rng, batch) : null);
    this.note("generator", loss);
    this.moveG(grad(loss, this.G.parameters));
  }

  note(player, loss) {
    this.losses[player] = loss.data[0];
    if (!Number.isFinite(loss.data[0])) this.failed = true;
  }

  // One player's turn, or with none named a whole step; returns how many steps it completed.
  step(player) {
    this.last = player;
    if (player === "critic") { this.criticTurn(); return 0; }
    if (player === "generator") { this.generatorTurn(); return 1; }
    for (let t = 0; t < this.settings.turns; t++) this.criticTurn();
    this.generatorTurn();
    return 1;
  }

  // Turns one at a time, as a step has them.
  oneTurn() {
    const critic = this.turn < this.settings.turns;
    this.turn = critic ? this.turn + 1 : 0;
    return this.step(critic ? "critic" : "generator");
  }

  // What is drawn: samples of the same codes each time, the critic's judgement of every place, and where it pushes samples.
  frame() {
    clear();
    const points = Float32Array.from(still(() => this.generate(this.codes)).data), m = this.settings.packing;
    const places = new Matrix(SIDE * SIDE * m, 2);
    for (let j = 0, at = 0; j < SIDE; j++) for (let i = 0; i < SIDE; i++) for (let copy = 0; copy < m; copy++) { places.data[at++] = -1 + (2 * i + 1) / SIDE; places.data[at++] = 1 - (2 * j + 1) / SIDE; }
    const heat = Float32Array.from(still(() => this.judge(this.packed(places))).data);
    return { points, heat, side: SIDE, push: this.push(points), losses: { ...this.losses }, turn: this.last };
  }

  // The direction in which each of some samples would have to move to be judged more real.
  push(points) {
    const m = this.settings.packing, x = new Matrix(ARROWS / m, 2 * m, points.slice(0, 2 * ARROWS));
    return Float32Array.from(grad(total(this.judge(x)), [x])[0].data);
  }

  // How samples of fresh noise lie to the data.
  measure(count = JUDGED) {
    clear();
    return still(() => this.plane.measured(this.generate(this.look.normals(count, this.settings.latent_dim)).data));
  }
}
