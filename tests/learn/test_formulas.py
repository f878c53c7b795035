"""Formulas: well-formed MathML for what is known, an error by name for what is not."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from morphospace.errors import SettingError
from morphospace.learn.chapter import parser
from morphospace.learn.formulas import mathml
from morphospace.learn.site import chapters

GOOD = {
    r"\frac{a}{b}": "<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi></mrow></mfrac>",
    r"x_i^2": "<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>",
    r"\log x": '<mi>log</mi><mspace width="0.17em"></mspace><mi>x</mi>',
    r"\text{if } x": "<mtext>if </mtext><mi>x</mi>",
    r"\mathbb{E}\mathcal{N}\mathbf{I}": "<mi>𝔼</mi><mi>𝒩</mi><mi>𝐈</mi>",
    r"\left( x \right]": '<mrow><mo fence="true">(</mo><mi>x</mi><mo fence="true">]</mo></mrow>',
    r"\left\lfloor x \right\rfloor": '<mrow><mo fence="true">⌊</mo><mi>x</mi><mo fence="true">⌋</mo></mrow>',
    r"a < b": "<mi>a</mi><mo>&lt;</mo><mi>b</mi>",
    r"f'": "<msup><mi>f</mi><mo>′</mo></msup>",
    r"s'^2_i": "<msubsup><mi>s</mi><mi>i</mi><mrow><mo>′</mo><mn>2</mn></mrow></msubsup>",
    r"\lVert x \rVert_2": '<mo stretchy="false">‖</mo><mi>x</mi><msub><mo stretchy="false">‖</mo><mn>2</mn></msub>',
}


@pytest.mark.parametrize("tex", GOOD)
def test_what_is_known(tex: str) -> None:
    assert mathml(tex, display=False) == f"<math>{GOOD[tex]}</math>"


def test_limits_stand_below_and_sums_above_where_there_is_room() -> None:
    assert "<munder><mi>min</mi><mi>G</mi></munder>" in mathml(r"\min_G V", display=False)
    assert "<munderover>" in mathml(r"\sum_{j=1}^{d} x_j", display=True)
    assert "<msubsup><mo>∑" in mathml(r"\sum_{j=1}^{d} x_j", display=False)
    assert mathml(r"\begin{aligned} a &= b \\ &\ge c \end{aligned}", display=True).count("<mtr>") == 2
    assert mathml(r"\begin{cases} x & x > 0 \\ 0 & x \le 0 \end{cases}", display=True).count("<mtd>") == 4


@pytest.mark.parametrize(
    "tex",
    [
        r"\unknown x",
        r"\frac{a}",
        r"{a",
        r"a}",
        r"\left( x",
        r"\begin{matrix}a\end{matrix}",
        r"\mathbb{AB}",
        "a # b",
        r"x^",
        r"x^2^3",
    ],
)
def test_what_is_not_known_stops_the_build_by_name(tex: str) -> None:
    with pytest.raises(SettingError) as error:
        mathml(tex, display=False)
    assert error.value.value == tex


def test_every_formula_of_the_chapters_is_well_formed() -> None:
    count = 0
    for chapter in chapters():
        tokens = parser().parse(chapter.source)
        found = [t for t in tokens if t.type == "math_block"] + [
            c for t in tokens for c in t.children or [] if c.type == "math"
        ]
        for token in found:
            ElementTree.fromstring(mathml(token.content, display=token.type == "math_block"))
        count += len(found)
    assert count > 100
