"""A chapter: Markdown with five kinds of blocks, read, checked and turned into HTML.

`predict` asks what a simulation will show, `play` holds the simulation, `model` a diagram, `quiz` a question whose
every option explains itself, and `python` code that the tests run. Whatever is wrong stops the build and is named.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, cast

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from morphospace.errors import SettingError
from morphospace.learn.formulas import mathml

FACTS = ("number", "title", "minutes", "question")
FOLDED = re.compile(r"\s*(</?details>|<summary>[^<]*</summary>)+\s*")
NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?![\w])")
SMALL = 10  # whole numbers up to it are counts in words, not measurements


@dataclass(frozen=True)
class Option:
    """One answer to a question.

    Attributes:
        text: The answer.
        right: Whether it is the right one.
        why: Why it is right or wrong; may be empty in a prediction.
    """

    text: str
    right: bool
    why: str


@dataclass(frozen=True)
class Question:
    """A question or prediction.

    Attributes:
        name: Its name in the reader's progress: chapter and id.
        ask: The question.
        options: Its answers, one of which is right.
        then: What the simulation shows, said after it; predictions only.
    """

    name: str
    ask: str
    options: tuple[Option, ...]
    then: str = ""


@dataclass
class Chapter:
    """A chapter as it was read.

    Attributes:
        name: Name of its file.
        facts: What stands at its top: number, title, minutes, question.
        source: Its Markdown without them.
        predictions: Its predictions.
        questions: Its knowledge check.
        code: Its blocks of Python, in order.
        plays: Settings of its simulations.
        models: Settings of its diagrams.
    """

    name: str
    facts: Mapping[str, str]
    source: str
    predictions: list[Question] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    plays: list[Mapping[str, str]] = field(default_factory=list)
    models: list[Mapping[str, str]] = field(default_factory=list)

    def wrong(self, what: str, rule: str) -> SettingError:
        """Return the error that names this chapter and a place in it."""
        return SettingError(f"{self.name}.md", what, rule, "correct the chapter")


# -- reading ---------------------------------------------------------------------------------------------------


def read_chapter(name: str, text: str) -> Chapter:
    """Read a chapter and check it.

    Raises:
        SettingError: If something in it is missing, said twice or has no explanation.
    """
    found = re.match(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL)
    facts = dict(line.split(": ", 1) for line in found[1].splitlines()) if found else {}
    chapter = Chapter(name, facts, found[2] if found else text)
    if missing := [fact for fact in FACTS if fact not in facts]:
        raise chapter.wrong("its first lines", f"must say {', '.join(missing)}")
    waiting: Question | None = None
    for token in MarkdownIt("commonmark").parse(chapter.source):
        kind = token.info.strip()
        if token.type != "fence" or kind not in ("predict", "play", "model", "quiz", "python"):
            continue
        if kind == "python":
            chapter.code.append(token.content)
        elif kind in ("quiz", "predict"):
            question = read_question(chapter, token.content, kind)
            if kind == "predict":
                waiting = question
            (chapter.predictions if kind == "predict" else chapter.questions).append(question)
        elif kind == "play":
            if waiting is None:
                raise chapter.wrong(token.content.strip(), "a simulation needs a prediction before it")
            chapter.plays.append({**read_lines(token.content), "after": waiting.name})
            waiting = None
        else:
            chapter.models.append(read_lines(token.content))
    names = [question.name for question in chapter.predictions + chapter.questions]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise chapter.wrong(twice[0], "is the name of two questions")
    check_numbers(chapter)
    return chapter


def read_lines(text: str) -> dict[str, str]:
    r"""Return lines `key: value` as a dictionary.

    >>> read_lines("simulation: gan\npreset: collapse")
    {'simulation': 'gan', 'preset': 'collapse'}
    """
    return dict(re.findall(r"^(\w+): (.*)$", text, re.MULTILINE))


def read_question(chapter: Chapter, text: str, kind: str) -> Question:
    """Read a question: `id:`, `ask:`, and a line `- [x] answer :: why` for each answer.

    Raises:
        SettingError: If a part is missing, not one answer is right, or an answer has no explanation.
    """
    said = read_lines(text)
    rows = re.findall(r"^- \[( |x)\] (.*?)(?: :: (.*))?$", text, re.MULTILINE)
    options = tuple(Option(words, mark == "x", why) for mark, words, why in rows)
    what = said.get("ask", text.strip()[:60])
    if not {"id", "ask"} <= set(said):
        raise chapter.wrong(what, f"a {kind} needs id: and ask:")
    if sum(option.right for option in options) != 1 or len(options) < 2:
        raise chapter.wrong(what, "needs two answers or more, one of which is right")
    if kind == "quiz" and not all(option.why for option in options):
        raise chapter.wrong(what, "every answer must say why it is right or wrong, after ::")
    if kind == "predict" and "then" not in said:
        raise chapter.wrong(what, "a predict needs then: what the simulation shows")
    return Question(f"{chapter.name}/{kind}/{said['id']}", said["ask"], options, said.get("then", ""))


def numbers_in(text: str) -> set[str]:
    """Return the numbers of a text that say how much something is: with a point, or larger than ten.

    >>> sorted(numbers_in("in 3 steps from 1,200 to .7, or 0.70"))
    ['0.7', '1200']
    """
    text = re.sub(r"\$[^$]*\$|`[^`]*`", " ", text)  # formulas and code are no claims
    text = re.sub(r"\b(1[89]|20)\d\d\b", " ", text)  # years of sources
    found = {float(number.replace(",", "")) for number in NUMBER.findall(re.sub(r"(?<![\d])\.(?=\d)", "0.", text))}
    return {f"{number:g}" if number < 1e6 else str(int(number)) for number in found if number > SMALL or number % 1}


def check_numbers(chapter: Chapter) -> None:
    """Refuse numbers in answers that no assertion of the chapter's code has.

    Raises:
        SettingError: If there is one.
    """
    asserted: set[str] = set()
    for code in chapter.code:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Assert):
                constants = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant)]
                asserted |= {f"{value:g}" for value in constants if isinstance(value, int | float)}
    for question in chapter.questions + chapter.predictions:
        said = " ".join([question.then, *(f"{option.why}" for option in question.options)])
        asked = numbers_in(" ".join([question.ask, *(option.text for option in question.options)]))
        if loose := sorted(numbers_in(said) - asserted - asked):
            raise chapter.wrong(question.ask, f"{loose[0]} stands in an answer, and no assert of the chapter has it")


# -- writing ---------------------------------------------------------------------------------------------------


def inline_formula(state: StateInline, silent: bool) -> bool:
    """Read `$...$` within a line."""
    text, start = state.src, state.pos
    if text[start] != "$":
        return False
    end = text.find("$", start + 1)
    if end < 0 or end == start + 1 or text[start + 1].isspace():
        return False
    if not silent:
        state.push("math", "", 0).content = text[start + 1 : end]
    state.pos = end + 1
    return True


def block_formula(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Read `$$...$$` on lines of its own."""

    def line(number: int) -> str:
        return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]]

    if not line(first).startswith("$$"):
        return False
    end = first
    while not (line(end).rstrip().endswith("$$") and (end > first or len(line(first).strip()) > 2)):
        end += 1
        if end >= last:
            return False
    if not silent:
        token = state.push("math_block", "math", 0)
        token.content = "\n".join(line(number) for number in range(first, end + 1)).strip().removeprefix("$$")[:-2]
        token.map = [first, end + 1]
    state.line = end + 1
    return True


