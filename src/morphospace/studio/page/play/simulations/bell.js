// A normal distribution on an axis, with two handles: its mean, and its standard deviation.

export const HIGH = 1.8; // the highest that a curve is drawn: a narrow one is drawn lower as a whole

export const density = (z, mean, deviation) => Math.exp(-0.5 * ((z - mean) / deviation) ** 2) / (deviation * Math.sqrt(2 * Math.PI));
export const axis = (from, to, count) => Array.from({ length: count }, (_, i) => from + ((to - from) * i) / (count - 1));

// Draws one with its base at height `floor`, `tall` for a density of 1; the handles too, if wanted.
export function bell(paper, { mean, deviation }, floor, tall, colour, handles = false) {
  const height = Math.min(tall, HIGH / density(0, 0, deviation));
  const points = axis(mean - 4 * deviation, mean + 4 * deviation, 121).map((z) => [z, floor + height * density(z, mean, deviation)]);
  paper.style(colour, 1, colour, 0.16).line(points, true, true);
  paper.style(colour, 2.2, colour, 1).line(points);
  if (!handles) return;
  const top = height * density(0, 0, deviation), side = height * density(deviation, 0, deviation);
  paper.style(colour, 2, "card", 1);
  for (const [x, y] of [[mean, floor + top], [mean + deviation, floor + side]]) { paper.disc(x, y, 7); paper.ring(x, y, 7); }
}

// What a drag of the handles does; `part` is the handle that is held.
export function dragged({ kind, at, draft }, { mean, deviation }, limits) {
  if (kind === "up") return null;
  const part = kind === "down" ? (Math.abs(at[0] - mean - deviation) < Math.abs(at[0] - mean) ? "deviation" : "mean") : draft.part;
  const within = ([low, high], v) => Math.round(100 * Math.max(low, Math.min(high, v))) / 100;
  return { part, mean: part === "mean" ? within(limits.mean, at[0]) : mean, deviation: part === "deviation" ? within(limits.deviation, Math.abs(at[0] - mean)) : deviation };
}
