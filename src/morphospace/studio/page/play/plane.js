// What the plane holds to be learned: points (n, 2) within [-1, 1].
import { stream } from "./networks.js";
import { Matrix } from "./tensor.js";

const circle = (count) => Array.from({ length: count }, (_, i) => [0.8 * Math.cos((i * 2 * Math.PI) / count), 0.8 * Math.sin((i * 2 * Math.PI) / count)]);
const lattice = (side) => Array.from({ length: side * side }, (_, i) => [-0.8 + (1.6 * Math.floor(i / side)) / (side - 1), -0.8 + (1.6 * (i % side)) / (side - 1)]);

// Ring and grid have the centres of the library's `python -m bench modes`, and wider clusters: they are learned sooner.
const MIXTURES = { ring: { centres: circle(8), sigma: 0.03 }, grid: { centres: lattice(5), sigma: 0.03 } };
export const SHAPES = [["ring", "ring of 8"], ["grid", "grid of 25"], ["moons", "two moons"], ["own", "draw your own"]];
const REACH = 0.1; // how near a sample must be to count as on the data, where there are no clusters
export const MOST_POINTS = 160; // of a drawing: they must fit into a link

// Points of a drawing as they stand in a link: two letters a coordinate.
export const written = (points) => points.map((p) => p.map((v) => Math.round((v + 1) * 647.5).toString(36).padStart(2, "0")).join("")).join("");
export const read = (text) => (String(text).match(/[0-9a-z]{4}/g) || []).slice(0, MOST_POINTS).map((four) => [0, 2].map((at) => Math.max(-1, Math.min(1, parseInt(four.slice(at, at + 2), 36) / 647.5 - 1))));

const moon = (rng) => {
  const t = Math.PI * rng.uniform(), upper = rng.uniform() < 0.5;
  const [x, y] = upper ? [Math.cos(t), Math.sin(t)] : [1 - Math.cos(t), 0.5 - Math.sin(t)];
  return [(x - 0.5) * 0.55 + 0.02 * rng.normal(), (y - 0.25) * 0.55 + 0.02 * rng.normal()];
};

export class Plane {
  constructor(name, own = "") {
    this.points = name === "own" ? read(own) : [];
    const mixture = MIXTURES[name];
    this.centres = mixture ? mixture.centres : null;
    this.sigma = mixture ? mixture.sigma : 0.02;
    const among = (list) => (rng) => { const [x, y] = list[rng.below(list.length)]; return [x + this.sigma * rng.normal(), y + this.sigma * rng.normal()]; };
    this.one = mixture ? among(this.centres) : this.points.length ? among(this.points) : moon;
    this.reference = this.centres || this.sample(stream(0, "reference"), 200);
  }

  sample(rng, count) { return Array.from({ length: count }, () => this.one(rng)); }

  draw(rng, count) {
    const out = new Matrix(count, 2);
    for (let i = 0; i < count; i++) { const [x, y] = this.one(rng); out.data[2 * i] = x; out.data[2 * i + 1] = y; }
    return out;
  }

  // How samples (n, 2) lie to the data. `reached`: clusters that are the nearest one to a tenth of their fair share of the
  // samples; without clusters, the share of the data that has a sample within reach. `good`: samples on the data.
  measured(samples) {
    const count = samples.length / 2, { reference, centres } = this, hits = new Array(reference.length).fill(0);
    const reach = (centres ? 3 * this.sigma : REACH) ** 2;
    let good = 0;
    for (let i = 0; i < count; i++) {
      let best = Infinity, at = 0;
      for (let r = 0; r < reference.length; r++) {
        const dx = samples[2 * i] - reference[r][0], dy = samples[2 * i + 1] - reference[r][1], distance = dx * dx + dy * dy;
        if (!centres && distance <= reach) hits[r] += 1;
        if (distance < best) { best = distance; at = r; }
      }
      if (centres) hits[at] += 1;
      if (best <= reach) good += 1;
    }
    const least = centres ? (0.1 * count) / reference.length : 1, found = hits.filter((n) => n >= least).length;
    return { reached: centres ? found : found / reference.length, of: centres ? reference.length : 0, good: good / count };
  }
}