def parser() -> MarkdownIt:
    """Return the reader of Markdown with formulas."""
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    reader.inline.ruler.before("escape", "math", inline_formula)
    reader.block.ruler.before("fence", "math_block", block_formula, {"alt": ["paragraph"]})
    return reader


Shown = Callable[[Mapping[str, str]], str]
Linked = Callable[[str], str]


@dataclass
class Writer:
    """Turns Markdown into HTML.

    Attributes:
        chapter: The chapter, for errors and its blocks; a page without blocks has none.
        terms: Words of the glossary by their anchors; each first use becomes a link.
        model: Returns the HTML of a diagram.
        link: Returns the address of a link or picture.
    """

    chapter: Chapter
    terms: Mapping[str, str]
    model: Shown
    link: Linked
    used: set[str] = field(default_factory=set)

    def html(self, source: str) -> str:
        """Return Markdown as HTML."""
        reader = parser()
        rules: dict[str, Any] = cast(Any, reader.renderer).rules
        rules["math"] = lambda tokens, i, *_: mathml(tokens[i].content, display=False)
        rules["math_block"] = lambda tokens, i, *_: f'<div class="formula" tabindex="0">{self.block(tokens[i])}</div>'
        rules["code_block"] = rules["fence"] = lambda tokens, i, *_: self.fence(tokens[i])
        rules["html_block"] = rules["html_inline"] = lambda tokens, i, *_: self.folded(tokens[i])
        tokens = reader.parse(source)
        self.prepare(tokens)
        return str(reader.renderer.render(tokens, reader.options, {}))

    def block(self, token: Token) -> str:
        """Return a formula on a line of its own."""
        return mathml(token.content, display=True)

    def line(self, text: str) -> str:
        """Return one line of Markdown as HTML, without a paragraph around it."""
        return self.html(text).strip().removeprefix("<p>").removesuffix("</p>")

    def folded(self, token: Token) -> str:
        """Return HTML of a chapter, which may fold a derivation and nothing else.

        Raises:
            SettingError: If it is something else.
        """
        if not all(FOLDED.fullmatch(line) for line in token.content.splitlines() if line.strip()):
            raise self.chapter.wrong(token.content.strip()[:60], "is HTML; only <details> and <summary> may stand here")
        return token.content

    def fence(self, token: Token) -> str:
        """Return one of the blocks, or code."""
        kind, chapter = token.info.strip(), self.chapter
        if kind in ("quiz", "predict"):
            name = f"{chapter.name}/{kind}/{read_lines(token.content)['id']}"
            several = chapter.questions if kind == "quiz" else chapter.predictions
            return self.question(next(one for one in several if one.name == name), kind)
        if kind == "play":
            said = read_lines(token.content)
            after = next(play["after"] for play in chapter.plays if {**said, "after": play["after"]} == play)
            return self.play(said, next(one for one in chapter.predictions if one.name == after))
        if kind == "model":
            return self.model(read_lines(token.content))
        language = escape(kind.split(maxsplit=1)[0]) if kind else "text"
        return f'<pre tabindex="0" class="{language}"><code>{escape(token.content)}</code></pre>\n'

    def question(self, question: Question, kind: str) -> str:
        """Return a question as a form."""
        rows = []
        for option in question.options:
            right = " data-right" if option.right else ""
            why = f'<span class="why" hidden>{self.line(option.why)}</span>' if option.why else ""
            value, name = escape(option.text), escape(question.name)
            field = f'<input type="radio" name="{name}" value="{value}"{right}>'
            rows.append(f'<div class="option"><label>{field} <span>{self.line(option.text)}</span></label>{why}</div>')
        head = "Predict" if kind == "predict" else "Question"
        return (
            f'<form class="{kind}" data-name="{escape(question.name)}"><fieldset><legend><b>{head}</b> '
            f'{self.line(question.ask)}</legend>{"".join(rows)}</fieldset><p class="said" role="status"></p></form>\n'
        )

    def play(self, said: Mapping[str, str], prediction: Question) -> str:
        """Return the place of a simulation, and after it what was predicted and what it shows."""
        view = {name: said[name] for name in ("simulation", "preset", "settings", "against") if name in said}
        note = f"<p>{self.line(said['note'])}</p>" if "note" in said else ""
        without = "A simulation stands here. It needs JavaScript; <code>morpho play</code> has it too."
        return (
            f'<section class="simulation wide">{note}<div class="stage" data-view="{escape(json.dumps(view))}">'
            f'<p class="hint">{without}</p></div>'
            f'<div class="after" data-after="{escape(prediction.name)}"><p class="quoted" hidden></p>'
            f"<details><summary>What it shows</summary><p>{self.line(prediction.then)}</p></details></div></section>\n"
        )

    # -- links and terms ---------------------------------------------------------------------------------------

    def prepare(self, tokens: Sequence[Token]) -> None:
        """Give headings anchors, lead links into the site, and link the first use of each term of the glossary."""
        heading = ""
        heads: list[str] = []  # of the table's columns: a narrow page writes them before each cell
        column = 0
        for number, token in enumerate(tokens):
            if token.type == "heading_open":
                heading = token.tag
                token.attrSet("id", slug(tokens[number + 1].content))
            elif token.type == "heading_close":
                heading = ""
            elif token.type in ("th_open", "td_open"):
                if style := token.attrs.pop("style", ""):
                    token.attrSet("class", str(style).removeprefix("text-align:"))  # the policy forbids styles here
                if token.type == "th_open":
                    heads.append(tokens[number + 1].content)
                else:
                    token.attrSet("data-head", heads[column])
                    column += 1
            elif token.type == "tr_open":
                column = 0
            elif token.type == "table_open":
                heads = []
                token.attrSet("tabindex", "0")  # a wide one scrolls, by keyboard too
            elif token.type == "inline" and token.children:
                self.lead(token.children)
                if not heading and self.terms:
                    token.children = self.explained(token.children)

    def lead(self, children: Sequence[Token]) -> None:
        """Lead the links and pictures of a line into the site."""
        for child in children:
            for name in ("href", "src"):
                if (target := child.attrGet(name)) is not None:
                    child.attrSet(name, self.link(str(target)))
                    if "glossary.html#" in str(child.attrGet(name)):
                        self.used.add(str(child.attrGet(name)).partition("#")[2])
                        child.attrSet("class", "term")

    def explained(self, children: Sequence[Token]) -> list[Token]:
        """Return a line's tokens, in which the first use of each term is a link."""
        out: list[Token] = []
        within = 0
        for child in children:
            within += child.nesting if child.type.startswith("link_") else 0
            if child.type == "text" and not within:
                out += self.split(child.content)
            else:
                out.append(child)
        return out

    def split(self, text: str) -> list[Token]:
        """Return a text as tokens, with links at terms that were not used before."""
        best: tuple[int, int, str] | None = None
        for word, anchor in self.terms.items():
            if anchor in self.used:
                continue
            flags = 0 if word.isupper() else re.IGNORECASE
            found = re.search(rf"(?<![\w-]){re.escape(word)}s?(?![\w-])", text, flags)
            if found and (best is None or (found.start(), -found.end()) < (best[0], -best[1])):
                best = found.start(), found.end(), anchor
        if best is None:
            return [words(text)] if text else []
        start, end, anchor = best
        self.used.add(anchor)
        opening, closing = Token("link_open", "a", 1), Token("link_close", "a", -1)
        opening.attrSet("href", f"glossary.html#{anchor}")
        opening.attrSet("class", "term")
        before = [words(text[:start])] if start else []
        return [*before, opening, words(text[start:end]), closing, *self.split(text[end:])]


def words(text: str) -> Token:
    """Return a token of plain text."""
    return Token("text", "", 0, content=text)


def slug(title: str) -> str:
    """Return the anchor of a heading, as GitHub makes it.

    >>> slug("Bits/dim"), slug("Best checkpoint")
    ('bitsdim', 'best-checkpoint')
    """
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
