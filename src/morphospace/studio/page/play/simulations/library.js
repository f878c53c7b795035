// A GAN that the library's own engine trains: every GAN of its zoo and every setting, in the plane and on small images.
import { SHAPES } from "../plane.js";
import { remote } from "../remote.js";
import { drawn, told } from "./drawn.js";
import { gan as page } from "./gan.js";

const DATA = [...SHAPES, ["digits", "digits, 16x16"], ["faces", "drawn faces, 16x16"]];
const PATTERNS = { number: /^(-?\d*\.?\d+(e[-+]?\d+)?)?$/i, whole: /^\d*$/, numbers: /^[\d.e -]*$/i, words: /^[a-z ]*$/, text: /^[\w ]{0,80}$/ };

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
    words: told,
  };
}

// Momentum 0.9, with which the plain GAN collapses.
const FAST = { gan: "dcgan", betas: "0.9 0.999", widths: "32 32", batch: "64" };
const PRESETS = [
  { id: "collapse", title: "Mode collapse", good: false, settings: FAST, claim: { steps: 400, reached: [0, 3] },
    sentence: "The plain GAN with momentum 0.9: after 400 steps its samples are near three of the eight clusters at most, mostly near one." },
  { id: "minibatch", title: "Minibatch discrimination", good: true, settings: FAST, against: { minibatch_discrimination: "8" }, claim: { steps: 400, reached: [0, 3] }, claimAgainst: { steps: 400, reached: [6, 8] },
    sentence: "B's critic also sees how alike the points of a batch are: after 400 steps B is near six clusters or more, A near three at most. Because it compares points, no place has a judgement of its own, and no map is drawn." },
  { id: "unrolled", title: "Unrolling", good: true, settings: FAST, against: { unrolled: "4" }, claim: { steps: 400, reached: [0, 3] }, claimAgainst: { steps: 400, reached: [4, 8] },
    sentence: "B's generator looks four of the critic's steps ahead, and learns through them: after 400 steps B is near four clusters or more, mostly seven or eight, A near three at most. Each of B's steps takes longer." },
  { id: "digits", title: "Digits", settings: { gan: "dcgan", data: "digits" },
    sentence: "Convolutions on handwritten digits of 16x16 pixels: 64 samples of the same codes. Full speed shows the first strokes within a minute." },
  { id: "faces", title: "Faces", settings: { gan: "r3gan", data: "faces" },
    sentence: "Drawn faces of 16x16 pixels in colour, by the GAN that compares each sample with a real image." },
  { id: "own", title: "Draw your own", settings: { gan: "r3gan", data: "own" },
    sentence: "Draw on the picture (or move the ring with the arrow keys and press Enter), then press Play." },
];
