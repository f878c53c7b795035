// A GAN in the plane: samples, the data, and what the critic sees.
import { GAN_DEFAULTS } from "../gan.js";
import { GAN_LOSSES, held, offered } from "../golden.js";
import { MOST_POINTS, Plane, read, SHAPES, written } from "../plane.js";

const numbers = (...values) => values.map((v) => [v, String(v)]);
const off = (...values) => values.map((v) => [v, v ? String(v) : "off"]);
const planes = new Map();
const plane = ({ data, own }) => { const key = `${data} ${own}`; if (!planes.has(key)) { planes.clear(); planes.set(key, new Plane(data, own)); } return planes.get(key); };
const percent = (share) => `${Math.round(100 * share)} %`;
const clamp = (v) => Math.max(-1, Math.min(1, v));
// The fields of remedies that a golden test holds; the others do not appear.
const remedies = [
  { name: "gradient_penalty", label: "Gradient penalty", values: off(0, 0.03, 0.1, 0.3, 1, 10), hint: "Weight of (slope - 1) squared between data and samples (WGAN-GP)." },
  { name: "r1", label: "R1", values: off(0, 0.01, 0.02, 0.05, 0.2, 1), hint: "Weight of half the critic's squared slope at the data." },
  { name: "r2", label: "R2", values: off(0, 0.01, 0.02, 0.05, 0.2, 1), hint: "The same at the samples." },
  { name: "weight_clip", label: "Weight clipping", values: off(0, 0.01, 0.05, 0.1, 0.2, 0.5), hint: "The critic's weights stay within plus or minus this (WGAN)." },
  { name: "packing", label: "Packing", values: numbers(1, 2, 4), hint: "How many points the critic judges together (PacGAN)." },
].filter((field) => held(field.name));

const small = { width: 32, batch: 64 };

