"""The DICOM segmentation, read back by pydicom alone, by dcmqi and by dciodvfy."""

import json
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, generate_uid
from scipy.spatial.transform import Rotation

from universal_diffusion.segmentation.inputs.ct import CT
from universal_diffusion.segmentation.outputs.dicom_seg import write_dicom_seg
from universal_diffusion.segmentation.outputs.seg_frames import SegFrames
from universal_diffusion.segmentation.outputs.seg_source import SegSource, seg_notes, seg_obstacle
from universal_diffusion.targets import all_targets, target
from universal_diffusion.volumes import Grid

RAS = np.diag([-1.0, -1.0, 1.0])
DCMQI = Path(sys.executable).with_name("segimage2itkimage")
NAMES = ("liver", "left kidney", "liver tumor", "pancreas")  # the pancreas is not found


@st.composite
def series(draw, tilts=(0.0,)) -> tuple[Grid, list[Dataset]]:
    """A CT's grid and its slices' headers: any direction of rows, columns and stacking, oblique or not, or tilted."""
    shape = draw(st.tuples(st.integers(3, 9), st.integers(3, 9), st.integers(2, 6)))
    row, column, _ = np.eye(3)[draw(st.permutations(range(3)))] * draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    turn = Rotation.from_euler("xyz", draw(st.tuples(*[st.sampled_from([0.0, 12.5, -33.0])] * 3)), degrees=True)
    row, column = turn.apply(row), turn.apply(column)
    normal = np.cross(row, column)  # `read_ct` stacks slices along it, whatever the files' order is
    spacing = draw(st.tuples(*[st.sampled_from([0.7, 1.25, 3.0])] * 3))
    corner = np.array(draw(st.tuples(*[st.floats(-200, 200)] * 3))).round(3)
    step = spacing[2] * (normal + draw(st.sampled_from(tilts)) * column)
    affine = np.eye(4)
    affine[:3, :3] = RAS @ np.column_stack([spacing[0] * row, spacing[1] * column, step])
    affine[:3, 3] = RAS @ corner
    places = [corner + z * step for z in range(shape[2])]
    return Grid(shape, affine), [header(shape, spacing, row, column, place, z) for z, place in enumerate(places)]


def header(shape, spacing, row, column, place, z) -> Dataset:
    one = Dataset()
    one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, generate_uid(entropy_srcs=["slice", str(z)])
    one.StudyInstanceUID, one.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    one.FrameOfReferenceUID, one.Modality, one.InstanceNumber = "1.2.3.5", "CT", z + 1
    one.StudyDate, one.StudyTime, one.PatientID, one.Manufacturer = "20200301", "101500", "P1", "maker"
    one.Columns, one.Rows = shape[:2]
    one.PixelSpacing, one.SliceThickness = [spacing[1], spacing[0]], spacing[2]
    one.ImageOrientationPatient = [f"{x:.9f}" for x in (*row, *column)]
    one.ImagePositionPatient = [f"{x:.6f}" for x in place]
    return one


def masks_of(grid: Grid, seed: int) -> dict[str, np.ndarray]:
    """Overlapping noise; every target but the last is somewhere, and not in every slice."""
    generator = np.random.default_rng(seed)
    masks = {name: generator.random(grid.shape) < 0.3 for name in NAMES}
    masks["left kidney"][..., 1:] = False
    masks["pancreas"][:] = False
    for mask in list(masks.values())[:3]:
        mask[0, 1, 0] = True
    return masks


def enhanced(headers: list[Dataset], seed: int) -> tuple[list[Dataset], list[int]]:
    """The same slices as the frames of one file, in some order, and the number of each one's frame."""
    order = np.random.default_rng(seed).permutation(len(headers))
    whole, shared = deepcopy(headers[0]), Dataset()
    whole.SOPClassUID, whole.SOPInstanceUID, whole.NumberOfFrames = EnhancedCTImageStorage, "1.2.3.9", len(headers)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [Dataset()], [Dataset()]
    for keyword in ("PixelSpacing", "SliceThickness"):
        setattr(shared.PixelMeasuresSequence[0], keyword, headers[0][keyword].value)
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = headers[0].ImageOrientationPatient
    frames = []
    for z in order:
        frame = Dataset()
        frame.PlanePositionSequence = [Dataset()]
        frame.PlanePositionSequence[0].ImagePositionPatient = headers[z].ImagePositionPatient
        frames.append(frame)
    for keyword in ("PixelSpacing", "SliceThickness", "ImageOrientationPatient", "ImagePositionPatient"):
        del whole[keyword]
    whole.SharedFunctionalGroupsSequence, whole.PerFrameFunctionalGroupsSequence = [shared], frames
    return [whole], [int(place) + 1 for place in np.argsort(order)]


