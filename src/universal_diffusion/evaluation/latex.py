"""Tables as LaTeX: booktabs floats that pdfLaTeX sets within a page, whatever their texts hold."""

import re
from collections.abc import Sequence

import pandas as pd

PACKAGES = "array, booktabs, graphicx, rotating"
LONG = 32  # characters of a column's cells beyond which they are broken into lines
SIDEWAYS = 110  # characters of a table's rows beyond which it is turned
EM_PER_CHARACTER = 0.52
LATIN = 0x180  # the first letter that T1 fonts lack
_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
_SYMBOLS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",  # at the start of a row, LaTeX would take it for an argument of the line break before
    "\u00a0": "~",
    "‑": "-",
    "–": "--",
    "—": "---",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "•": r"\textbullet{}",
    "€": "EUR",
}
_MATHEMATICAL = {
    **{"−": "-", "±": r"\pm", "×": r"\times", "·": r"\cdot", "²": "^2", "³": "^3", "°": r"^\circ", "µ": r"\mu"},
    **{"≤": r"\leq", "≥": r"\geq", "≠": r"\neq", "≈": r"\approx", "→": r"\to", "∞": r"\infty", "Δ": r"\Delta"},
    **{"α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\varepsilon", "λ": r"\lambda"},
    **{"μ": r"\mu", "π": r"\pi", "ρ": r"\rho", "σ": r"\sigma", "τ": r"\tau", "φ": r"\varphi", "χ": r"\chi"},
}


def escape(text: object) -> str:
    """A text as LaTeX prints it, with T1 fonts. Letters that these fonts lack are named by their code point."""
    return "".join(map(_printable, str(text)))


def _printable(letter: str) -> str:
    if letter in _MATHEMATICAL:
        return rf"\ensuremath{{{_MATHEMATICAL[letter]}}}"
    return _SYMBOLS.get(letter, letter if ord(letter) < LATIN else f"{{[}}U+{ord(letter):04X}]")


def environment(texts: pd.DataFrame, marks: pd.DataFrame, caption: str, notes: Sequence[str], label: str) -> str:
    """A float of `texts` (a row per line) with `marks` (pandas' LaTeX styles) of the same shape.

    It is shrunk to the width of the page, and turned where its rows are long.
    """
    kind = "sidewaystable" if sum(_widths(texts)) > SIDEWAYS else "table"
    below = "\n\n".join(escape(note) for note in notes)
    return "\n".join(
        [
            f"% needs \\usepackage[T1]{{fontenc}} and \\usepackage{{{PACKAGES}}}",
            rf"\begin{{{kind}}}[p]",
            r"\centering",
            rf"\caption{{{escape(_unnumbered(caption))}}}",
            rf"\label{{{label}}}",
            _FIT,
            _tabular(texts, marks) + "}",
            *([r"\par\smallskip\begin{minipage}{\linewidth}\scriptsize", below, r"\end{minipage}"] if notes else []),
            rf"\end{{{kind}}}",
            "",
        ]
    )


def _unnumbered(caption: str) -> str:
    """LaTeX numbers its tables itself: the paper's own number goes to the end."""
    return re.sub(r"^Table (\d+): (.*)$", r"\2 (Table \1 of the paper.)", caption)


def _tabular(texts: pd.DataFrame, marks: pd.DataFrame) -> str:
    styler = texts.rename(columns=escape).style.hide(axis="index").format(escape)
    styles = marks.set_axis(styler.data.columns, axis=1)
    formats = "".join(_format(*column) for column in zip(texts, texts.to_numpy().T, _widths(texts), strict=True))
    marked = styler.apply(lambda _: styles, axis=None)
    return marked.to_latex(hrules=True, column_format=formats, convert_css=False).rstrip()


def _widths(texts: pd.DataFrame) -> list[int]:
    """Characters that each column takes: its longest cell, if short enough, and its heading's longest word."""
    cells = [min(max((len(str(text)) for text in column), default=0), LONG) for column in texts.to_numpy().T]
    words = [max(map(len, str(heading).split()), default=0) for heading in texts]
    return [max(pair) + 2 for pair in zip(cells, words, strict=True)]


def _format(heading: str, cells: Sequence[str], width: int) -> str:
    """Figures to the right; columns with a longer cell or heading than their width are broken into lines."""
    figures = all(not any(letter.isalpha() for letter in str(text)) for text in cells)
    if max(len(str(text)) for text in [heading, *cells]) <= width:
        return "r" if figures else "l"
    side = "left" if figures else "right"
    return rf">{{\ragged{side}\arraybackslash}}p{{{EM_PER_CHARACTER * width:.1f}em}}"
