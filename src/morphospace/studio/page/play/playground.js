// All simulations on one page: links to each, and the one that the address names.
import { make } from "../dom.js";
import { addressed, mount, read } from "./simulation.js";
import { SIMULATIONS } from "./simulations/all.js";

// Fills an element; `state` is the page's address, `more` are simulations that only this page has. Returns what ends it.
export function playground(place, state, home = {}, more = []) {
  const simulations = [...SIMULATIONS, ...more], current = simulations.find((one) => one.id === state.get("sim")) || simulations[0];
  const links = simulations.map((one) => {
    const link = make("a", { href: `#${new URLSearchParams({ ...home, sim: one.id })}` }, one.short);
    if (one === current) link.setAttribute("aria-current", "page");
    return make("li", {}, link);
  });
  const stage = make("div", {});
  place.append(make("nav", { class: "simulations", "aria-label": "Simulations" }, make("ul", {}, ...links)), stage);
  const given = (name) => (state.get(name, null) === null ? undefined : read(state.get(name)));
  // No `against` at all is the preset's own; an empty one, written "-", is two equal sides.
  const against = state.get("vs") === "no" ? null : given("vs");
  const view = { simulation: current.id, preset: state.get("preset"), settings: given("set"), against };
  return mount(stage, view, {
    simulations,
    changed: (changed) => state.set(addressed(changed)),
  });
}
