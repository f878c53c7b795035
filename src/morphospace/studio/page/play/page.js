// The frame of a page that holds the simulations and nothing else.
import { say } from "../dom.js";
import { State } from "../state.js";
import { copyLink, theme } from "../frame.js";
import { playground } from "./playground.js";

const state = new State(), room = document.getElementById("room");
let leave = () => {};

function enter() {
  leave();
  room.replaceChildren();
  say("");
  leave = playground(room, state);
}

theme();
copyLink(state);
state.heard.add(enter);
enter();
