"""What the page shows and in which order: the one list of its sections, and of the artefacts in each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """An artefact of the study.

    Attributes:
        file: relative to the study's results: a printed table (.md), rows (.csv) or a figure (.png).
        title: what it is.
        told: what the reader sees in it. A figure's own caption stands in the figure.
        traced: whether `universal-diffusion trace` takes its cells.
        columns: of a .csv, which are shown and under which headings.
    """

    file: str
    title: str
    told: str
    traced: bool = False
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Section:
    """A chapter of the page: its anchor, title, what it is about, and its artefacts."""

    key: str
    title: str
    about: str
    items: tuple[Item, ...]


FINDINGS = tuple((name, name) for name in ("source", "case", "target", "severity", "value", "expected", "action"))
LEAKED = (
    ("source", "scan"),
    ("case", "case"),
    ("part", "part"),
    ("matched_source", "is a copy of"),
    ("matched_case", "case there"),
    ("evidence", "evidence"),
    ("dropped", "left out"),
    ("reason", "reason"),
)

SECTIONS = (
    Section(
        "data",
        "The data",
        "Eight datasets share one language of 29 targets. Not annotated is not absent: a target is trained and scored "
        "only where somebody looked for it.",
        (
            Item("tables/table1.md", "Table 1: the datasets", "The paper's counts beside this study's.", True),
            Item("figures/overlays.png", "One case of each dataset", "Images with their labels, as harmonised."),
            Item(
                "leakage.csv", "Copies among the scans", "Which scan shows the same patient as another.", False, LEAKED
            ),
            Item("quality/findings.csv", "Data quality", "What is odd in the data, and what to do.", False, FINDINGS),
        ),
    ),
    Section(
        "results",
        "Does it segment?",
        "Dice in 3-D on the CT's own grid unless a table says otherwise; intervals over patients. Published figures "
        "were measured by their authors on other scans and stand in rows of their own.",
        (
            Item("tables/table3.md", "Table 3: an unseen dataset", "Generalisation to 3D-IRCADb.", True),
            Item(
                "tables/table2.md",
                "Table 2: the four variants",
                "Noise or mask predicted, embedding learnt or CLIP.",
                True,
            ),
            Item(
                "tables/comparisons.md", "Every system against every other", "Paired, corrected for their number.", True
            ),
            Item("tables/targets.md", "All 29 targets", "Every target and system, low ones included.", True),
            Item("figures/distributions.png", "Dice of every case", "Points are cases."),
            Item("figures/figure2.png", "Figure 2: predictions", "Rows are chosen by rule, not by hand."),
            Item("figures/worst.png", "The worst cases", "Where it fails."),
        ),
    ),
    Section(
        "method",
        "The method, its ceilings and its price",
        "The denoiser works on latents of masks: what the auto-encoder loses no denoiser brings back.",
        (
            Item("figures/figure1.png", "Figure 1: the method", "Drawn from the trained modules."),
            Item(
                "tables/autoencoder_ceiling.md", "Ceilings", "Dice of decoded true masks, before any diffusion.", True
            ),
            Item("figures/ceilings.png", "What limits", "Auto-encoder or denoiser, target by target."),
            Item("tables/networks.md", "Networks", "Parameters and operations.", True),
            Item("tables/cost.md", "Latent against pixel space", "Operations of one window.", True),
            Item("figures/latent_cost.png", "Latent against pixel space, drawn", "Over the number of steps."),
            Item("tables/sampling.md", "Steps and samples", "Dice against operations.", True),
            Item("figures/sampling.png", "Steps and samples, drawn", "What more sampling buys."),
            Item("tables/gate.md", "The gate", "What a cheap look saves, and what it misses.", True),
            Item("figures/training.png", "Trainings", "Loss and validation of every network."),
        ),
    ),
    Section(
        "uncertainty",
        "Does it know what it does not know?",
        "Judged within 20 mm of each target's box, at the same voxels for every variant.",
        (
            Item(
                "tables/uncertainty.md", "Uncertainty judged", "Calibration, error detection, rank correlation.", True
            ),
            Item("figures/reliability.png", "Reliability", "Observed share against probability."),
            Item("figures/coverage.png", "Coverage", "Dice of what is kept when the most uncertain is set aside."),
        ),
    ),
    Section(
        "claims",
        "The paper's claims",
        "Each sentence of the paper that a number can settle, quoted, and a verdict for this cohort.",
        (Item("claims.md", "The ledger", "Quote, measurement, verdict, reason.", True),),
    ),
)
