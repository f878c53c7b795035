// The simulations of a lesson: each place says by its data which one, and with which settings.
import { mount, read } from "./simulation.js";

for (const place of document.querySelectorAll("[data-view]")) {
  const { simulation, preset, settings, against } = JSON.parse(place.dataset.view);
  const given = (text) => (text === undefined ? undefined : read(text));
  mount(place, { simulation, preset, settings: given(settings), against: given(against) }, { heading: "h3" });
}
