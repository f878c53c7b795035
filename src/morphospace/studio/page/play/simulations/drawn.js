// How a run of the library's engine is drawn and said in words, as it trains or from a recording.
import { tiles } from "../paper.js";
import { gan } from "./gan.js";

export function drawn(paper, frame, view) {
  if (!frame.images) return gan.draw(paper, frame, view);
  const across = Math.sqrt(frame.images.length / frame.shape.reduce((a, b) => a * b));
  return paper.image(tiles(frame.images, frame.shape, across, 1), -1, 1, 2);
}

export function told(frame, settings, measured) {
  if (!frame.images || !measured) return gan.words(frame, settings, measured);
  const classes = measured.of ? `samples nearest to ${measured.reached} of ${measured.of} classes, ` : "";
  return `Step ${frame.steps.toLocaleString("en")}: ${classes}${Math.round(100 * measured.good)} % as near to a training image as real ones are.`;
}
