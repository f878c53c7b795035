// A GAN that the library's own engine trains: every GAN of its zoo and every setting, in the plane and on small images.
import { tiles } from "../paper.js";
import { remote } from "../remote.js";
import { SHAPES } from "../plane.js";
import { gan as page } from "./gan.js";

const DATA = [...SHAPES, ["digits", "digits, 16x16"], ["faces", "drawn faces, 16x16"]];
const PATTERNS = { number: /^(-?\d*\.?\d+(e[-+]?\d+)?)?$/i, whole: /^\d*$/, numbers: /^[\d.e -]*$/i, words: /^[a-z ]*$/, text: /^[\w ]{0,80}$/ };
const ACROSS = 8; // images a row

// A setting's value as JSON has it.
const typed = (kind, value) => (kind === "switch" ? value === "on" : kind === "number" || kind === "whole" ? Number(value)
  : kind === "numbers" ? value.trim().split(/\s+/).map(Number) : kind === "words" ? value.trim().split(/\s+/) : value);

// The field of a setting; empty means what is usual for the GAN and the data.
function field({ name, label, hint, kind, values, min, max, more }, usual) {
  const shared = { name, label, hint, more, when: (settings) => usual(settings, name) !== undefined, usual: (settings) => usual(settings, name) };
  const choices = kind === "switch" ? ["on", "off"] : values;
  if (choices) return { ...shared, values: [["", "usual"], ...choices.map((value) => [value, value])] };
  return { ...shared, pattern: PATTERNS[kind], ...(kind === "number" || kind === "whole" ? { number: true, min, max, step: kind === "whole" ? 1 : "any" } : {}) };
}

// `offer`: what the server can train, as `studio/live/settings.py` lists it.
export function library(offer) {
  const gans = new Map(offer.gans.map((one) => [one.name, one])), images = new Set(offer.data.images);
  const ground = ({ data }) => (images.has(data) ? "images" : "plane"), inPlane = (settings) => ground(settings) === "plane";
  const usual = (settings, name) => gans.get(settings.gan)?.defaults[ground(settings)][name];
  const rows = new Map(offer.gans.flatMap((one) => one.settings.map((row) => [row.name, row])));
  const fields = [
    { name: "gan", label: "GAN", values: offer.gans.map(({ name }) => [name, name]), hint: "The member of the library's zoo." },
    { name: "data", label: "Data", values: DATA.filter(([name]) => images.has(name) || offer.data.plane.includes(name)) },
    { name: "own", label: "Drawing", pattern: page.fields.find(({ name }) => name === "own").pattern },
    ...[...rows.values()].map((row) => field(row, usual)),
    { name: "batch", label: "batch", more: true, pattern: PATTERNS.whole, number: true, min: 1, max: offer.batch.most, step: 1, usual: (settings) => String(offer.batch[ground(settings)]) },
    { name: "seed", label: "Seed", number: true, min: 0, max: 9999, step: 1 },
  ];
  const asked = ({ gan, data, own, seed, batch, ...settings }) => {
    const set = Object.entries(settings).filter(([name, value]) => value !== "" && usual({ gan, data }, name) !== undefined);
    return { gan, data, own: data === "own" ? own : "", seed, batch: Number(batch), settings: Object.fromEntries(set.map(([name, value]) => [name, typed(rows.get(name).kind, value)])) };
  };
  const defaults = { ...Object.fromEntries(fields.map(({ name }) => [name, ""])), gan: "dcgan", data: "ring", seed: 0 };
  return {
    ...page,
    id: "library",
    title: "A GAN by the library's own engine",
    short: "GAN, library's engine",
    question: "Every GAN of the library, with every remedy, in the plane and on images of 16x16 pixels. This studio trains it and sends what it looks like, up to 25 times a second.",
    first: "Press Play. An empty field means the grey value in it.",
    engine: "library",
    together: true,
    asked,
    open: (hear, picture) => remote(picture, asked, hear),
    starting: "The library's engine starts…",
    defaults,
    fields,
    presets: PRESETS,
    length: (settings) => (inPlane(settings) ? 1500 : 1000),
    pace: (settings) => (inPlane(settings) ? 150 : 50),
    toggles: page.toggles.map((toggle) => ({ ...toggle, when: inPlane })),
    legend: [...page.legend.map((entry) => [...entry, inPlane])],
    draw: drawn,
    words: (frame, settings, measured) => told(frame, settings, measured, page),
  };
}

// What a recording shows too.
export function drawn(paper, frame, view) {
  if (!frame.images) return page.draw(paper, frame, view);
  const image = tiles(frame.images, frame.shape, ACROSS, 1), wide = 2;
  return paper.image(image, -1, 1, wide);
}

export function told(frame, settings, measured, plane = page) {
  if (!frame.images || !measured) return plane.words(frame, settings, measured);
  const classes = measured.of ? `samples nearest to ${measured.reached} of ${measured.of} classes, ` : "";
  return `Step ${frame.steps}: ${classes}${Math.round(100 * measured.good)} % as near to a training image as real ones are.`;
}

// Momentum 0.9, with which the plain GAN collapses.
const FAST = { gan: "dcgan", betas: "0.9 0.999" };
const PRESETS = [
  { id: "collapse", title: "Mode collapse", good: false, settings: FAST, claim: { steps: 1000, reached: [0, 5] },
    sentence: "The plain GAN with momentum 0.9: after 1,000 steps its samples are near five of the eight clusters at most, mostly near one or two." },
  { id: "unrolled", title: "Unrolling", good: true, settings: FAST, against: { unrolled: "4" }, claim: { steps: 1000, reached: [0, 5] }, claimAgainst: { steps: 1000, reached: [7, 8] },
    sentence: "B's generator looks four of the critic's steps ahead, and learns through them: after 1,000 steps B is near seven clusters or all eight, A near five at most. B pays with slower steps." },
  { id: "minibatch", title: "Minibatch discrimination", good: true, settings: FAST, against: { minibatch_discrimination: "8" }, claim: { steps: 1000, reached: [0, 5] }, claimAgainst: { steps: 1000, reached: [7, 8] },
    sentence: "B's critic also sees how alike the points of a batch are: after 1,000 steps B is near seven clusters or all eight. It compares points, so no place has a judgement of its own to draw." },
  { id: "digits", title: "Digits", good: true, settings: { gan: "dcgan", data: "digits" }, claim: { steps: 500, reached: [8, 10], good: [0.1, 1] },
    sentence: "Convolutions on handwritten digits of 16x16 pixels. After 500 steps there are samples of eight digits or more, and more than 10 % are as near to a training image as real ones are." },
  { id: "norm", title: "Batch norm", good: true, settings: { gan: "dcgan", data: "digits" }, against: { critic_norm: "none" }, claim: { steps: 250, good: [0.08, 1] }, claimAgainst: { steps: 250, good: [0, 0.06] },
    sentence: "B's critic has no batch norm, and teaches more slowly at first: after 250 steps fewer than 6 % of B's samples are as near to a training image as real digits are, and more than 8 % of A's." },
  { id: "own", title: "Draw your own", settings: { gan: "r3gan", data: "own" },
    sentence: "Draw on the picture (or move the ring with the arrow keys and press Enter), then press Play." },
];
