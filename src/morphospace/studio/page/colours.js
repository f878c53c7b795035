// One colour a role in all rooms, from the style sheet; and a palette of classes that colour-blind people can tell apart.
const CLASSES = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bb7733", "#8468cf", "#999933", "#777777"];

export const colour = (index) => CLASSES[((index % CLASSES.length) + CLASSES.length) % CLASSES.length];
// From low to high, for everybody's eyes; `shade` takes a number from 0 to 1.
export const shades = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"];
export function shade(part) {
  const at = Math.max(0, Math.min(1, part)) * (shades.length - 1), low = Math.min(shades.length - 2, Math.floor(at));
  const mixed = [1, 3, 5].map((i) => Math.round(parseInt(shades[low].slice(i, i + 2), 16) * (low + 1 - at) + parseInt(shades[low + 1].slice(i, i + 2), 16) * (at - low)));
  return `rgb(${mixed.join(",")})`;
}
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