export const gan = {
  id: "gan",
  title: "A GAN in the plane",
  short: "GAN",
  question: "The generator turns noise into points; the critic learns to tell them from the data. Do the samples come to cover the data?",
  first: "Press Play and watch the violet samples. Then choose another preset, or tick “Compare two settings”.",
  engine: "gan",
  defaults: { ...GAN_DEFAULTS, ...small },
  length: 1500,
  pace: 150,
  players: [["critic", "Critic's turn"], ["generator", "Generator's turn"]],
  stepLabel: "One step of both",
  shared: ["data", "own", "seed"],
  toggles: [
    { name: "critic", label: "Draw what the critic sees", on: true },
    { name: "push", label: "Draw where it pushes samples", on: false },
  ],
  legend: [["real", "data; places that the critic judges real"], ["generated", "samples"], ["probe", "places that it judges generated; arrows: its push"]],
  curves: [["critic", "critic's loss", "real"], ["generator", "generator's loss", "generated"]],
  fields: [
    { name: "data", label: "Data", values: SHAPES },
    { name: "own", label: "Drawing", pattern: /^([0-9a-z]{4})*$/ },
    { name: "loss", label: "Loss", values: offered("loss").filter((loss) => GAN_LOSSES[loss]).map((loss) => [loss, loss]) },
    ...remedies,
    { name: "turns", label: "Critic's turns", values: numbers(1, 2, 5, 10), hint: "Updates of the critic for each update of the generator." },
    { name: "lr", label: "Learning rate", values: numbers(0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03) },
    { name: "critic_lr", label: "Critic's rate", values: [[0, "the same"], ...numbers(0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)], more: true },
    { name: "beta1", label: "Momentum", values: numbers(0, 0.5, 0.9), hint: "Adam's beta 1: how long earlier gradients count." },
    { name: "beta2", label: "Adam's beta 2", values: numbers(0.9, 0.99, 0.999), more: true },
    { name: "width", label: "Units a layer", values: numbers(8, 16, 32, 64, 128), more: true },
    { name: "layers", label: "Layers", values: numbers(1, 2, 3), more: true },
    { name: "latent_dim", label: "Size of the code", values: numbers(1, 2, 4, 8), more: true },
    { name: "batch", label: "Batch", values: numbers(32, 64, 128, 256), more: true },
    { name: "seed", label: "Seed", number: true, min: 0, max: 9999, step: 1 },
  ],
  presets: [
    { id: "collapse", title: "Mode collapse", good: false, settings: { loss: "hinge", beta1: 0.9 }, claim: { steps: 500, reached: [0, 4] },
      sentence: "With momentum 0.9 the generator runs after the critic from cluster to cluster: after 500 steps its samples are near four of the eight at most, mostly near one or two." },
    { id: "slopes", title: "R1 and R2 help", good: true, settings: { loss: "hinge", beta1: 0.9 }, against: { r1: 1, r2: 1 }, claim: { steps: 500, reached: [0, 4] }, claimAgainst: { steps: 500, reached: [8, 8] },
      sentence: "The same seed twice. B's critic also pays for its slope at data and samples: after 500 steps B has samples near all eight clusters, A near four at most." },
    { id: "packing", title: "Packing", good: true, settings: { beta1: 0 }, against: { packing: 4 }, claimAgainst: { steps: 600, reached: [5, 8] },
      sentence: "B's critic judges four points together, and sees at once if they are all alike: after 600 steps B is near five clusters or more, mostly near all eight. How near does A come, whose critic judges one at a time? Try other seeds." },
    { id: "wasserstein", title: "Wasserstein, penalty", good: true, settings: { loss: "wasserstein", gradient_penalty: 0.1, turns: 5 }, claim: { steps: 200, reached: [8, 8] },
      sentence: "Five turns of the critic for each of the generator, and its slope held near 1: all eight clusters within 200 steps." },
    { id: "modern", title: "Relativistic", good: true, settings: { loss: "relativistic", r1: 0.05, r2: 0.05, lr: 0.003, beta1: 0, beta2: 0.99 }, claim: { steps: 400, reached: [8, 8], good: [0.05, 1] },
      sentence: "Each sample is compared with a data point (R3GAN). After 400 steps the samples cover all eight clusters, and more than 5 % lie right on one." },
    { id: "grid", title: "25 clusters", good: true, settings: { data: "grid", loss: "hinge", beta1: 0.9 }, against: { loss: "relativistic", r1: 0.05, r2: 0.05, lr: 0.003, beta1: 0, beta2: 0.99 }, claim: { steps: 400, reached: [0, 16] }, claimAgainst: { steps: 400, reached: [20, 25] },
      sentence: "A is the collapsing setting, B the relativistic one: after 400 steps A is near sixteen of the 25 clusters at most, B near twenty or more." },
    { id: "moons", title: "Two moons", good: true, settings: { data: "moons", r1: 0.05, r2: 0.05, lr: 0.003, beta1: 0 }, claim: { steps: 600, reached: [0.8, 1], good: [0.5, 1] },
      sentence: "A bent shape without clusters: after 600 steps more than 80 % of the data have a sample nearby, and more than half of the samples lie on the moons." },
    { id: "own", title: "Draw your own", settings: { data: "own", r1: 0.05, r2: 0.05, lr: 0.003, beta1: 0 },
      sentence: "Draw on the picture (or move the ring with the arrow keys and press Enter), then press Play." },
  ],
  blocked: ({ data, own }) => (data === "own" && !own ? "Draw some points first." : ""),
  buttons: ({ data }) => (data === "own" ? [["Clear the drawing", { own: "" }]] : []),

  draw(paper, frame, { settings, draft, shown }) {
    if (shown.critic && frame.heat) paper.heat(frame.heat, frame.side);
    const data = plane(settings), drawing = settings.data === "own" && (draft.points || read(settings.own));
    paper.style("real", 1.2, "real", 0.9);
    if (drawing) for (const [x, y] of drawing) paper.disc(x, y, 3);
    else if (data.centres) for (const [x, y] of data.centres) paper.ellipse(x, y, 3 * data.sigma, 3 * data.sigma);
    else paper.dots(data.reference.flat(), 3);
    paper.style("generated", 1, "generated", 0.85).dots(frame.points, 3.4);
    if (shown.push && frame.push) {
      const longest = Math.max(1e-9, ...frame.push.map(Math.abs));
      paper.style("probe", 1.4, "probe", 1);
      for (let i = 0; i < frame.push.length; i += 2) paper.arrow(frame.points[i], frame.points[i + 1], (0.15 * frame.push[i]) / longest, (0.15 * frame.push[i + 1]) / longest);
    }
    if (settings.data === "own" && draft.cursor) paper.style("probe", 2).ring(...draft.cursor, 7);
    if (drawing && !drawing.length) paper.style("ink", 1, "ink", 1).words("Draw here", 0, 0, { align: "center", size: 16 });
  },

  words(frame, settings, measured) {
    const turn = frame.turn ? ` Last turn: the ${frame.turn}'s.` : "";
    if (!measured) return `Step ${frame.steps}.${turn}`;
    const where = measured.of ? `samples near ${measured.reached} of ${measured.of} clusters, ${percent(measured.good)} of the samples on a cluster` : `${percent(measured.reached)} of the data covered, ${percent(measured.good)} of the samples on it`;
    return `Step ${frame.steps}: ${where}.${turn}`;
  },
  values: (frame) => frame.losses,

  pointer({ kind, at, settings, draft, held: down }) {
    if (settings.data !== "own" || !down) return null;
    const points = kind === "down" ? read(settings.own) : draft.points || read(settings.own), last = points.at(-1);
    const next = points.length < MOST_POINTS && (kind === "down" || (kind === "move" && (!last || Math.hypot(last[0] - at[0], last[1] - at[1]) > 0.05))) ? [...points, at.map(clamp)] : points;
    return kind === "up" ? { settings: { own: written(next) } } : { draft: { points: next } };
  },
  key({ key, settings, draft, shift }) {
    if (settings.data !== "own") return null;
    const [x, y] = draft.cursor || [0, 0], by = shift ? 0.2 : 0.05, moves = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, by], ArrowDown: [0, -by] };
    if (moves[key]) return { draft: { cursor: [clamp(x + moves[key][0]), clamp(y + moves[key][1])] } };
    return key === "Enter" && draft.cursor ? { settings: { own: written([...read(settings.own), [x, y]]) }, draft: { cursor: [x, y] } } : null;
  },
};
