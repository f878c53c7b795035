"""Chapters: what is wrong in one is named, and all code of those that are there runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from morphospace import Run, train
from morphospace.errors import SettingError
from morphospace.learn.chapter import Chapter, Writer, numbers_in, read_chapter
from morphospace.learn.site import chapters, terms

HEAD = "---\nnumber: 1\ntitle: T\nminutes: 5\nquestion: Why?\n---\n"
PREDICT = "```predict\nid: a\nask: What?\n- [x] This\n- [ ] That\nthen: This.\n```\n"
PLAY = "```play\nsimulation: gan\n```\n"
QUIZ = "```quiz\nid: a\nask: What?\n- [x] This :: Yes.\n- [ ] That :: No.\n```\n"
BRIEF = {"from-scratch"}  # trains for longer than a test may


@pytest.mark.parametrize("chapter", chapters(), ids=lambda chapter: chapter.name)
def test_the_code_runs(chapter: Chapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def briefly(*arguments: Any, **settings: Any) -> Run:
        settings.pop("epochs", None)
        return train(*arguments, **{**settings, "images": 64, "batch_size": 32})

    if chapter.name in BRIEF:
        monkeypatch.setattr("morphospace.tools.train.train.train", briefly)
    program: dict[str, Any] = {"__name__": chapter.name}
    for code in chapter.code:
        exec(code, program)


def test_chapters_are_whole() -> None:
    assert [int(chapter.facts["number"]) for chapter in chapters()] == [*range(1, 11)]
    for chapter in chapters():
        assert 3 <= len(chapter.questions) <= 5 and chapter.plays and chapter.code, chapter.name
        assert "## Sources" in chapter.source
        assert len(re.findall(r"\b(?:19|20)\d\d\b", chapter.source.split("## Sources")[1])) >= 3
        if chapter.name not in BRIEF:
            assert chapter.models and "<summary>" in chapter.source, chapter.name
    assert sum(len(chapter.questions) for chapter in chapters()) >= 35


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("# No head", "must say number"),
        (HEAD + PLAY, "needs a prediction before it"),
        (HEAD + PREDICT + PLAY + PLAY, "needs a prediction before it"),
        (HEAD + QUIZ + QUIZ, "is the name of two questions"),
        (HEAD + QUIZ.replace("[ ]", "[x]"), "one of which is right"),
        (HEAD + QUIZ.replace(" :: No.", ""), "must say why"),
        (HEAD + QUIZ.replace("id: a\n", ""), "needs id: and ask:"),
        (HEAD + PREDICT.replace("then: This.\n", ""), "needs then:"),
        (HEAD + QUIZ.replace("Yes.", "It is 0.42."), "0.42 stands in an answer"),
    ],
)
def test_what_is_wrong_is_named(text: str, wrong: str) -> None:
    with pytest.raises(SettingError, match=wrong):
        read_chapter("one", text)


def test_a_number_of_an_assertion_may_stand_in_an_answer() -> None:
    text = HEAD + QUIZ.replace("Yes.", "It is 0.42, in 1,500 of 3 cases.")
    code = "```python\nassert abs(x - 0.42) < 0.1 and n == 1500\n```\n"
    assert read_chapter("one", text + code).questions[0].options[0].why.startswith("It is 0.42")
    with pytest.raises(SettingError, match="stands in an answer, and no assert"):
        read_chapter("one", text + code.replace("assert ", ""))
    assert numbers_in("in 2014, of 7 or 12 cases, 1.5 and .25") == {"12", "1.5", "0.25"}


def written(source: str) -> str:
    chapter = read_chapter("one", HEAD + source)
    link = lambda target: target.removeprefix("../").replace(".md", ".html")  # noqa: E731
    return Writer(chapter, terms(), lambda said: "", link).html(chapter.source)


def test_the_first_use_of_a_term_is_linked_and_no_other() -> None:
    made = written(
        "# The prior\n\nThe prior and the `prior` and the prior. A [critic](../glossary.md#critic), the critic."
    )
    assert made.count('href="glossary.html#prior"') == 1 and '<p>The <a href="glossary.html#prior"' in made
    assert made.count("#critic") == 1
    assert "glossary" not in written("priors-x and aprior")


def test_cells_know_the_heads_of_their_columns() -> None:
    made = written("| rule | of *G* |\n|---|--:|\n| one | two |\n| three | four |\n\nText.\n\n| sum |\n|---|\n| five |")
    assert '<td data-head="rule">three</td>\n<td class="right" data-head="of *G*">four</td>' in made
    assert '<td data-head="sum">five</td>' in made


def test_a_prediction_is_quoted_after_its_simulation_and_html_is_refused() -> None:
    made = written(PREDICT + PLAY)
    assert made.index("<form") < made.index('data-view="{&quot;simulation&quot;: &quot;gan&quot;}"')
    assert made.index("data-view") < made.index('data-after="one/predict/a"') < made.index("What it shows")
    assert "<details>" in written("<details><summary>Derivation</summary>\n\n$x$\n\n</details>")
    for bad in ("<script>x</script>", "a <b>c</b>", '<details onclick="x">'):
        with pytest.raises(SettingError, match="only <details>"):
            written(bad)


def test_texts_are_escaped() -> None:
    made = written(QUIZ.replace("This", '`<b>` & "x"') + "```text\n<i>\n```")
    assert (
        "<b>`" not in made
        and "&lt;b&gt;" in made
        and "<i>" not in made
        and 'value="`&lt;b&gt;` &amp; &quot;x&quot;"' in made
    )
