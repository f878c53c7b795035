// Plays a recording of a run: frames of chosen moments, from a file beside the page or an element in it. It hears what
// `serve.js` hears; a "step" is a moment of the recording, and `trained` the step of training that it shows.
import { unpack } from "./frames.js";

const loading = new Map();

// The frames of a recording.
export function load(name) {
  if (!loading.has(name)) loading.set(name, letters(name).then(read));
  return loading.get(name);
}

async function letters(name) {
  const inside = document.getElementById(`tape-${name}`);
  if (inside) return inside.textContent;
  await new Promise((done, fail) => {
    const script = document.createElement("script");
    script.src = `${document.getElementById("play-worker") ? "" : "play/"}tape-${name}.js`; // a page in files has its worker inside
    script.onload = done;
    script.onerror = () => { loading.delete(name); fail(new Error("The recording could not be loaded.")); };
    document.head.append(script);
  });
  return globalThis.tapes[name];
}

async function read(text) {
  const bytes = Uint8Array.from(atob(text.replace(/\s/g, "")), (letter) => letter.charCodeAt(0));
  const whole = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
  const view = new DataView(whole), parts = [];
  for (let at = 0; at < whole.byteLength; at += 4 + view.getUint32(at, true)) parts.push(whole.slice(at + 4, at + 4 + view.getUint32(at, true)));
  return parts.slice(1).map(unpack);
}

export function player(hear) {
  let frames = [], at = 0, last = null;
  // What came before is known at any moment, also if the slider has passed over it.
  const show = () => hear({ ...frames[at], trained: frames[at].steps, steps: at, before: frames.slice(0, at + 1).map(({ losses }, step) => ({ step, ...losses })) });
  const go = (to) => { at = Math.max(0, Math.min(frames.length - 1, to)); show(); };
  const post = (message) => {
    if (message.make) {
      const { tape } = message.make.settings;
      frames = [];
      last = tape;
      load(tape).then((found) => { if (last === tape) { frames = found; go(0); } }, (error) => { if (last === tape) hear({ refused: error.message }); });
    } else if (!frames.length) return;
    else if (message.go) go(message.go.until);
    else if (message.turn) go(at + 1);
    else if (message.seek !== undefined) go(message.seek);
    else if (message.halt) show();
  };
  return { post, close: () => { last = null; } };
}
