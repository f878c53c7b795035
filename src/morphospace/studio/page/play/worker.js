// The worker that trains.
import { ENGINES } from "./engines.js";
import { serve } from "./serve.js";

const hear = serve(ENGINES, (frame, moved) => postMessage(frame, moved));
onmessage = (event) => hear(event.data);
