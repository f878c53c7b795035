// What the rooms say: what one sees, what to do first, and the words that a newcomer may not know.
import { make } from "./dom.js";

// A word: its place in the glossary, and what it means here, in one sentence.
const TERMS = {
  code: ["Code", "latent-code", "The short list of numbers from which the model makes one image. Similar codes make similar images."],
  decode: ["Decode", "decoder", "To make the image of a code."],
  encode: ["Encode", "encoder", "To find the code of an image."],
  held: ["Held-out image", "held-out-images", "An image that was kept aside: the model never trained on it."],
  component: ["Component", "pca-component", "A direction in which the codes of the data vary. The first one varies most."],
  map: ["PCA, UMAP", "latent-map", "Two ways to lay the codes out flat. PCA cuts a plane through them, and every place of it can be decoded. UMAP keeps neighbours together, and only the dots themselves are images."],
  attribute: ["Attribute", "attribute-direction", "Something that images of the data have or lack, such as glasses. The slider moves the code from images without it towards images with it; what often comes along with it changes too."],
  right: ["% right", "balanced-accuracy", "How often the direction of a slider tells held-out images with the attribute from those without. 50 % is guessing."],
  dimension: ["Dimension", "latent-dimension", "One of the numbers of a code."],
  mean: ["Average code", "mean-code", "The average of the codes of many images."],
  seed: ["Seed", "seed", "A number that stands for one random code. The same seed always makes the same image."],
  ends: ["Start and end", "start-and-end", "The two codes between which a path runs."],
  linear: ["Straight line", "interpolation", "Mixes the two codes, number by number. In the middle the code is shorter than codes usually are."],
  slerp: ["Along the sphere", "slerp", "Turns from one code to the other and keeps the length that codes usually have."],
  rotate: ["Rotation", "interpolation", "Turns from one code to the other, while the length changes evenly from the first to the second."],
  projection: ["Most similar image", "projection", "The image that the encoder finds, or that a search over codes finds, for a picture."],
  error: ["Error", "mse", "Mean squared difference of two images, pixel by pixel, with black as 0 and white as 1."],
  unlike: ["Unlike what the model has learned", "anomaly-score", "Almost no held-out image is reconstructed as badly as this picture."],
  run: ["Run", "training-run", "One training of one model, with its settings, numbers and weights."],
  reconstruction: ["Reconstruction", "reconstruction", "What the model makes of the code of a given image."],
  loss: ["Loss", "objective", "The number that training makes smaller."],
  nats: ["Nats", "nats-per-image", "The unit in which a VAE counts how unlikely an image is: 1.44 bits each."],
  kl: ["kl", "kl", "How much a code says about its image, in nats. Near 0 it says nothing."],
  critic: ["Critic", "critic", "The network that judges whether an image is real. At .5 it cannot tell any more."],
  checkpoint: ["Checkpoint", "checkpoint", "The state of a run at one moment, from which its images are made."],
  card: ["Model card", "model-card", "A page that says what a model was made of, and what it is and is not for."],
};

// What one sees, what to do first, and the words behind "What is this?".
export const ROOMS = {
  map: ["Each dot is a held-out image: similar ones lie close together. Behind them is what the model makes at each place.",
    "Point anywhere to see that place, and click or tap to keep it.", ["held", "code", "decode", "component", "map"]],
  sliders: ["One image, and what can be changed about it. The sliders that work best come first.",
    "Drag a slider.", ["attribute", "right", "component", "dimension", "mean", "seed"]],
  morph: ["Three ways from a start to an end: straight, along the sphere, and by rotation.",
    "Press Play, or drag the slider.", ["ends", "linear", "slerp", "rotate", "seed"]],
  project: ["Give the model a picture, and see the most similar image that it can make.",
    "Choose a sample picture, or drop your own.", ["projection", "encode", "error", "unlike"]],
  compare: ["The same seed or the same image in several runs, side by side.",
    "Press Next to see another.", ["run", "seed", "reconstruction", "error"]],
  training: ["How the numbers of this run changed while it trained, and what it made of the same random codes at each moment.",
    "Drag the slider below the samples to go back to the beginning.", ["loss", "held", "nats", "kl", "critic", "checkpoint"]],
  runs: ["What this model is, what it was made of, and how it was trained.", "", ["run", "card", "dimension", "checkpoint"]],
};

// The head of a room. A page that has the lessons links their glossary.
export function intro(room, lacks) {
  if (!ROOMS[room]) return null;
  const [seen, first, terms] = ROOMS[room];
  const entry = ([term, place, meaning]) => [make("dt", {}, lacks.has("learn") ? term : make("a", { href: `learn/glossary.html#${place}` }, term)), make("dd", {}, meaning)];
  return make("section", { class: "intro" }, make("p", {}, seen, first && make("b", {}, ` ${first}`)),
    make("details", {}, make("summary", {}, "What is this?"), make("dl", {}, ...terms.flatMap((term) => entry(TERMS[term])))));
}

// A name of the data as a person writes it: Curly_Hair is Curly hair, 5_o_Clock_Shadow is 5 o'clock shadow.
export function spoken(name) {
  const text = String(name);
  if (!/^[\w -]*$/.test(text)) return text;
  const words = text.includes("_") ? text.replace(/_+/g, " ").trim().toLowerCase().replace(/\bo clock\b/, "o'clock") : text;
  return words.replace(/^[a-z]/, (first) => first.toUpperCase());
}
