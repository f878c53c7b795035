// Chance, fully connected networks, Adam.
import { kept, leaky, Matrix, plusRow, times } from "./tensor.js";

// Random numbers of a seed, the same on every machine (mulberry32, Box-Muller).
export function chance(seed) {
  let state = seed >>> 0, spare = null;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const normal = () => {
    if (spare !== null) { const value = spare; spare = null; return value; }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform())), angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
  const filled = (out, draw) => { for (let i = 0; i < out.data.length; i++) out.data[i] = draw(); return out; };
  return {
    uniform, normal,
    below: (count) => Math.floor(uniform() * count),
    normals: (rows, cols) => filled(new Matrix(rows, cols), normal),
    uniforms: (rows, cols) => filled(new Matrix(rows, cols), uniform),
  };
}

// A stream of its own for each purpose, so that drawing a picture changes no training.
export const stream = (seed, purpose) => chance(Math.imul(seed + 1, 0x9e3779b1) ^ [...purpose].reduce((h, c) => Math.imul(h ^ c.charCodeAt(0), 0x01000193), 0x811c9dc5));

// A fully connected network with leaky ReLU between its layers; initial weights as torch draws them.
export function mlp(sizes, rng, slope, { headBias = true } = {}) {
  const layers = [];
  for (let i = 0; i + 1 < sizes.length; i++) {
    const limit = 1 / Math.sqrt(sizes[i]), last = i + 2 === sizes.length;
    const weight = kept(sizes[i], sizes[i + 1]), bias = last && !headBias ? null : kept(1, sizes[i + 1]);
    for (const one of [weight, bias]) if (one) for (let j = 0; j < one.data.length; j++) one.data[j] = (2 * rng.uniform() - 1) * limit;
    layers.push([weight, bias]);
  }
  const call = (x) => layers.reduce((h, [weight, bias], i) => {
    const y = bias ? plusRow(times(h, weight), bias) : times(h, weight);
    return i + 1 < layers.length ? leaky(y, slope) : y;
  }, x);
  return { call, layers, parameters: layers.flat().filter(Boolean) };
}

// Adam as torch has it: a function that takes the gradients and moves the parameters.
export function adam(parameters, { lr, betas: [b1, b2], eps = 1e-8 }) {
  const first = parameters.map((p) => new Float32Array(p.data.length)), second = parameters.map((p) => new Float32Array(p.data.length));
  let t = 0;
  return (gradients) => {
    t += 1;
    const rate = lr / (1 - b1 ** t), correction = Math.sqrt(1 - b2 ** t);
    parameters.forEach((p, n) => {
      const w = p.data, g = gradients[n].data, m = first[n], v = second[n];
      for (let i = 0; i < w.length; i++) {
        m[i] += (1 - b1) * (g[i] - m[i]);
        v[i] += (1 - b2) * (g[i] * g[i] - v[i]);
        w[i] -= (rate * m[i]) / (Math.sqrt(v[i]) / correction + eps);
      }
    });
  };
}
