// Markdown as elements: the kinds that a model card has. Everything is made as text; nothing in it can be an element.
import { make } from "./dom.js";

const BREAK = /^(#{1,6} |- |\| |\||```|$)/;

// Elements of a Markdown text, without the header that stands between lines of ---, and without pictures.
export function markdown(text) {
  const lines = text.replace(/^---\n[\s\S]*?\n---\n/, "").split("\n"), made = [];
  let at = 0;
  const take = (more) => { const first = at; while (at < lines.length && more(lines[at])) at += 1; return lines.slice(first, at); };
  while (at < lines.length) {
    const line = lines[at], head = /^(#{1,6}) (.*)/.exec(line);
    if (head) { made.push(make(`h${Math.min(6, head[1].length + 2)}`, {}, ...inline(head[2]))); at += 1; }
    else if (line.startsWith("```")) {
      at += 1;
      made.push(make("pre", { tabIndex: 0 }, take((one) => !one.startsWith("```")).join("\n")));
      at += 1;
    } else if (line.startsWith("- ")) made.push(make("ul", {}, ...take((one) => one.startsWith("- ")).map((one) => make("li", {}, ...inline(one.slice(2))))));
    else if (line.startsWith("|")) made.push(table(take((one) => one.startsWith("|"))));
    else if (!line.trim() || line.startsWith("![")) at += 1;
    else made.push(make("p", {}, ...inline([line, ...(at += 1, take((one) => !BREAK.test(one)))].join(" "))));
  }
  return made;
}

function table(lines) {
  const cells = (line) => line.replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim());
  const [head, , ...body] = lines.map(cells);
  const row = (tag, values) => make("tr", {}, ...values.map((value, i) => make(tag === "th" ? "th" : i ? "td" : "th", tag === "th" ? { scope: "col" } : i ? {} : { scope: "row" }, ...inline(value))));
  return make("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Table" }, make("table", { class: "wrap" }, ...(head.some(Boolean) ? [make("thead", {}, row("th", head))] : []), make("tbody", {}, ...body.map((values) => row("td", values)))));
}

// Code, bold, and what a backslash keeps as it is.
function inline(text) {
  const made = [];
  let plain = "";
  const flush = () => { if (plain) made.push(plain); plain = ""; };
  for (let at = 0; at < text.length; at++) {
    const rest = text.slice(at), code = /^`([^`]*)`/.exec(rest), bold = /^\*\*((?:[^*\\]|\\.)+)\*\*/.exec(rest);
    if (rest[0] === "\\" && rest.length > 1) { plain += rest[1]; at += 1; }
    else if (code) { flush(); made.push(make("code", {}, code[1].replace(/\\\|/g, "|"))); at += code[0].length - 1; }
    else if (bold) { flush(); made.push(make("b", {}, ...inline(bold[1]))); at += bold[0].length - 1; }
    else plain += rest[0];
  }
  flush();
  return made;
}
