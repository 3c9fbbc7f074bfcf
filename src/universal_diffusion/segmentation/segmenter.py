"""The library's face: a trained model that segments CTs, as the command line does.

from universal_diffusion import Segmenter

segmenter = Segmenter.load("results/embedded/models/mask_clip")
with segmenter.segment("ct.nii.gz", targets=["liver", "spleen"]) as found:
    liver = found.mask("liver")
    found.save("out")
"""

import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import nibabel
import numpy as np
import torch
from nibabel.spatialimages import SpatialImage

from universal_diffusion import __version__
from universal_diffusion.errors import InputError
from universal_diffusion.method.bundle import Bundle, load_bundle
from universal_diffusion.preparation.transforms import harmonise_image
from universal_diffusion.segmentation.card import preparation_of, variant_card, wanted_targets
from universal_diffusion.segmentation.inputs.ct import CT
from universal_diffusion.segmentation.inputs.ct_hash import ct_sha256
from universal_diffusion.segmentation.inputs.ct_input import read_ct
from universal_diffusion.segmentation.lock import alone
from universal_diffusion.segmentation.options import DEVICE, DEVICES
from universal_diffusion.segmentation.presets import PRESETS, sampling_of
from universal_diffusion.segmentation.report_content import Run
from universal_diffusion.segmentation.sampling.run import sample_volume
from universal_diffusion.segmentation.sampling.runtime import start_torch
from universal_diffusion.segmentation.segmented import Segmented
from universal_diffusion.segmentation.spent import Seconds
from universal_diffusion.settings import Segmentation


class Segmenter:
    """A trained model, ready for any number of CTs. Make it with `load`.

    Attributes:
        model: its directory.
        targets: names of what it was trained on.
        threads: CPU threads.
    """

    def __init__(self, bundle: Bundle, model: Path, threads: int, seconds: float):
        self.bundle, self.model, self.threads = bundle, Path(model), threads
        self.targets = tuple(bundle.card["targets"])
        self._load_seconds = seconds

    @classmethod
    def load(cls, model: Path | str, device: str = "auto", threads: int | None = None) -> "Segmenter":
        """Load a variant, e.g. `results/<study>/models/mask_clip`, and set torch up for this process.

        Args:
            device: "auto" (a GPU if there is one), "cpu", "cuda" or "gpu", or "cuda:1" for a certain GPU.
            threads: CPU threads; all cores that this process may use when None. Masks may differ in the last bit
                between numbers of threads.

        Raises:
            InputError: no model there, a damaged one, or no such device.
        """
        if not re.fullmatch(DEVICE, device):
            raise InputError(f"device {device!r}", f"is none of {DEVICES}", "give one of them")
        threads = threads or _cores()
        seconds = Seconds()
        with seconds.of("load"):
            torch_device = start_torch(threads, device.replace("gpu", "cuda"))
            variant_card(Path(model))
            bundle = load_bundle(Path(model), torch_device)
        return cls(bundle, Path(model), threads, seconds.spent["load"])

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.bundle.device

    @property
    def card(self) -> dict:
        """The model card: cohort, spacing, window, patch, architecture, hash of the weights, ..."""
        return self.bundle.card

    def sampling(self, preset: str = "default") -> Segmentation:
        """The sampling of a preset ("fast", "default", "best") for this model on this device.

        Raises InputError for any other preset.
        """
        if preset not in PRESETS:
            raise InputError(f"preset {preset!r}", f"is none of {', '.join(PRESETS)}", "give one of them")
        return sampling_of(PRESETS[preset], self.bundle.prediction, self.device.type)

    def segment(
        self,
        image: CT | SpatialImage | Path | str,
        targets: Sequence[str] | None = None,
        sampling: Segmentation | None = None,
        seed: int = 0,
        work: Path | str | None = None,
        show: bool = False,
    ) -> Segmented:
        """Sample targets in one CT.

        Args:
            image: a path (NIfTI, NRRD, MetaImage, DICOM folder or zip), a nibabel image in Hounsfield units, or what
                `read_ct` returns.
            targets: names; all that the model was trained on when None.
            sampling: steps, ensemble, gate, batch, ...; `self.sampling()` when None.
            seed: of the noise: the same CT, model, sampling, seed, device and threads give the same masks, whatever
                other targets are asked for.
            work: folder in which finished slabs are kept: a call interrupted there goes on when it is repeated. It is
                locked until the result is closed. With None they are in a temporary folder, which goes with the result.
            show: progress with remaining time on stderr.

        Raises:
            InputError: an unusable CT, a work folder that is unusable or that another run is at work in, or a target
                that is unknown or that the model was not trained on.
        """
        wanted = wanted_targets(targets, self.card, self.model)
        sampling = sampling or self.sampling()
        seconds = Seconds({"load": self._load_seconds})
        with seconds.of("read"):
            ct = as_ct(image)
        identity = self.identity(ct, sampling, seed)
        with seconds.of("harmonise"):
            preparation = preparation_of(self.card, self.model)
            harmonised, grid = harmonise_image(ct.hu, ct.grid.affine, preparation, str(ct.path))
        run = Run(self.model, self.card, sampling, seed, self.device, self.threads, identity)
        with ExitStack() as held:
            if work is None:
                work = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="universal-diffusion-")), "slabs")
            folder = Path(work)
            held.enter_context(alone(folder))
            with seconds.of("sample"):
                store = sample_volume(self.bundle, harmonised, grid, wanted, sampling, seed, folder, identity, show)
            return Segmented(store, ct, wanted, run, seconds, held.pop_all())

    def identity(self, ct: CT, sampling: Segmentation, seed: int) -> dict:
        """Everything that a target's maps depend on, as JSON."""
        return {
            "version": __version__,
            "ct_sha256": ct_sha256(ct),
            "weights_sha256": self.card["weights_sha256"],
            "sampling": asdict(sampling),
            "seed": seed,
            "device": str(self.device),
            "threads": self.threads,
        }


def as_ct(image: CT | SpatialImage | Path | str, series: str | None = None) -> CT:
    """A CT from a path, with the series of a DICOM folder to take, or from a nibabel image.

    A nibabel image passes the checks of a NIfTI file; one as it was loaded gives the values that its file does.
    """
    if isinstance(image, CT):
        return image
    if not isinstance(image, SpatialImage):
        return read_ct(Path(image), series)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.nii"
        nibabel.save(_in_floats(image), path)
        try:
            return replace(read_ct(path), path=Path(image.get_filename() or "image"))
        except InputError as error:
            raise InputError("image", error.problem, error.remedy) from None


def _in_floats(image: SpatialImage) -> nibabel.Nifti1Image:
    """A copy, because `save` renames what it saves; of numbers in 32 bits, which saving does not scale and round."""
    copy = nibabel.Nifti1Image.from_image(image)
    values = np.asanyarray(copy.dataobj)
    if values.dtype.kind not in "iuf":
        return copy
    copy.set_data_dtype(np.float32)
    with np.errstate(over="ignore"):  # what 32 bits cannot hold becomes infinite, and is refused
        return nibabel.Nifti1Image(values.astype(np.float32), copy.affine, copy.header)


def _cores() -> int:
    """Cores that this process may use: on a cluster fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
