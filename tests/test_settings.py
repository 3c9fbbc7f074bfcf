"""The configuration's one list of keys: what is read, and what is refused in which words."""

from dataclasses import asdict, fields
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from universal_diffusion.consistency import check
from universal_diffusion.errors import InputError
from universal_diffusion.settings import Patches, Preparation, Source, Study, Weights, read, read_json

CONFIG = Path(__file__).parents[1] / "config"
GATE = {"every": 3, "threshold": 0.1, "margin_mm": 10.0}
PREPARATION = {
    "spacing_mm": [1.5, 1.5, 2],
    "hu_window": [-175, 250],
    "patch": 256,
}


@pytest.mark.parametrize("name", ["config", "sample", "paper"])
def test_shipped_configurations_are_read_and_survive_a_round_trip(name):
    study = read(Study, yaml.safe_load((CONFIG / f"{name}.yaml").read_text()))
    assert read(Study, asdict(study)) == study
    assert {source.role for source in study.sources.values()} == {"train", "test"}


def test_paper_configuration_keeps_what_the_paper_prints():
    study = read(Study, yaml.safe_load((CONFIG / "paper.yaml").read_text()))
    assert study.preparation.spacing_mm == (1.5, 1.5, 2.0)
    assert study.preparation.patch == 256
    assert study.validation_fraction == 0.1
    assert study.mask_autoencoder.training.weight_decay == 1e-5
    assert [name for name, source in study.sources.items() if source.role == "test"] == ["ircadb"]


def test_whole_numbers_become_floats_and_lists_become_tuples():
    preparation = read(Preparation, PREPARATION)
    assert preparation.spacing_mm == (1.5, 1.5, 2.0)
    assert all(isinstance(edge, float) for edge in (*preparation.spacing_mm, *preparation.hu_window))


def test_optional_keys_may_be_left_out_or_null():
    assert read(Weights, {"origin": "untrained"}) == read(Weights, {"origin": "untrained", "clip": None})
    assert read(Source, {"origin": "local", "role": "train", "cases": ["a"]}).cases == ("a",)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"patchs": 3}, "configuration.patchs: is not a known key; did you mean patch? allowed here: spacing_mm"),
        ({"patch": "256"}, "configuration.patch: is '256'; expected a whole number"),
        ({"patch": True}, "configuration.patch: is True; expected a whole number"),
        ({"patch": 2.5}, "configuration.patch: is 2.5; expected a whole number"),
        ({"spacing_mm": [1, 2]}, "configuration.spacing_mm: is [1, 2]; expected a list of 3 values"),
        ({"spacing_mm": [1, 2, "x"]}, "configuration.spacing_mm[2]: is 'x'; expected a number"),
        ({"patch": None}, "configuration.patch: is None; expected a whole number"),
    ],
)
def test_wrong_value_is_told_with_its_path_and_what_is_allowed(changed, told):
    with pytest.raises(InputError) as error:
        read(Preparation, PREPARATION | changed)
    assert str(error.value).startswith(told)


@pytest.mark.parametrize(
    ("section", "changed", "told"),
    [
        (None, {"threads": 0}, "configuration.threads: is 0; give more than 0"),
        (None, {"validation_fraction": 1.5}, "configuration.validation_fraction: is 1.5; give 0 to 1"),
        (
            "preparation",
            {"spacing_mm": [1, 0, 1]},
            "configuration.preparation.spacing_mm: is (1.0, 0.0, 1.0); give more",
        ),
        ("preparation", {"hu_window": [250, -175]}, "configuration.preparation.hu_window: is [250, -175]"),
        ("preparation", {"hu_window": [float("nan"), 1]}, "configuration.preparation.hu_window: is (nan, 1.0); give a"),
        (
            "preparation",
            {"patch": 72},
            "configuration.preparation.patch: is 72, which auto-encoder and denoiser cannot",
        ),
        ("denoiser", {"channels": [12, 24, 48]}, "configuration.denoiser.channels: holds 12; give multiples of 8"),
        (
            "denoiser",
            {"attention_scales": [3]},
            "configuration.denoiser.attention_scales: is [3]; give scales from 0 to 2",
        ),
        ("image_autoencoder", {"channels": [16, 32]}, "configuration.image_autoencoder.channels: has 2 scales"),
        ("segmentation", {"steps": 5000}, "configuration.segmentation.steps: is 5000; give at most"),
        ("segmentation", {"overlap": 1.0}, "configuration.segmentation.overlap: is 1; give less"),
        ("segmentation", {"warm_start": 300}, "configuration.segmentation.warm_start: is given without a gate"),
        ("segmentation", {"warm_start": 2, "gate": GATE}, "configuration.segmentation.warm_start: is 2; give 3 (seg"),
        ("segmentation", {"gate": GATE | {"every": 0}}, "configuration.segmentation.gate.every: is 0; give more than"),
        ("segmentation", {"gate": GATE | {"threshold": 2.0}}, "configuration.segmentation.gate.threshold: is 2.0; giv"),
        ("sweep", {"ensembles": [1, 0]}, "configuration.sweep.ensembles: is (1, 0); give more than 0"),
        ("sweep", {"steps": []}, "configuration.sweep.steps: is empty; give one number or more"),
        ("sweep", {"cases": 0}, "configuration.sweep.cases: is 0; give more than 0"),
        ("weights", {"origin": "local"}, "configuration.weights.vgg16: is missing; with origin local a path is needed"),
        ("weights", {"clip": "x.pt"}, "configuration.weights.clip: is given; with origin untrained no path is used"),
        (
            "weights",
            {"clip_sha256": "40d3"},
            "configuration.weights.clip_sha256: is given; with origin untrained leave it out",
        ),
    ],
)
def test_value_that_no_step_can_use_is_told_before_any_starts(section, changed, told):
    content = yaml.safe_load((CONFIG / "config.yaml").read_text())
    check(read(Study, content))
    (content[section] if section else content).update(changed)
    with pytest.raises(InputError) as error:
        check(read(Study, content))
    assert str(error.value).startswith(told)


@pytest.mark.parametrize("missing", sorted(PREPARATION))
def test_missing_key_is_told(missing):
    with pytest.raises(InputError, match=rf"configuration\.{missing}: is missing; expected"):
        read(Preparation, {key: value for key, value in PREPARATION.items() if key != missing})


def test_choice_lists_its_values():
    with pytest.raises(InputError, match="expected one of phantom, local, download"):
        read(Source, {"origin": "cloud", "role": "train"})


def test_section_that_is_no_section_is_told():
    with pytest.raises(InputError, match="not a section with keys; give per_case, target_probability"):
        read(Patches, 3)


@given(st.text(min_size=1).filter(lambda key: key not in {field.name for field in fields(Patches)}))
def test_every_unknown_key_is_refused(key):
    with pytest.raises(InputError, match="is not a known key"):
        read(Patches, {"per_case": 1, "target_probability": 0.5, key: 1})


@given(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
def test_json_gives_what_the_mapping_gives(per_case, probability):
    expected = Patches(per_case, probability)
    assert read_json(Patches, f'{{"per_case": {per_case}, "target_probability": {probability!r}}}', "s") == expected
