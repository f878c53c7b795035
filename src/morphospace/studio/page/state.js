// The view is the address: what follows the # says room, run and everything chosen. A link is a view.
import { framed } from "./dom.js";

const WRITE_EVERY = 400; // milliseconds: browsers refuse pages that write their address at every movement

export class State {
  constructor() {
    // In the frame of a notebook an address such as #room=map would be one of the notebook: it is the page's own.
    document.addEventListener("click", (event) => {
      const link = event.target.closest?.("#rooms a, main a[href^='#']");
      if (!link || !framed || event.defaultPrevented) return;
      event.preventDefault();
      location.hash = link.getAttribute("href");
    });
    this.values = this.read();
    this.heard = new Set();
    this.changed = () => {};
    this.due = 0;
    addEventListener("hashchange", () => {
      clearTimeout(this.due);
      this.due = 0;
      this.values = this.read();
      for (const tell of this.heard) tell(this.values);
    });
  }

  read() {
    return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  }

  get(name, otherwise = "") {
    return this.values[name] ?? otherwise;
  }

  // Numbers as they are written in an address: short.
  code(name) {
    const text = this.values[name];
    if (!text) return null;
    const numbers = text.split(",").map(Number);
    return numbers.every(Number.isFinite) ? numbers : null;
  }

  // Change the address without leaving the room; null takes a value out.
  set(changes) {
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === "" || value === undefined) delete this.values[name];
      else this.values[name] = Array.isArray(value) ? value.map((x) => +x.toFixed(4)).join(",") : String(value);
    }
    this.due ||= setTimeout(() => this.write(), WRITE_EVERY);
    this.changed();
  }

  // Bring the address up to date now.
  write() {
    clearTimeout(this.due);
    this.due = 0;
    if (framed) return; // it has no address to write
    history.replaceState(null, "", `#${new URLSearchParams(this.values)}`);
  }

  // What the next view of this run goes on with.
  carried(run) {
    const kept = { condition: this.get("condition"), ends: run === this.get("run", run) ? this.get("ends") : "" };
    return Object.fromEntries(Object.entries(kept).filter(([, value]) => value));
  }

  // Go somewhere else: a step that the back button takes back.
  go(values) {
    if (this.due) this.write();
    values = { ...this.carried(values.run), ...values };
    location.hash = new URLSearchParams(Object.entries(values).filter(([, value]) => value)).toString();
  }
}
