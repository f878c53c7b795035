// Small models that train in the page: what each setting does, before one's eyes. It needs no run.
import { playground } from "../play/playground.js";

export const enter = async (place, { state, run }) => playground(place, state, { room: "play", run: run.name });
