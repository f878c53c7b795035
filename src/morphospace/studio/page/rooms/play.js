// Small models that train in the page, and those that the studio trains with the library's engine. It needs no run.
import { playground } from "../play/playground.js";
import { library } from "../play/simulations/library.js";

export const enter = async (place, { client, state, run }) => playground(place, state, { room: "play", run: run.name }, [library(await client.ask("gans"))]);
