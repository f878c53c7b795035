r"""TeX formulas to MathML, the part of TeX that the lessons use; anything else is refused by name.

>>> mathml(r"z = \mu + \sigma", display=False)
'<math><mi>z</mi><mo>=</mo><mi>μ</mi><mo>+</mo><mi>σ</mi></math>'
"""

from __future__ import annotations

import re
from html import escape

from morphospace.errors import SettingError

TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|[0-9]*\.?[0-9]+|\s+|.", re.DOTALL)
GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ϵ", "zeta": "ζ", "eta": "η", "theta": "θ",
    "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ",
    "phi": "ϕ", "varphi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "Sigma": "Σ", "Phi": "Φ", "Delta": "Δ",
    "Omega": "Ω", "Theta": "Θ", "Lambda": "Λ",
}  # fmt: skip
NAMES = GREEK | {
    "infty": "∞",
    "ell": "ℓ",
    "nabla": "∇",
    "partial": "∂",
    "dots": "…",
    "ldots": "…",
    "cdots": "⋯",
    "top": "⊤",
}
OPERATORS = {
    "cdot": "⋅", "times": "×", "odot": "⊙", "pm": "±", "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "neq": "≠",
    "ne": "≠", "approx": "≈", "sim": "∼", "propto": "∝", "to": "→", "mapsto": "↦", "in": "∈", "equiv": "≡", "ll": "≪",
    "gg": "≫", "Rightarrow": "⇒", "Leftrightarrow": "⇔", "circ": "∘", "parallel": "‖", "{": "{", "}": "}",
}  # fmt: skip
FENCES = {
    "|": "‖", "lVert": "‖", "rVert": "‖", "lvert": "|", "rvert": "|", "lbrace": "{", "rbrace": "}",
    "lfloor": "⌊", "rfloor": "⌋",
}  # fmt: skip
FUNCTIONS = ("log", "exp", "sin", "cos", "tanh", "ln", "det")
LIMITED = ("min", "max", "sup", "inf", "argmin", "argmax", "lim")  # what stands below them, not beside
LARGE = {"sum": "∑", "prod": "∏", "int": "∫"}
SPACES = {",": "0.17em", ":": "0.22em", ";": "0.28em", "!": "-0.17em", "quad": "1em", "qquad": "2em", " ": "0.25em"}
ACCENTS = {"hat": "^", "tilde": "~", "bar": "¯", "overline": "‾", "vec": "→", "dot": "˙"}
DOUBLE = {"R": "ℝ", "N": "ℕ", "P": "ℙ", "Z": "ℤ"}
SCRIPT = {"L": "ℒ", "B": "ℬ", "E": "ℰ", "F": "ℱ", "H": "ℋ", "I": "ℐ", "M": "ℳ", "R": "ℛ"}
PLAIN_OPERATORS = "+-=<>,()[]|/!:;.'*"


def mathml(tex: str, *, display: bool) -> str:
    """Return a formula as MathML.

    Args:
        tex: The formula, without dollars.
        display: Whether it stands on a line of its own.

    Raises:
        SettingError: If it has a command that is not known here, or brackets that do not match.
    """
    inside = Formula(tex, display).whole()
    return f'<math display="block">{inside}</math>' if display else f"<math>{inside}</math>"


