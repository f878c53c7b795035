// Recordings of runs that the library's engine trained: what needs convolutions, or minutes.
import { player } from "../tape.js";
import { drawn, told } from "./drawn.js";

const NAMES = [
  ["dcgan", "DCGAN"],
  ["dcgan-mlp", "fully connected"],
  ["dcgan-pale", "no biases"],
  ["dcgan-plain", "no batch norm"],
  ["lambda-0", "VAE"],
  ["lambda-0.1", "VAE-GAN"],
];
const MOMENTS = 40; // frames of each; `python -m bench tapes` records them

export const tape = {
  id: "tape",
  title: "Recorded runs on 16x16 digits",
  short: "Recordings",
  question: "Convolutions are too slow for a page to train, so these runs of the library's engine were recorded: 25 samples of the same codes at 40 moments, from the start to step 1,000.",
  first: "Press Play, or move the slider to any moment.",
  open: (hear) => player(hear),
  starting: "The recording is loaded…",
  defaults: { tape: "dcgan" },
  length: MOMENTS - 1,
  pace: 8,
  scrubs: "Moment of the recording",
  stepLabel: "Next moment",
  legend: [],
  curves: [["critic", "critic's loss", "real"], ["generator", "generator's loss", "generated"]],
  fields: [{ name: "tape", label: "Recording", values: NAMES }],
  // Claims are about moments; a sentence gives the step of training.
  presets: [
    { id: "dcgan", title: "DCGAN", good: true, settings: {}, claim: { steps: 39, reached: [10, 10], good: [0.4, 0.6] },
      sentence: "Grey, blots, strokes, digits: at step 1,000 the samples lie nearest to digits of all ten kinds, and more than 40 % are as near to a training image as real digits are." },
    { id: "dense", title: "Fully connected", good: false, settings: {}, against: { tape: "dcgan-mlp" }, claim: { steps: 20, reached: [10, 10], good: [0.05, 0.15] }, claimLater: { steps: 28, good: [0.25, 0.35] }, claimAgainst: { steps: 20, reached: [1, 3], good: [0, 0.01] }, claimAgainstLater: { steps: 39, good: [0.1, 0.18] },
      sentence: "A is a DCGAN; B has the same rates and batches, and fully connected networks. At step 263, A's samples lie nearest to digits of all ten kinds. B draws speckled copies of three at most, and at step 1,000 is not yet as near to real digits as A was half-way." },
    { id: "norm", title: "Critic without batch norm", settings: {}, against: { tape: "dcgan-plain" }, claim: { steps: 28, good: [0.25, 0.35] }, claimLater: { steps: 39, good: [0.45, 0.5] }, claimAgainst: { steps: 28, good: [0, 0.05] }, claimAgainstLater: { steps: 39, good: [0.35, 0.45] },
      sentence: "A's critic has batch norm, B's has none and teaches more slowly. At step 515, more than 25 % of A's samples are as near to a training image as real digits are, and 5 % of B's at most. At step 1,000 B has nearly caught up." },
    { id: "contrast", title: "Critic blind to contrast", good: false, settings: {}, against: { tape: "dcgan-pale" }, claim: { steps: 39, reached: [10, 10], good: [0.45, 0.5] }, claimAgainst: { steps: 39, reached: [10, 10], good: [0.35, 0.4] },
      sentence: "A's critic has biases in its first layer, B's has none, as in published DCGANs. B's batch norm then removes the contrast of all images, so its generator draws digits, but never learns that their background is black." },
    { id: "lambda", title: "VAE, and with a critic", settings: { tape: "lambda-0" }, against: { tape: "lambda-0.1" }, claim: { steps: 39, good: [0.6, 0.7] }, claimAgainst: { steps: 39, good: [0.3, 0.45] },
      sentence: "A is a VAE: smooth strokes, and 60 % of its samples or more are as near to a training image, pixel for pixel, as real digits are. B also listens to a critic: its strokes have harder edges, and in pixels they are further off." },
  ],
  draw: drawn,
  words: (frame, settings, measured) => told({ ...frame, steps: frame.trained }, settings, measured),
};