def write(
    path: Path, masks: dict[str, np.ndarray], grid: Grid, headers: list[Dataset], numbers=(), patient: bool = False
) -> None:
    frames = SegFrames(grid)
    for name, mask in masks.items():
        if mask.any():
            frames.add(name, tuple(slice(0, size) for size in grid.shape), mask)
    write_dicom_seg(path, frames, list(masks), SegSource(headers, numbers, patient), overlap=True)


@settings(max_examples=12)
@given(series(tilts=(0.0, 0.3)), st.integers(0, 9), st.booleans())
def test_every_voxel_comes_back_at_its_place(tmp_path_factory, ct, seed, in_one_file):
    """By pydicom and the standard's formula alone: frame, segment and slice position to a voxel of the CT."""
    grid, headers = ct
    path, masks = tmp_path_factory.mktemp("seg") / "segmentation.dcm", masks_of(grid, seed)
    files, numbers = enhanced(headers, seed) if in_one_file else (headers, ())
    write(path, masks, grid, files, numbers)
    seg = pydicom.dcmread(path)
    frames = seg.pixel_array.reshape(int(seg.NumberOfFrames), seg.Rows, seg.Columns)
    shared = seg.SharedFunctionalGroupsSequence[0]
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    rows_mm, columns_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    found = {name: np.zeros(grid.shape, bool) for name in masks}
    for frame, item in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        assert frame.any()
        name = NAMES[item.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1]
        corner = np.array(item.PlanePositionSequence[0].ImagePositionPatient, float)
        row, column = np.argwhere(frame).T
        lps = corner + np.outer(column * columns_mm, orientation[0]) + np.outer(row * rows_mm, orientation[1])
        voxels = (np.c_[lps @ RAS, np.ones(len(lps))] @ np.linalg.inv(grid.affine).T)[:, :3]
        assert np.abs(voxels - np.rint(voxels)).max() < 1e-2
        found[name][tuple(np.rint(voxels).astype(int).T)] = True
        z = int(np.rint(voxels[0, 2]))
        source = item.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID == files[0 if in_one_file else z].SOPInstanceUID
        assert not in_one_file or source.ReferencedFrameNumber == numbers[z]
    assert all(np.array_equal(found[name], masks[name]) for name in masks)
    assert seg.SegmentsOverlap == "YES"


@pytest.mark.skipif(not DCMQI.exists(), reason="dcmqi is not installed")
@settings(max_examples=6)
@given(series())
def test_dcmqi_reads_the_same_voxels_at_the_same_places(tmp_path_factory, ct):
    grid, headers = ct
    folder, masks = tmp_path_factory.mktemp("seg"), masks_of(grid, 1)
    write(folder / "segmentation.dcm", masks, grid, headers)
    subprocess.run(
        [DCMQI, "--inputDICOM", folder / "segmentation.dcm", "--outputDirectory", folder, "-t", "nrrd"],
        check=True,
        capture_output=True,
    )
    coded = json.loads((folder / "meta.json").read_text())["segmentAttributes"]
    for (item,), name in zip(coded, NAMES, strict=True):
        assert item["SegmentLabel"] == name
        image = SimpleITK.ReadImage(str(folder / f"{item['labelID']}.nrrd"))
        found = np.argwhere(SimpleITK.GetArrayViewFromImage(image).T)
        lps = np.array([image.TransformIndexToPhysicalPoint(voxel.tolist()) for voxel in found]).reshape(-1, 3)
        voxels = (np.c_[lps @ RAS, np.ones(len(lps))] @ np.linalg.inv(grid.affine).T)[:, :3]
        assert np.abs(voxels - np.rint(voxels)).max(initial=0) < 1e-2
        assert {*map(tuple, np.rint(voxels).astype(int))} == {*map(tuple, np.argwhere(masks[name]))}
    assert coded[1][0]["SegmentedPropertyTypeModifierCodeSequence"]["CodeMeaning"] == "Left"
    assert coded[2][0]["AnatomicRegionSequence"]["CodeMeaning"] == "Liver"


@pytest.mark.parametrize("in_one_file", [False, True])
@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy is not installed")
def test_dciodvfy_finds_no_error(tmp_path, in_one_file):
    grid, headers = example()
    masks = {known.name: np.zeros(grid.shape, bool) for known in all_targets()}
    for place, mask in enumerate(masks.values()):
        mask.flat[place] = mask.flat[0] = True
    write(tmp_path / "segmentation.dcm", masks, grid, *(enhanced(headers, 0) if in_one_file else (headers,)))
    run = subprocess.run(["dciodvfy", tmp_path / "segmentation.dcm"], capture_output=True, text=True)
    assert "Segmentation" in run.stderr
    assert not [line for line in run.stderr.splitlines() if line.startswith("Error")]