class Formula:
    """Reads one formula.

    Args:
        tex: The formula.
        display: Whether limits stand below sums.
    """

    def __init__(self, tex: str, display: bool) -> None:
        self.tex, self.display = tex, display
        self.tokens = [token for token in TOKEN.findall(tex) if not token.isspace()]
        self.spaced = TOKEN.findall(tex)
        self.at = 0

    def wrong(self, rule: str) -> SettingError:
        """Return the error that names this formula."""
        return SettingError("formula", self.tex, rule, "write it with what learn/formulas.py knows, or teach it there")

    def peek(self) -> str:
        """Return the next token; empty at the end."""
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, wanted: str = "") -> str:
        """Return the next token and pass over it.

        Raises:
            SettingError: If it is not the one that is wanted.
        """
        token = self.peek()
        if not token or (wanted and token != wanted):
            raise self.wrong(f"has {token or 'its end'} where {wanted or 'more'} must stand")
        self.at += 1
        return token

    def whole(self) -> str:
        """Return all of it."""
        found = self.row(())
        if self.peek():
            raise self.wrong(f"has a {self.peek()} too many")
        return found

    def row(self, ends: tuple[str, ...]) -> str:
        """Return what stands before one of these ends."""
        parts: list[str] = []
        while self.peek() and self.peek() not in (*ends, "}", "&", "\\\\", "\\right", "\\end"):
            parts.append(self.scripted())
        return "".join(parts)

    def group(self) -> str:
        """Return an argument: one token, or what stands in braces."""
        if self.peek() != "{":
            return self.atom()
        self.take("{")
        inside = self.row(())
        self.take("}")
        return f"<mrow>{inside}</mrow>"

    def raw(self) -> str:
        """Return an argument as it was written, spaces included."""
        self.take("{")
        depth, start = 1, self.at
        while depth:
            token = self.take()
            depth += (token == "{") - (token == "}")
        before = self.tokens[:start]
        return self.written(len(before), self.at - 1)

    def written(self, start: int, end: int) -> str:
        """Return tokens with the spaces between them."""
        count, out = 0, ""
        for token in self.spaced:
            if token.isspace():
                out += " " if start <= count <= end else ""
                continue
            out += token if start <= count < end else ""
            count += 1
        return out

    def scripted(self) -> str:
        """Return an atom with what stands above and below it."""
        command = self.peek()
        base = self.atom()
        low = high = primes = ""
        while self.peek() in ("_", "^", "'"):
            sign = self.take()
            if (low if sign == "_" else high) and sign != "'":
                raise self.wrong(f"has two {sign} after one symbol")
            if sign == "'":
                primes += "<mo>′</mo>"
            elif sign == "_":
                low = self.group()
            else:
                high = self.group()
        high = f"<mrow>{primes}{high}</mrow>" if primes and high else primes or high
        name = command[1:]
        limits = name in LIMITED or name == "underbrace" or (name in LARGE and name != "int" and self.display)
        tags = ("munder", "mover", "munderover") if limits else ("msub", "msup", "msubsup")
        if low and high:
            base = f"<{tags[2]}>{base}{low}{high}</{tags[2]}>"
        elif low or high:
            tag = tags[0] if low else tags[1]
            base = f"<{tag}>{base}{low or high}</{tag}>"
        if name in (*FUNCTIONS, *LIMITED) and self.peek() not in ("", "(", ")", "}", "&", ","):
            base += '<mspace width="0.17em"></mspace>'
        return base

    def atom(self) -> str:
        """Return one symbol or one command with its arguments."""
        token = self.peek()
        if token == "{":
            return self.group()
        self.take()
        if token.startswith("\\"):
            return self.command(token[1:])
        if re.fullmatch(r"[0-9]*\.?[0-9]+", token):
            return f"<mn>{token}</mn>"
        if token.isalpha():
            return f"<mi>{token}</mi>"
        if token in PLAIN_OPERATORS:
            sign = {"-": "−", "*": "∗"}.get(token, token)
            fixed = ' stretchy="false"' if token in "()[]|" else ""
            return f"<mo{fixed}>{escape(sign)}</mo>"
        raise self.wrong(f"has {token}, which stands for nothing there")

    def command(self, name: str) -> str:
        """Return what a command stands for.

        Raises:
            SettingError: If it is not known.
        """
        if name in NAMES:
            upright = name in ("infty", "nabla", "partial", "dots", "ldots", "cdots", "top") or name[0].isupper()
            return f'<mi mathvariant="normal">{NAMES[name]}</mi>' if upright else f"<mi>{NAMES[name]}</mi>"
        if name in OPERATORS:
            return f"<mo>{escape(OPERATORS[name])}</mo>"
        if name in FENCES:
            return f'<mo stretchy="false">{FENCES[name]}</mo>'
        if name == "mid":
            return '<mo lspace="0.25em" rspace="0.25em" stretchy="false">|</mo>'
        if name in FUNCTIONS or name in LIMITED:
            return f"<mi>{name.replace('arg', 'arg ')}</mi>"
        if name in LARGE:
            return f"<mo>{LARGE[name]}</mo>"
        if name in SPACES:
            return f'<mspace width="{SPACES[name]}"></mspace>'
        if name in ACCENTS:
            inside, grows = self.group(), "true" if name == "overline" else "false"
            return f'<mover accent="true">{inside}<mo stretchy="{grows}">{ACCENTS[name]}</mo></mover>'
        if name in ("frac", "tfrac", "dfrac"):
            style = ' displaystyle="false"' if name == "tfrac" else ""
            return f"<mfrac{style}>{self.group()}{self.group()}</mfrac>"
        if name == "sqrt":
            return f"<msqrt>{self.group()}</msqrt>"
        if name == "text":
            return f"<mtext>{escape(self.raw())}</mtext>"
        if name in ("mathrm", "operatorname"):
            return f'<mi mathvariant="normal">{escape(self.raw())}</mi>'
        if name in ("mathbb", "mathcal", "mathbf", "boldsymbol"):
            return self.lettered(name)
        if name == "underbrace":
            return f'<mrow class="under">{self.group()}</mrow>'
        if name == "left":
            return self.fenced()
        if name == "begin":
            return self.table()
        raise self.wrong(f"has \\{name}, which is not known here")

    def lettered(self, name: str) -> str:
        """Return a letter in another alphabet."""
        letter = self.raw()
        if name == "boldsymbol" and letter.startswith("\\") and letter[1:] in GREEK:
            return f"<mi>{chr(0x1D6C2 + ord(GREEK[letter[1:]]) - ord('α'))}</mi>"
        if not re.fullmatch("[A-Za-z0-9]", letter):
            raise self.wrong(f"has \\{name}{{{letter}}}; it takes one letter")
        if name == "mathbb":
            found = "𝟙" if letter == "1" else DOUBLE.get(letter) or chr(0x1D538 + ord(letter) - ord("A"))
        elif name == "mathcal":
            found = SCRIPT.get(letter) or chr(0x1D49C + ord(letter) - ord("A"))
        else:
            found = chr((0x1D400 - ord("A") if letter.isupper() else 0x1D41A - ord("a")) + ord(letter))
        return f"<mi>{found}</mi>"

    def fenced(self) -> str:
        """Return what stands between two brackets that grow with it."""
        opening = self.delimiter()
        inside = self.row(())
        self.take("\\right")
        return f"<mrow>{opening}{inside}{self.delimiter()}</mrow>"

    def delimiter(self) -> str:
        """Return a bracket that grows with what it encloses; nothing for a dot."""
        token = self.take()
        sign = FENCES.get(token[1:], "") if token.startswith("\\") else token
        sign = {"\\{": "{", "\\}": "}"}.get(token, sign)
        if not sign or sign not in "()[]{}|.‖⌊⌋":
            raise self.wrong(f"has {token} where a bracket must stand")
        return "" if sign == "." else f'<mo fence="true">{sign}</mo>'

    def table(self) -> str:
        """Return rows and columns: cases, aligned lines, a matrix."""
        kind = self.raw()
        if kind not in ("cases", "aligned"):
            raise self.wrong(f"has \\begin{{{kind}}}, which is not known here")
        rows, cells = list[list[str]](), list[str]()
        while True:
            cells.append(self.row(()))
            token = self.take()
            if token == "&":
                continue
            rows, cells = [*rows, cells], []
            if token == "\\end":
                break
            if token != "\\\\":
                raise self.wrong(f"has {token} in \\begin{{{kind}}}")
        if self.raw() != kind:
            raise self.wrong(f"does not end \\begin{{{kind}}}")
        lines = "".join(f"<mtr>{''.join(f'<mtd>{cell}</mtd>' for cell in row)}</mtr>" for row in rows)
        if kind == "cases":
            return f'<mrow><mo fence="true">{{</mo><mtable class="cases">{lines}</mtable></mrow>'
        return f'<mtable class="aligned" displaystyle="true">{lines}</mtable>'
