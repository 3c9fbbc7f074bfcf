"""`universal-diffusion segment`: one CT, or every CT of a folder, each into a folder of its own."""

import argparse
import shutil
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

from universal_diffusion.errors import InputError, of_the_disk, one_line
from universal_diffusion.segmentation.card import variant_card, wanted_targets
from universal_diffusion.segmentation.cases import Case, cases_of
from universal_diffusion.segmentation.inputs.ct import CT
from universal_diffusion.segmentation.lock import alone
from universal_diffusion.segmentation.outputs.export import Outputs
from universal_diffusion.segmentation.outputs.seg_source import seg_notes, seg_obstacle
from universal_diffusion.segmentation.presets import PRESETS, sampling_of
from universal_diffusion.segmentation.printed import columns, decisions_text, result_text
from universal_diffusion.segmentation.report import VIEW, WRITING, is_finished, read_report
from universal_diffusion.segmentation.report_content import files_of
from universal_diffusion.segmentation.sampling.store_folder import holds
from universal_diffusion.segmentation.segmenter import Segmenter, as_ct
from universal_diffusion.settings import Segmentation
from universal_diffusion.viewer.page import write_page

UNFINISHED = ".unfinished"  # in a result's folder: slabs of a run that has not ended


def run(arguments: argparse.Namespace) -> None:
    """Segment what the command line asks for.

    Raises:
        InputError: a wrong option, model or target, another run at work in the output folder, or a single CT that
            cannot be segmented, or its result not be written.
        SystemExit: 1 if CTs of a folder failed.
    """
    _Command(arguments).run()


