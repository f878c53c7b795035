// Trains with the library's own engine: the server does it in a process of its own, and sends frames. One connection serves
// both pictures of a page; it closes when neither is left, and the process ends with it.
import { unpack } from "./frames.js";

const LINGER = 3000; // milliseconds that it stays open for a next run
const LOST = "The connection to the library's engine is lost. Press “Back to the start” to begin anew.";

let socket = null, closing = 0;
const pictures = new Map();

function connected() {
  clearTimeout(closing);
  if (socket) return socket;
  const scheme = location.protocol === "https:" ? "wss:" : "ws:", opened = new WebSocket(`${scheme}//${location.host}/train${location.search}`);
  socket = opened;
  opened.binaryType = "arraybuffer";
  opened.waiting = [];
  opened.onopen = () => { for (const text of opened.waiting.splice(0)) opened.send(text); };
  opened.onmessage = (event) => { const frame = unpack(event.data); pictures.get(frame.picture)?.(frame); };
  opened.onclose = (event) => {
    if (socket !== opened) return;
    socket = null;
    for (const hear of pictures.values()) hear({ refused: event.reason ? `${event.reason[0].toUpperCase()}${event.reason.slice(1)}.` : LOST });
  };
  return opened;
}

function send(command) {
  const to = connected(), text = JSON.stringify(command);
  if (to.readyState === WebSocket.OPEN) to.send(text); else to.waiting.push(text);
}

// What trains one picture; `asked` turns its settings into the fields of the command to make a run.
export function remote(picture, asked, hear) {
  let run = 0, made = false;
  pictures.set(picture, (frame) => {
    if (frame.refused !== undefined && frame.run === undefined) made = false; // the connection, or a command that the server refused
    if (frame.run === undefined || frame.run === run) hear(frame);
  });
  const post = (message) => {
    if (message.make) {
      run += 1;
      made = true;
      send({ kind: "make", picture, run, ...asked(message.make.settings) });
    } else if (!made) return;
    else if (message.go) send({ kind: "go", picture, until: message.go.until });
    else if (message.halt) send({ kind: "halt", picture });
    else if (message.turn) send({ kind: "turn", picture, player: message.turn.player || "all" });
    else if (message.took) send({ kind: "took", picture });
  };
  const close = () => {
    pictures.delete(picture);
    if (made) send({ kind: "close", picture });
    closing = setTimeout(() => { if (!pictures.size && socket) { const gone = socket; socket = null; gone.close(); } }, LINGER);
  };
  return { post, close };
}
