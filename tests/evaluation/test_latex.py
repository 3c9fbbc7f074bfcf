"""LaTeX: what is escaped, and that pdfLaTeX sets every table that the project can print, within the page."""

import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from universal_diffusion.evaluation import latex, tables
from universal_diffusion.evaluation.beyond import ceiling, comparisons, cost, leakage_effect, networks, targets_table
from universal_diffusion.evaluation.claims.ledger import ledger
from universal_diffusion.evaluation.claims.measured import Measured
from universal_diffusion.evaluation.claims.paper_claims import CLAIMS
from universal_diffusion.evaluation.claims.printed import printed_ledger
from universal_diffusion.evaluation.paper import table1, table2, table3
from universal_diffusion.evaluation.paper.published import read_published
from universal_diffusion.evaluation.patients import patients_of
from universal_diffusion.evaluation.sampling import gate_table
from universal_diffusion.evaluation.sampling.sweep_report import MODES
from universal_diffusion.evaluation.sampling.sweep_report import printed_table as printed_sampling
from universal_diffusion.evaluation.scoring.cases import of_system
from universal_diffusion.evaluation.uncertainty import table as uncertainty
from universal_diffusion.evaluation.uncertainty.rows import Judged
from universal_diffusion.preparation.splits import SplitRow
from universal_diffusion.systems import VARIANTS
from universal_diffusion.targets import all_targets

COHORT = r"a & b, 5 % of c_d #1 ~ e^f {g} \h $i$ <j> |k| “l” – ± α ≤ 1.5 × 2² mm°, 3 − 1 → 2, é, 中"
DOCUMENT = r"""\documentclass[a4paper,11pt]{article}
\usepackage[margin=2cm]{geometry}
\usepackage[T1]{fontenc}
\usepackage{%s}
\begin{document}
%s
\end{document}
"""


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("50 % of a_b & c #1", r"50 \% of a\_b \& c \#1"),
        (r"\a{b}$", r"\textbackslash{}a\{b\}\$"),
        ("~^", r"\textasciitilde{}\textasciicircum{}"),
        ("p < 0.05 > 0", r"p \textless{} 0.05 \textgreater{} 0"),
        ("1–2 ± 3", r"1--2 \ensuremath{\pm} 3"),
        ("α ≥ 2 × 3²", r"\ensuremath{\alpha} \ensuremath{\geq} 2 \ensuremath{\times} 3\ensuremath{^2}"),
        ("[1, 2]", "{[}1, 2]"),
        ("Müller", "Müller"),
        ("中", "{[}U+4E2D]"),
    ],
)
def test_escapes(text, escaped):
    assert latex.escape(text) == escaped


def simple(texts: pd.DataFrame, **marks: str) -> str:
    frame = tables.unmarked(texts)
    for column, mark in marks.items():
        frame.loc[0, column] = mark
    return tables.latex(tables.Printed(texts, frame, "A caption", ("A note",), "tab:x"))


def test_a_table_is_a_booktabs_float_with_marks_that_fits_the_line():
    text = simple(pd.DataFrame({"a": ["1.0"], "b": ["2.0"], "c": ["word"]}), a=tables.BEST, b=tables.SECOND)
    for expected in (r"\toprule", r"\bottomrule", r"\textbf{1.0}", r"\underline{2.0}", r"\linewidth", r"{rrl}"):
        assert expected in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 1


def test_the_paper_s_number_of_a_table_does_not_stand_beside_latex_s_own():
    nothing = pd.DataFrame({"a": ["1"]})
    printed = tables.Printed(nothing, tables.unmarked(nothing), "Table 3: Benchmark. Rows: 5 %.", (), "tab:x")
    assert r"\caption{Benchmark. Rows: 5 \%. (Table 3 of the paper.)}" in tables.latex(printed)


def test_long_texts_are_broken_into_lines_and_long_rows_are_turned():
    text = simple(pd.DataFrame({"a": ["x " * 60], **{f"heading {n}": ["word " * 9] for n in range(4)}}))
    assert r"\begin{sidewaystable}" in text
    assert text.count(r"\raggedright\arraybackslash}p{") == 5


def patients_and_scores(cases: pd.DataFrame):
    copy = SplitRow("msd03", "msd", "liver_99", "case_3@ircadb", "excluded", "")
    rows = cases.drop_duplicates(["source", "case"]).itertuples()
    own = [SplitRow(row.source, row.dataset, row.case, f"{row.case}@{row.source}", row.part, "") for row in rows]
    patients = patients_of([copy, *own])
    return patients, patients.named(cases)


