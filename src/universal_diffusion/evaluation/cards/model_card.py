"""Step: the model card of a system that segments, a variant or a baseline, to read: what it is, what for, how good.

    python -m universal_diffusion.evaluation.cards.model_card --model DIR --cases F --ceiling F --splits F
        --provenance F
        --machine F [--training JSON(Training)] --sampling JSON(Segmentation) --output models/<system>/README.md

The facts are those of `card.json`, which the weights are loaded with and which is left alone, of the scores, the log
and the study's records.
"""

from pathlib import Path

import pandas as pd

from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.evaluation.beyond.targets_table import target_rows
from universal_diffusion.evaluation.cards import card_sections as sections
from universal_diffusion.evaluation.cards import system_sections as own
from universal_diffusion.evaluation.cards.card_record import Record, card_arguments, read_record
from universal_diffusion.evaluation.patients import patients_of
from universal_diffusion.evaluation.scoring.cases import of_system, read_cases
from universal_diffusion.evaluation.statistics import Summary, averages, patient_table
from universal_diffusion.files import write_text
from universal_diffusion.randomness import numpy_generator
from universal_diffusion.settings import Segmentation, read_json
from universal_diffusion.systems import System, system_of


def mean_dice(mine: pd.DataFrame, study_seed: int) -> Summary:
    """Dice of one system, whose rows are given: mean over the targets' means, as `targets_table` takes them."""
    generator = numpy_generator(study_seed, "bootstrap", "model card")
    return averages(patient_table(mine, pooled=True), generator)[0]


def ceilings(path: Path, card: dict) -> pd.Series:
    """Mean Dice of the auto-encoded true mask by target, at the factor of the model's own auto-encoder."""
    table = pd.read_csv(path)
    factor = 2 ** (len(card["architecture"]["mask_autoencoder"]["channels"]) - 1)
    mine = table[table["factor"] == factor]
    if not len(mine):
        raise InputError(path, f"has no row of factor {factor}", "run rule `ceiling` again")
    return mine.set_index("target")["dice_mean"]


def scores_of(record: Record, system: System, cases: Path, ceiling: Path, sampling: Segmentation) -> own.Scores:
    """What was scored of a system; a variant has a ceiling and samples, a baseline neither."""
    seed = record.provenance["seed"]
    mine = of_system(patients_of(record.splits).untrained(read_cases(cases)), system)
    rows = target_rows(mine, seed)
    rows = rows[rows["system"] == system.key].reset_index(drop=True)
    limits = (ceilings(ceiling, record.card), sampling) if system.variant else (None, None)
    return own.Scores(rows, mean_dice(mine, seed), *limits)


@one_line_errors
def main() -> None:
    """Write the card of one system."""
    parser = card_arguments(__doc__)
    parser.add_argument("--cases", type=Path, required=True, help="scores of all systems")
    parser.add_argument("--ceiling", type=Path, required=True, help="table of the auto-encoders' ceilings")
    parser.add_argument("--sampling", required=True, help="JSON of the section `segmentation`")
    arguments = parser.parse_args()
    record = read_record(arguments)
    system = system_of(record.card.get("variant") or record.card["kind"])
    sampling = read_json(Segmentation, arguments.sampling, "configuration.segmentation")
    scores = scores_of(record, system, arguments.cases, arguments.ceiling, sampling)
    chapters = {
        "Intended use": sections.use(record, own.USE),
        "Trained on": sections.sources(record),
        "Scores": own.scores(record, scores),
        "Training": sections.training(record, *own.reached(record, system)),
        "Configuration": sections.configuration(record),
        "Made from": sections.origins(record, *own.made_from(record)),
        "Loading": own.loading(record, system),
    }
    write_text(arguments.output, sections.page(record, own.header(system), own.what(record, system), chapters))


if __name__ == "__main__":
    main()
