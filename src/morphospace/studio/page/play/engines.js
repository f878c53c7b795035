// What can be trained in a worker, by name.
import { Coder } from "./coder.js";
import { GAN } from "./gan.js";

export const ENGINES = { gan: (settings) => new GAN(settings), coder: (settings) => new Coder(settings) };
