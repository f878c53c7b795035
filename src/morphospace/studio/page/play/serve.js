// Trains one engine and hands over frames. The same code answers in a worker and, where there is none, in the page itself.
// Messages: make { engine, settings }; go { until, last, every }; halt; turn { player }; look { ... }; took, once a frame has
// been drawn. A frame is sent when `until` is reached, and on the way there every so many milliseconds if the last was taken.

const SLICE = 8; // milliseconds of training, after which messages are heard
const MEASURE_EVERY = 8; // frames
const PATIENCE = 1000; // milliseconds: a page that takes no frames for so long is not looked at

export function serve(engines, post) {
  let engine = null, steps = 0, until = 0, last = true, every = 0, going = false, waiting = false, sent = 0, frames = 0;
  const soon = yielder(() => work());

  function send() {
    frames += 1;
    waiting = true;
    sent = performance.now();
    const frame = { ...engine.frame(), steps, failed: Boolean(engine.failed) };
    if (engine.measure && (frames % MEASURE_EVERY === 1 || (!going && last))) frame.measured = engine.measure();
    post(frame, [...new Set(Object.values(frame).filter((v) => v instanceof Float32Array).map((v) => v.buffer))]);
  }

  function work() {
    if (!going) return;
    if (waiting && performance.now() - sent > PATIENCE) { setTimeout(work, 100); return; }
    const due = waiting ? Infinity : sent + every, end = Math.min(due, performance.now() + SLICE);
    while (steps < until && !engine.failed) {
      steps += engine.step(); // one at least, however long a frame takes
      if (performance.now() >= end) break;
    }
    if (steps >= until || engine.failed) going = false;
    if (!going || performance.now() >= due) send();
    if (going) soon();
  }

  return (message) => {
    if (message.make) {
      going = false;
      last = true;
      steps = frames = 0;
      engine = engines[message.make.engine](message.make.settings);
      send();
    } else if (message.go) {
      ({ until, last, every } = message.go);
      if (!going) { going = true; soon(); }
    } else if (message.halt) {
      going = false;
      last = true;
      send();
    } else if (message.turn) {
      last = true;
      steps += message.turn.player === "next" ? engine.oneTurn() : engine.step(message.turn.player);
      send();
    } else if (message.look) {
      engine.lookAt(message.look);
      send();
    } else if (message.took) {
      waiting = false;
    }
  };
}

// Call something again after other messages were heard. A timer would wait four milliseconds.
function yielder(call) {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = call;
  return () => port2.postMessage(0);
}
