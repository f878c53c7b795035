// The one interface to whatever decodes: ask(kind, fields) -> facts and images. Here a websocket answers it; in a page
// that decodes by itself local.js does, which has the same methods. Nothing else knows which it is.

export class Client {
  constructor() {
    this.number = 0;
    this.waiting = new Map();
    this.down = () => {};
    this.lacks = new Set(); // rooms and abilities that it does not have: none
    this.connect();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(`${scheme}//${location.host}/ws${location.search}`);
    this.socket.binaryType = "arraybuffer";
    this.ready = new Promise((open, fail) => {
      this.socket.onopen = () => { this.wait = 250; this.down(false); open(); };
      this.socket.onclose = (event) => {
        const why = event.reason || "The connection to the studio is lost. Is it still running?";
        for (const { fail: refuse } of this.waiting.values()) refuse(new Error(why));
        this.waiting.clear();
        fail(new Error(why));
        this.down(true, why);
        this.wait = Math.min(8000, (this.wait || 250) * 2);
        setTimeout(() => this.connect(), this.wait);
      };
    });
    this.ready.catch(() => {});
    this.socket.onmessage = (event) => this.hear(event.data);
  }

  // Ask and wait. Of one channel only the newest question is answered; the others end as null.
  async ask(kind, fields = {}, channel = undefined) {
    await this.ready;
    const id = ++this.number;
    return new Promise((answer, fail) => {
      this.waiting.set(id, { answer, fail });
      this.socket.send(JSON.stringify({ id, kind, channel, ...fields }));
    });
  }

  hear(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    const waiting = this.waiting.get(facts.id);
    if (!waiting) return;
    this.waiting.delete(facts.id);
    if (facts.dropped) return waiting.answer(null);
    if (facts.error) return waiting.fail(new Error(facts.error));
    let at = 4 + length;
    const images = {};
    for (const { name, count, height, width } of facts.blocks) {
      images[name] = [];
      for (let i = 0; i < count; i++, at += 4 * height * width) {
        images[name].push(new ImageData(new Uint8ClampedArray(buffer, at, 4 * height * width), width, height));
      }
    }
    waiting.answer({ ...facts, images, file: facts.bytes ? buffer.slice(at, at + facts.bytes) : null });
  }

  // Send a picture; the answer is the name by which requests may mean it.
  async send(file) {
    const answer = await fetch(`picture${location.search}`, { method: "POST", body: file });
    const facts = await answer.json().catch(() => ({ error: `The studio refused the image (${answer.status}).` }));
    if (facts.error) throw new Error(facts.error);
    return facts.picture;
  }

  // Call `tell` with every event: new runs, new lines of a run's curves, new grids. A page that nobody sees does not
  // listen, since a browser opens only a few connections; when it is seen again, the event "again" comes first.
  listen(tell) {
    let source = null;
    const turn = () => {
      if (document.hidden) { source?.close(); source = null; return; }
      if (source) return;
      source = new EventSource(`events${location.search}`);
      source.onmessage = (event) => tell(JSON.parse(event.data));
    };
    document.addEventListener("visibilitychange", () => { turn(); if (!document.hidden) tell({ kind: "again" }); });
    turn();
  }
}
