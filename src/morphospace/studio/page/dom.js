// Functions that make elements, and the status line at the foot of the page.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// An error stays in the status line until the visitor does something: work that goes on does not write over it.
let kept = false;
for (const act of ["pointerdown", "keydown", "change", "drop", "paste", "hashchange"]) addEventListener(act, () => { kept = false; }, true);

export function say(words, bad = false) {
  const line = document.getElementById("status");
  line.textContent = words;
  line.className = bad ? "bad" : "";
  kept = bad;
}

// Run something that asks the server; an error is shown in the status line.
export async function trying(work) {
  try {
    return await work();
  } catch (error) {
    say(error.message, true);
    return null;
  }
}

const PATIENT = 2000; // milliseconds after which the status line says how long something has taken

const running = new Set(); // what is being worked out, in the order in which it began

// Say what has begun last and is not done, and for how long it has run; nothing if all is done.
export function tell() {
  if (kept) return;
  const newest = [...running].at(-1);
  const gone = newest && performance.now() - newest.began;
  say(newest ? `${newest.words}${gone > PATIENT ? `, ${Math.round(gone / 1000)} s` : ""}…` : "");
}

// Run something that takes a while: the status line says what, and for how long by now.
export async function busy(words, work) {
  const mine = { words, began: performance.now() };
  running.add(mine);
  tell();
  const clock = setInterval(tell, 1000);
  try {
    return await work();
  } catch (error) {
    say(error.message, true);
    throw error;
  } finally {
    clearInterval(clock);
    running.delete(mine);
    tell();
  }
}

export function button(words, click, attributes = {}) {
  return make("button", { type: "button", onclick: click, ...attributes }, words);
}

export function choice(label, values, chosen, change) {
  const select = make("select", { onchange: () => change(select.value) });
  for (const [value, words] of values) {
    select.append(make("option", { value: String(value), selected: String(value) === String(chosen) }, words));
  }
  return make("label", { class: "field" }, `${label} `, select);
}

export const framed = location.protocol === "about:"; // in a notebook: no address of its own, and no downloads

export function save(blob, name) {
  if (framed) {
    say("A notebook does not let the explorer save files. Right-click a picture to save it, or export the run as a page.");
    return;
  }
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Whether the pointer is a finger: it cannot hover, and it has neither Shift nor Escape.
export const touch = () => matchMedia("(hover: none)").matches;

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

const PAUSE = 4; // milliseconds between two moves handled before their frame: a mouse may move a thousand times a second

// Call `move` for a pointer's moves as they happen, where the browser reports them before the next frame; always for the last.
export function onMove(element, move) {
  let last = { timeStamp: 0 };
  const hear = (event) => {
    if (event.pointerId === last.pointerId && event.clientX === last.clientX && event.clientY === last.clientY) return;
    if (event.type === "pointerrawupdate" && event.timeStamp - last.timeStamp < PAUSE) return;
    last = event;
    move(event);
  };
  for (const name of ["pointerrawupdate", "pointermove"]) element.addEventListener(name, hear);
}