class _Command:
    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        card = variant_card(arguments.model)
        self.targets = wanted_targets(arguments.targets, card, arguments.model)
        self.prediction = card["prediction"]
        self.cases = cases_of(arguments.input, arguments.output)
        self.is_one = len(self.cases) == 1 and self.cases[0].ct == arguments.input
        self.first = self._read(self.cases[0]) if self.is_one else None  # a wrong CT is told before the model is loaded
        self.segmenter = Segmenter.load(arguments.model, arguments.device, arguments.threads)
        self.sampling = self._sampling()

    def run(self) -> None:
        """One CT with its errors as they are, or all CTs of a folder with a summary."""
        if self.is_one:
            try:
                self._segment(self.cases[0], *self.first)
            except OSError as error:
                raise of_the_disk(error, self.cases[0].folder) or error from None
        else:
            with alone(self.arguments.output):
                self._segment_all()

    def _segment_all(self) -> None:
        rows = [("case", "seconds", "result")]
        for number, case in enumerate(self.cases, 1):
            self._tell(f"[{number}/{len(self.cases)}] {case.name}")
            started = time.perf_counter()
            try:
                result = "done" if self._segment(case, *self._read(case)) else "was there"
            except Exception as error:  # whatever one CT does, the next gets its turn
                result = "FAILED"
                self._report(case, error)
            rows.append((case.name, f"{time.perf_counter() - started:.0f}", result))
        failed = sum(row[-1] == "FAILED" for row in rows)
        self._print(
            f"\n{columns(rows)}\n{len(self.cases) - failed} of {len(self.cases)} CTs are in {self.arguments.output}"
        )
        if failed:
            raise SystemExit(1)

    def _read(self, case: Case) -> tuple[CT, float]:
        """A CT, and the seconds that reading it took."""
        started = time.perf_counter()
        ct = as_ct(case.ct, self.arguments.series)
        return ct, time.perf_counter() - started

    def _segment(self, case: Case, ct: CT, reading: float) -> bool:
        """Segment one CT and say what came out; False if the same result was there already."""
        for note in (*ct.notes, *seg_notes(ct)):
            self._tell(one_line(f"{case.ct}: {note}"))
        with alone(case.folder):
            return self._made(case, ct, reading)

    def _made(self, case: Case, ct: CT, reading: float) -> bool:
        new = self.arguments.overwrite or not self._is_there(case, ct)
        if new:
            self._sample(case, ct, reading)
        else:
            self._tell(f"{case.folder}: holds this very result already (--overwrite makes it again)")
        if self.arguments.view and (new or not (case.folder / VIEW).exists()):
            write_page(case.folder, ct)
        self._say_result(case.folder)
        return new

    def _is_there(self, case: Case, ct: CT) -> bool:
        identity = self.segmenter.identity(ct, self.sampling, self.arguments.seed)
        outputs = self._outputs(ct)
        there = is_finished(case.folder, identity, self.targets, files_of(self.targets, outputs))
        there = there and read_report(case.folder).get("patient_kept") == (outputs.dicom_seg and outputs.patient)
        if there:  # then what lies beside it is of a run that was killed right at its end
            (case.folder / WRITING).unlink(missing_ok=True)
            if holds(case.folder / UNFINISHED, identity, self.targets):
                shutil.rmtree(case.folder / UNFINISHED)
        return there

    def _sample(self, case: Case, ct: CT, reading: float) -> None:
        with self.segmenter.segment(
            ct, self.targets, self.sampling, self.arguments.seed, case.folder / UNFINISHED, not self.arguments.quiet
        ) as found:
            found.seconds.spent["read"] = reading
            found.save(case.folder, self._outputs(ct))
            found.store.remove()

    def _outputs(self, ct: CT) -> Outputs:
        asked = self.arguments
        return Outputs(
            masks=asked.separate or not asked.multilabel,
            multilabel=asked.multilabel,
            maps=not asked.no_maps,
            dicom_seg=seg_obstacle(ct) is None,
            overview=True,
            patient=asked.keep_patient,
        )

    def _sampling(self) -> Segmentation:
        asked = self.arguments
        preset = PRESETS[asked.preset]
        preset = replace(
            preset,
            steps=asked.steps or preset.steps,
            ensemble=asked.ensemble or preset.ensemble,
            gated=preset.gated and not asked.no_gate,
        )
        sampling = sampling_of(preset, self.prediction, self.segmenter.device.type, asked.warm_start)
        sampling = replace(sampling, batch=asked.batch)
        if asked.warm_start and sampling.gate is None:
            raise InputError("--warm-start", *self._why_no_gate())
        self.segmenter.bundle.process.respace(sampling.steps, sampling.warm_start)  # refuses what cannot be done
        if preset.gated and sampling.gate is None:
            self._tell(f"{asked.model}: predicts the noise, so there is no gate and everything is sampled")
        return sampling

    def _why_no_gate(self) -> tuple[str, str]:
        needs = "needs the gate's estimates, and"
        if self.prediction != "mask":
            return f"{needs} {self.arguments.model} predicts the noise, which has no gate", "leave it out"
        if self.arguments.no_gate:
            return f"{needs} --no-gate does without", "leave out one of the two"
        best = PRESETS[self.arguments.preset]
        like_it = f"for as many samples behind the gate: --steps {best.steps} --ensemble {best.ensemble}"
        return f"{needs} --{self.arguments.preset} has no gate", f"leave out one of the two ({like_it})"

    def _say_result(self, folder: Path) -> None:
        report = read_report(folder)
        if self.arguments.verbose:
            self._tell(decisions_text(report))
        self._print(f"{result_text(report, self.targets)}\nwritten: {folder} (segmentation.json says how)")

    def _report(self, case: Case, error: Exception) -> None:
        if isinstance(error, OSError):
            error = of_the_disk(error, case.folder) or error
        if self.arguments.verbose and not isinstance(error, InputError):
            traceback.print_exc()
        told = str(error) if isinstance(error, InputError) else f"{case.ct}: {type(error).__name__}: {error}"
        print(f"error: {one_line(told)}", file=sys.stderr)

    def _tell(self, text: str) -> None:
        if not self.arguments.quiet:
            print(text, file=sys.stderr)

    def _print(self, text: str) -> None:
        if not self.arguments.quiet:
            print(text, flush=True)
