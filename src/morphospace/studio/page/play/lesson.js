// The simulations of a lesson: each place says by its data which one, and with which settings. Below it is a link to the same
// view on the page of all simulations: to see it larger, or to send it.
import { make } from "../dom.js";
import { addressed, mount, read } from "./simulation.js";

const { play } = document.querySelector("article").dataset;

for (const place of document.querySelectorAll("[data-view]")) {
  const { simulation, preset, settings, against } = JSON.parse(place.dataset.view);
  const given = (text) => (text === undefined ? undefined : read(text)), link = make("a", {}, "This view on a page of its own");
  place.after(make("p", { class: "hint" }, link));
  const changed = (view) => { link.href = play + new URLSearchParams(Object.entries(addressed(view)).filter(([, value]) => value)); };
  mount(place, { simulation, preset, settings: given(settings), against: given(against) }, { heading: "h3", changed });
}