def example(shape=(7, 5, 4)) -> tuple[Grid, list[Dataset]]:
    grid = Grid(shape, np.diag([-1.0, -1, 2, 1]))
    row, column = np.eye(3)[:2]
    return grid, [header(shape, (1, 1, 2), row, column, (0, 0, 2 * z), z) for z in range(shape[2])]


def test_equal_masks_give_equal_bytes_and_others_another_identity(tmp_path):
    grid, headers = example()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write(tmp_path / name, masks_of(grid, seed), grid, headers)
    assert (headers[0].Rows, headers[0].Columns) == (5, 7)  # as they were
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    first, other = pydicom.dcmread(tmp_path / "a"), pydicom.dcmread(tmp_path / "c")
    assert first.SOPInstanceUID != other.SOPInstanceUID
    assert first.SeriesInstanceUID != other.SeriesInstanceUID
    assert (first.ContentDate, first.PatientID, first.StudyDate) == ("19000101", "", "")
    write(tmp_path / "d", masks_of(grid, 0), grid, headers, patient=True)
    named = pydicom.dcmread(tmp_path / "d")
    assert (named.ContentDate, named.PatientID, named.StudyDate) == ("20200301", "P1", "20200301")
    assert first.StudyInstanceUID == headers[0].StudyInstanceUID


def test_segments_are_coded_coloured_and_tracked(tmp_path):
    grid, headers = example()
    write(tmp_path / "seg", masks_of(grid, 0), grid, headers)
    segments = pydicom.dcmread(tmp_path / "seg").SegmentSequence
    assert [one.SegmentLabel for one in segments] == list(NAMES)
    for one in segments:
        known = target(one.SegmentLabel)
        assert one.SegmentedPropertyTypeCodeSequence[0].CodeValue == known.type.value
        assert one.SegmentedPropertyCategoryCodeSequence[0].CodeValue == known.category.value
        assert len(one.RecommendedDisplayCIELabValue) == 3
        assert one.TrackingID == known.slug
        assert one.SegmentAlgorithmType == "AUTOMATIC"
    assert len({one.TrackingUID for one in segments}) == len(segments)
    assert segments[2].AnatomicRegionSequence[0].CodeMeaning == "Liver"


def test_where_no_target_is_found_a_frame_is_empty(tmp_path):
    grid, headers = example()
    write(tmp_path / "seg", {name: np.zeros(grid.shape, bool) for name in NAMES}, grid, headers)
    seg = pydicom.dcmread(tmp_path / "seg")
    assert (seg.NumberOfFrames, len(seg.SegmentSequence)) == (1, len(NAMES))
    assert not seg.pixel_array.any()


def test_headers_that_lack_patient_date_or_frame_of_reference_do(tmp_path):
    grid, headers = example()
    for one in headers:
        for keyword in ("StudyDate", "StudyTime", "PatientID", "Manufacturer", "InstanceNumber", "FrameOfReferenceUID"):
            delattr(one, keyword)
    write(tmp_path / "seg", masks_of(grid, 0), grid, headers, patient=True)
    assert pydicom.dcmread(tmp_path / "seg").NumberOfFrames > 0


@settings(max_examples=20)
@given(series(tilts=(0.0, 0.3)))
def test_frames_fit_slices_that_lie_where_the_grid_says(ct):
    grid, headers = ct
    beside = "slices lie up to .* mm beside an even grid"

    def obstacle(slices: list[Dataset], places: Grid = grid, numbers=()) -> str:
        return seg_obstacle(CT(None, places, Path("ct"), "DICOM", (), tuple(slices), tuple(numbers))) or ""

    assert obstacle(headers) == obstacle(enhanced(headers, 1)[0], numbers=enhanced(headers, 1)[1]) == ""
    assert re.search(beside, obstacle(headers[::-1]))
    assert re.search(beside, obstacle(headers, Grid(grid.shape, grid.affine @ np.diag([1, 1, 3, 1]))))
    del headers[-1].SOPInstanceUID
    assert "have no SOPInstanceUID, by which" in obstacle(headers)
    nifti = CT(None, grid, Path("ct"), "NIfTI")
    assert (seg_obstacle(nifti), seg_notes(nifti)) == ("the CT is no DICOM", ())
    assert seg_notes(replace(nifti, format="DICOM", headers=tuple(headers)))[0].startswith("no DICOM-SEG: the CT's")