def paper_tables(cases: pd.DataFrame, published):
    patients, scores = patients_and_scores(cases)
    inventory = pd.DataFrame({"source": ["msd03"], "dataset": ["msd"], "case": ["a"], "annotated": ["liver"]})
    datasets = table1.dataset_rows(
        inventory, [SplitRow("msd03", "msd", "a", "p", "train", "")], read_published(published, 1)
    )
    yield table1.printed_table(datasets, COHORT, table1.patients_by_organ(inventory))
    figures = read_published(published, 2)
    yield from table2.printed_tables(table2.benchmark_cells(scores, figures, patients, 1), figures, COHORT)
    figures = read_published(published, 3)
    cells = table3.benchmark_cells(scores, figures, patients, 1)
    yield from table3.printed_tables(cells, figures, COHORT, table3.copies(scores, patients))
    yield from comparisons.printed_tables(comparisons.comparison_rows(scores, 1), COHORT)
    yield from targets_table.printed_tables(targets_table.target_rows(scores, 1), COHORT, "a_b")


def other_tables():
    names = [known.name for known in all_targets()]
    limits = pd.DataFrame({"factor": [4, 8], "source": "s", "case": "c", "target": "liver", "dice": [0.9, 0.8]})
    yield ceiling.printed_table(ceiling.ceilings(limits.assign(truth_voxels=100)), COHORT)
    parts = dict.fromkeys(cost.PARTS, 1.5)
    spaces = [{"space": space, "grid": 64, "steps": 10, "ensemble": 5} | parts for space in ("latent", "pixel")]
    yield cost.printed_table(pd.DataFrame(spaces), COHORT)
    network = ("denoiser, latent space", "class-aware image encoder", "window and target", 64, 12345678, 0.5, 12.5)
    yield networks.printed_table(pd.DataFrame([network] * 15, columns=list(networks.HEADINGS)), COHORT)
    shares = dict.fromkeys(("kept", "calls_saved", "missed"), 0.25) | dict.fromkeys(("n", "n_held", "n_lost"), 3)
    variants = ("mask_clip", "mask_learnt")
    gate = [{"variant": variant, "target": name} | shares for variant in variants for name in [*names, gate_table.ALL]]
    yield gate_table.printed_table(pd.DataFrame(gate), COHORT)
    dice = {"n": 4, "dice_without": 0.5, "dice_with": 0.6, "difference": 0.1, "low": -0.1, "high": np.nan}
    kinds = (leakage_effect.LEAKED, leakage_effect.OTHERS)
    effect = [{"patients": kind, "target": name} | dice for kind in kinds for name in names]
    yield leakage_effect.printed_table(pd.DataFrame(effect), "Mask, CLIP", COHORT)
    swept = [
        {
            "mode": mode,
            "ensemble": ensemble,
            "steps": steps,
            "cases": 2,
            "n": 7,
            "dice": 0.5,
            "gflop": 1e4,
            "seconds": 99.0,
        }
        for mode in MODES
        for ensemble in (1, 3, 5, 10)
        for steps in (1, 2, 5, 10, 20, 50)
    ]
    yield printed_sampling(pd.DataFrame(swept), "gflop", "GFLOP", COHORT)
    yield printed_sampling(pd.DataFrame(swept), "seconds", "s, cpu, 2 CPU threads", COHORT)


def printed_uncertainty(cases: pd.DataFrame) -> tables.Printed:
    scores = patients_and_scores(cases)[1]
    judged = [Judged(system, of_system(scores, system), cases[:0], cases[:0]) for system in VARIANTS]
    rows = [
        {"column": name, "label": one.system.label, "value": 0.5, "low": -0.25, "high": 0.75}
        for one in judged
        for name in uncertainty.MEASURES
    ]
    return uncertainty.printed_table(pd.DataFrame(rows), judged, "ensemble of 5 samples", COHORT)


def printed_claims() -> list[tables.Printed]:
    """The ledger with every claim of the paper, each with the longest that a cell can hold."""
    found = {
        claim.key: Measured(-12.5, -13.25, -11.75, 100, 0.001, at="hepatic vessel tumor", obstacle="a reason " * 12)
        for claim in CLAIMS
    }
    return printed_ledger(ledger(found), COHORT)


def test_pdflatex_sets_every_table_within_the_page(cases, published, tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    printed = [*paper_tables(cases, published), *other_tables(), printed_uncertainty(cases), *printed_claims()]
    (tmp_path / "paper.tex").write_text(DOCUMENT % (latex.PACKAGES, tables.latex(*printed)), encoding="utf-8")
    command = ["pdflatex", "-draftmode", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "paper.log").read_text(encoding="utf-8", errors="replace")
    assert not re.search(r"Float too large|Overfull|LaTeX Font Warning|Missing character", log), log[-3000:]
    assert len(printed) == 1 + 2 + 3 + 6 + 2 + 5 + 2 + 1 + len(printed_claims())
    assert len({each.label for each in printed}) == len(printed)
