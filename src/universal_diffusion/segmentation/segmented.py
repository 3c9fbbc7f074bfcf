"""What came out of one CT: masks and maps on the CT's own grid, made when they are asked for."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import numpy as np

from universal_diffusion.errors import InputError
from universal_diffusion.files import write_json
from universal_diffusion.segmentation.inputs.ct import CT
from universal_diffusion.segmentation.lock import alone
from universal_diffusion.segmentation.outputs.export import Outputs, export
from universal_diffusion.segmentation.outputs.facts import TargetFacts, entropy
from universal_diffusion.segmentation.outputs.native import THRESHOLD, to_native
from universal_diffusion.segmentation.outputs.seg_source import seg_obstacle
from universal_diffusion.segmentation.report import REPORT, WRITING, announce, remove_result, sizes_of
from universal_diffusion.segmentation.report_content import Run, files_of, report
from universal_diffusion.segmentation.sampling.slab_store import SlabStore
from universal_diffusion.segmentation.spent import Seconds
from universal_diffusion.targets import target


class Segmented:
    """Targets of one CT. `Segmenter.segment` makes it; use it as a context manager, or `close` it.

    Arrays are numpy arrays of the CT's own shape and array order, resampled from the harmonised grid on each call; only
    one target's exist at a time. Once closed, it refuses to make any, with an InputError.

    Attributes:
        targets: names, in the order asked.
        ct: the CT.
        store: the maps on the harmonised grid.
        seconds: what each part took.
    """

    def __init__(self, store: SlabStore, ct: CT, targets: Sequence[str], run: Run, seconds: Seconds, held: ExitStack):
        """`held` is what must be let go when the result is closed: the store's folder."""
        self.store, self.ct, self.targets = store, ct, tuple(targets)
        self._run, self.seconds, self._held = run, seconds, held
        self._closed = False

    def mean(self, name: str) -> np.ndarray:
        """Mean over the ensemble of the probability that a voxel is in the target: float32 from 0 to 1."""
        return self._native(name, 0)

    def variance(self, name: str) -> np.ndarray:
        """Variance over the ensemble of that probability: float32 from 0 to 0.25; 0 for an ensemble of one."""
        return self._native(name, 1)

    def entropy(self, name: str) -> np.ndarray:
        """Predictive entropy of the mean, in bits: float32, 0 where the model is sure and 1 where the mean is 0.5."""
        return entropy(self.mean(name))

    def mask(self, name: str) -> np.ndarray:
        """The target's mask: bool, where the mean is at least 0.5."""
        return self.mean(name) >= THRESHOLD

    @cached_property
    def facts(self) -> dict[str, TargetFacts]:
        """Volume, density and uncertainty by target."""
        self._check_open()
        nothing = Outputs(masks=False, multilabel=False, maps=False, dicom_seg=False, overview=False)
        with tempfile.TemporaryDirectory() as folder:
            return self._exported(Path(folder), nothing)

    def save(self, folder: Path | str, outputs: Outputs | None = None) -> Path:
        """Write masks, maps, overview and `segmentation.json` into a folder; an earlier result there is removed.

        If it is cut off, the next save there removes what it wrote.

        Args:
            outputs: what to write; masks, maps, an overview and, for a CT in DICOM, a DICOM-SEG when None.

        Returns:
            The path of `segmentation.json`, which is written last.

        Raises:
            InputError: another run is at work in the folder, or `outputs` asks for what cannot be written.
        """
        self._check_open()
        folder, outputs = Path(folder), outputs or standard_outputs(self.ct)
        files = files_of(self.targets, outputs)
        with alone(folder):
            remove_result(folder)
            announce(folder, files)
            with self.seconds.of("export"):
                self.facts = self._exported(folder, outputs)
            sizes = sizes_of(folder, files)
            content = report(self._run, self.ct, self.store, self.facts, outputs, sizes, self.seconds.spent)
            write_json(folder / REPORT, content)
            (folder / WRITING).unlink()
        return folder / REPORT

    def _exported(self, folder: Path, outputs: Outputs) -> dict[str, TargetFacts]:
        """The facts of what is written, in the order asked."""
        facts = export(self.store, self.ct.grid, folder, outputs, self.ct, self._run.threads)
        return {name: facts[name] for name in self.targets}

    def close(self) -> None:
        """Delete the temporary folder with the maps; a work folder that was asked for stays."""
        self._closed = True
        self.store.close()
        self._held.close()

    def __enter__(self) -> "Segmented":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise InputError(self.ct.path, "its result is closed", "use it inside its `with`")

    def _native(self, name: str, kind: int) -> np.ndarray:
        self._check_open()
        known = target(name).name
        if known not in self.targets:
            raise InputError(f"target {name!r}", "was not asked for", f"choose from: {', '.join(self.targets)}")
        return to_native(self.store.read(known)[kind], self.store.grid, self.ct.grid)


def standard_outputs(ct: CT) -> Outputs:
    """Everything but the multi-label volume; a DICOM-SEG for a CT that came as DICOM."""
    return Outputs(masks=True, multilabel=False, maps=True, dicom_seg=seg_obstacle(ct) is None, overview=True)
