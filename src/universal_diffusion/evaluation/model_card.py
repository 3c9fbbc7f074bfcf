"""Step: a variant's model card, to read: what it is, what for, what it was made from, and how good it is.

    python -m universal_diffusion.evaluation.model_card --model DIR --cases F --splits F --ceiling F --provenance F
        --machine F --training JSON(Denoiser) --sampling JSON(Segmentation) --output models/<variant>/README.md

The frame is that of Mitchell et al. 2019 and of Hugging Face. The facts are those of `card.json`, which the weights are
loaded with and which is left alone, of the scores, the log and the study's records. The page names no licence of the
weights: none of these says one.
"""

import argparse
import json
from pathlib import Path

import pandas as pd

from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.evaluation.card_sections import Facts, page
from universal_diffusion.evaluation.cases import of_system, read_cases
from universal_diffusion.evaluation.logs import read_log
from universal_diffusion.evaluation.statistics import Summary, bootstrap, mean_of_column_means
from universal_diffusion.evaluation.targets_table import target_rows
from universal_diffusion.files import write_text
from universal_diffusion.preparation.splits import read_splits
from universal_diffusion.randomness import numpy_generator
from universal_diffusion.settings import Denoiser, Segmentation, read_json
from universal_diffusion.systems import system_of


def mean_dice(mine: pd.DataFrame, study_seed: int) -> Summary:
    """Dice of one system, whose rows are given: mean over the targets' means, as `targets_table` takes them."""
    by_case = mine.pivot(index=["source", "case"], columns="target", values="dice")
    return bootstrap(by_case, mean_of_column_means, numpy_generator(study_seed, "bootstrap", "model card"))


def ceilings(path: Path, card: dict) -> pd.Series:
    """Mean Dice of the auto-encoded true mask by target, at the factor of the model's own auto-encoder."""
    table = pd.read_csv(path)
    factor = 2 ** (len(card["architecture"]["mask_autoencoder"]["channels"]) - 1)
    mine = table[table["factor"] == factor]
    if not len(mine):
        raise InputError(path, f"has no row of factor {factor}", "run rule `ceiling` again")
    return mine.set_index("target")["dice_mean"]


def _content(path: Path) -> dict:
    """Of a JSON file that another step of the study wrote."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(path, f"is no record of the study ({error})", "run the rule that writes it again") from None


@one_line_errors
def main() -> None:
    """Write the card of one variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="directory of the trained variant")
    for flag in ("--cases", "--splits", "--ceiling", "--provenance", "--machine"):
        parser.add_argument(flag, type=Path, required=True)
    parser.add_argument("--training", required=True, help="JSON of the section `denoiser`")
    parser.add_argument("--sampling", required=True, help="JSON of the section `segmentation`")
    parser.add_argument("--output", type=Path, required=True, help="page to write")
    arguments = parser.parse_args()
    card = _content(arguments.model / "card.json")
    system = system_of(card["variant"])
    mine = of_system(read_cases(arguments.cases), system)
    scores = target_rows(mine, card["seed"])
    facts = Facts(
        system,
        arguments.model,
        card,
        _content(arguments.provenance),
        _content(arguments.machine),
        read_json(Denoiser, arguments.training, "configuration.denoiser").training,
        read_json(Segmentation, arguments.sampling, "configuration.segmentation"),
        read_splits(arguments.splits),
        scores[scores["system"] == system.key].reset_index(drop=True),
        mean_dice(mine, card["seed"]),
        ceilings(arguments.ceiling, card),
        read_log(arguments.model / "log.csv"),
    )
    write_text(arguments.output, page(facts))


if __name__ == "__main__":
    main()
