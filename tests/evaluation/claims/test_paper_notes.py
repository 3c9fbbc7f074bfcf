"""docs/paper-notes.md: each line of arithmetic follows from the printed figures, and every file it names is there."""

import ast
import operator
import re
from decimal import Decimal
from pathlib import Path

import pytest

from universal_diffusion.evaluation.paper.published import printed, read_published

ROOT = Path(__file__).parents[3]
NOTES = (ROOT / "docs/paper-notes.md").read_text(encoding="utf-8")
STATEMENTS = re.findall(r"`([^`=]*\S) = (-?[\d.]+)`", NOTES.replace("\n", " "))
TABLES = {number: printed(read_published(ROOT / "config/published.csv", number)) for number in (1, 2, 3)}
FIGURES = {
    (row, column.split("@")[0]): (table, column)
    for table in TABLES.values()
    for row in table.index
    for column in table.columns
}
OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Div: operator.truediv}


def figure(text: str) -> float:
    """One printed figure, `row[column]`."""
    row, column = re.fullmatch(r"(\w+)\[([\w ]+)\]", text).groups()
    table, column = FIGURES[row, column]
    return float(table.loc[row, column])


def place(text: str) -> int:
    """Its place in its column, the highest being 1."""
    table, column = FIGURES[re.fullmatch(r"(\w+)\[([\w ]+)\]", text).groups()]
    return 1 + int((table[column] > figure(text)).sum())


def mean(row: str) -> float:
    """Over the targets of a row of Table 2 or 3."""
    table = next(known for number, known in TABLES.items() if number > 1 and row in known.index)
    return float(table.loc[row].drop("average", errors="ignore").mean())


FUNCTIONS = {"place": place, "mean": mean, "sum": lambda column: float(TABLES[1][column].sum())}


def value(expression: str) -> float:
    """What a statement's left side says, computed from the transcription."""
    called = re.sub(r"\b(place|mean|sum)\(([^()]+)\)", lambda found: str(FUNCTIONS[found[1]](found[2])), expression)
    plain = re.sub(r"\w+\[[\w ]+\]", lambda found: str(figure(found[0])), called)
    return computed(ast.parse(plain, mode="eval").body)


def computed(node: ast.expr) -> float:
    """Sums, differences and quotients of numbers."""
    if isinstance(node, ast.BinOp):
        return OPERATIONS[type(node.op)](computed(node.left), computed(node.right))
    return float(ast.literal_eval(node))


@pytest.mark.parametrize(("expression", "told"), STATEMENTS, ids=[expression for expression, _ in STATEMENTS])
def test_arithmetic_follows_from_the_printed_figures(expression, told):
    half_a_digit = 0.5 * 10.0 ** Decimal(told).as_tuple().exponent
    assert value(expression) == pytest.approx(float(told), abs=half_a_digit + 1e-9)


def test_every_known_contradiction_is_told_with_its_arithmetic():
    assert len(STATEMENTS) > 40
    assert NOTES.replace("\n", " ").count(" = ") - NOTES.count("f = ") == len(STATEMENTS)


def test_a_wrong_statement_would_be_caught():
    assert value("mask_clip[pancreas] - noise_learnt[pancreas]") == pytest.approx(-1.0)
    assert value("place(clip_universal[average])") == 1
    with pytest.raises(KeyError):
        value("mask_clip[femur]")


def test_files_that_the_notes_name_are_there():
    named = re.findall(r"`((?:[\w-]+/)+[\w-]+\.(?:py|csv|yaml))`", NOTES)
    places = [[ROOT / name, ROOT / "src/universal_diffusion" / name] for name in set(named)]
    missing = [paths[0].name for paths in places if not any(path.exists() for path in paths)]
    assert len(named) > 10
    assert not missing
