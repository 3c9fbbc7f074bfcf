"""The options of `universal-diffusion segment`."""

import argparse
import re
from pathlib import Path

from universal_diffusion.segmentation.presets import PRESETS

DEVICE, DEVICES = r"auto|cpu|(gpu|cuda)(:\d+)?", "auto, cpu, gpu, cuda and cuda:1"

DESCRIPTION = """\
Segment targets in a CT, or in every CT of a folder, with a trained model.

The CT may be NIfTI (.nii, .nii.gz), NRRD (.nrrd), MetaImage (.mha, .mhd), a folder of DICOM files or a .zip of one.
What is written lies on the CT's own grid:
  <target>.nii.gz             its mask, 0 and 1: where the mean is at least 0.5
  <target>_mean.nii.gz        mean over the ensemble of the probability that a voxel is in the target, 0 to 1
  <target>_variance.nii.gz    its variance over the ensemble: how much the samples disagree, 0 to 0.25
  <target>_entropy.nii.gz     entropy of the mean in bits: 0 where the model is sure, 1 where the mean is 0.5
  segmentation.nii.gz         all targets in one volume of target numbers (--multilabel)
  segmentation.dcm            a DICOM-SEG with coded anatomy, where the CT came as DICOM; names no patient
  overview.png                a sheet of slices for a quick look
  segmentation.json           volumes in ml, mean HU, uncertainty, and everything needed to repeat the run"""

EXAMPLES = """\
examples:
  universal-diffusion segment -i ct.nii.gz -o out --model results/embedded/models/mask_clip
  universal-diffusion segment -i dicom.zip -o out --model MODEL --targets liver "liver tumor" --fast --view
  universal-diffusion segment -i cts/ -o out --model MODEL -q       # every CT of a folder, into out/<case>/

An interrupted run goes on from its last finished slab when the same command is given again. The same CT, model, seed,
sampling, device and number of threads (on a GPU also --batch) give the same masks, whatever other targets there are.

exit status: 0 all done; 1 some CTs of a folder failed; 2 wrong input, said in one line; 130 interrupted by Ctrl-C"""


def add_segment(commands) -> argparse.ArgumentParser:
    """Add the command and its options to the commands of `universal-diffusion`."""
    parser = commands.add_parser(
        "segment",
        help="segment targets in a CT or a folder of CTs",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_what(parser.add_argument_group("what to segment"))
    _add_how(parser.add_argument_group("how: speed against care", _costs()))
    _add_written(parser.add_argument_group("what to write"))
    _add_machine(parser.add_argument_group("machine and messages"))
    return parser


def _add_what(group) -> None:
    group.add_argument("-i", "--input", type=Path, required=True, metavar="CT", help="a CT, or a folder of CTs")
    group.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    group.add_argument("--model", type=Path, required=True, metavar="DIR", help="folder of a trained variant")
    group.add_argument(
        "--targets", nargs="+", default=[], metavar="NAME", help="targets by name (all that the model was trained on)"
    )
    group.add_argument(
        "--series",
        metavar="N|UID",
        help="of several DICOM series: its number in the list that the error shows, or how its UID begins",
    )


def _add_how(group) -> None:
    presets = group.add_mutually_exclusive_group()
    for name in ("fast", "best"):
        presets.add_argument(f"--{name}", dest="preset", action="store_const", const=name, help=_of_preset(name))
    group.set_defaults(preset="default")
    group.add_argument(
        "--steps", type=positive, metavar="N", help="denoising steps per sample, instead of the preset's"
    )
    group.add_argument("--ensemble", type=positive, metavar="E", help="samples per target, instead of the preset's")
    group.add_argument(
        "--no-gate", action="store_true", help="sample everything, not only where a first look saw something"
    )
    group.add_argument(
        "--warm-start",
        type=positive,
        metavar="T",
        help="start from the gate's estimate, noised to this step of the trained process, instead of from pure noise; "
        "needs the gate",
    )
    group.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the noise (0)")


def _add_written(group) -> None:
    group.add_argument("--multilabel", action="store_true", help="one volume of target numbers instead of masks")
    group.add_argument("--separate", action="store_true", help="a mask per target (the default), beside --multilabel")
    group.add_argument("--no-maps", action="store_true", help="no mean, variance and entropy maps")
    group.add_argument(
        "--keep-patient",
        action="store_true",
        help="let segmentation.dcm name the patient and date the CT, as an archive (PACS) needs to file it",
    )
    group.add_argument("--view", action="store_true", help="also view.html: CT, masks and maps in a browser, offline")
    group.add_argument(
        "--overwrite", action="store_true", help="segment again what is already there, whole and the same"
    )


def _add_machine(group) -> None:
    group.add_argument(
        "--device",
        type=device,
        default="auto",
        metavar="D",
        help="auto (a GPU if there is one), cpu, gpu, cuda or cuda:1",
    )
    group.add_argument("--threads", type=positive, metavar="T", help="CPU threads (all)")
    group.add_argument(
        "--batch",
        type=positive,
        metavar="N",
        help="samples of a target in a window that the networks see at once (measured on a GPU, computed on a CPU); "
        "segmentation.json says the number, and a GPU's run is repeated with it",
    )
    loudness = group.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    loudness.add_argument(
        "-v", "--verbose", action="store_true", help="also say what was decided and what took how long"
    )


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def device(text: str) -> str:
    """A device as torch calls it; "gpu" is TotalSegmentator's word for "cuda"."""
    if not re.fullmatch(DEVICE, text):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {DEVICES}")
    return text.replace("gpu", "cuda")


def _of_preset(name: str) -> str:
    preset, ordinary = PRESETS[name], PRESETS["default"]
    steps, samples = _counted(preset.steps, "step"), _counted(preset.ensemble, "sample")
    ratio = preset.calls / ordinary.calls
    cost = f"{ratio:g} times" if ratio > 1 else f"1/{ordinary.calls // preset.calls} of"
    return f"{steps}, {samples}{'' if preset.gated else ', no gate'}: {cost} the default's denoising"


def _costs() -> str:
    ordinary = PRESETS["default"]
    return f"""\
By default {_counted(ordinary.steps, "step")} and {_counted(ordinary.ensemble, "sample")} per target. Time grows with
steps x samples and with what the gate keeps; docs/segment.md has seconds as measured.
Models that predict the noise have no gate, and --fast is no use to them."""


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number > 1)}"
