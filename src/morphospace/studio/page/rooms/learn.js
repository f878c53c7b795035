// The lessons: a list of the chapters, which are pages of their own. They need no run.
import { make } from "../dom.js";

export async function enter(place) {
  const answer = await fetch("learn/chapters.json");
  if (!answer.ok) throw new Error("The lessons could not be read.");
  const chapters = await answer.json();
  const link = ({ name, number, title, question, minutes }) => make("li", {}, make("span", {}, String(number)), make("a", { href: `learn/${name}.html` }, title), make("span", {}, question), make("small", {}, `${minutes} minutes`));
  place.append(
    make("h2", {}, "Learn"),
    make("p", {}, "Each chapter answers one question: predict what a simulation shows, watch it, read the formula, run the same with the library, and check what you know."),
    make("ol", { class: "chapters" }, ...chapters.map(link)),
    make("p", {}, make("a", { href: "learn/index.html" }, "All chapters, with your progress"), " · ", make("a", { href: "learn/glossary.html" }, "Glossary")),
  );
  return () => {};
}
