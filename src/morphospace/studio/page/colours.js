// One colour a role in all rooms, from the style sheet; and a palette of classes that colour-blind people can tell apart.
const CLASSES = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bb7733", "#8468cf", "#999933", "#777777"];

export const colour = (index) => CLASSES[((index % CLASSES.length) + CLASSES.length) % CLASSES.length];
export const role = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export function ring(context, [x, y], size, stroke) {
  const ratio = devicePixelRatio || 1;
  context.beginPath();
  context.arc(x, y, size * ratio, 0, 7);
  context.lineWidth = 5 * ratio;
  context.strokeStyle = role("edge");
  context.stroke();
  context.lineWidth = 3 * ratio;
  context.strokeStyle = stroke;
  context.stroke();
}
