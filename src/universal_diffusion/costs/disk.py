"""What a study needs on disk, in GB (1e9 bytes), by source and by step.

Archives: the catalogue's sizes. Everything else is scaled from what was measured: stored volumes
(benchmarks/store.csv), archives that unpack to more, predictions (bytes per voxel of two finished studies).
"""

from dataclasses import dataclass
from pathlib import Path

from universal_diffusion.costs.amounts import Range, figure, total
from universal_diffusion.datasets.catalogue import Archive, Entry, sources
from universal_diffusion.datasets.catalogue import entry as known
from universal_diffusion.datasets.own.source import entry_of
from universal_diffusion.preparation.extraction import is_archive
from universal_diffusion.preparation.folders import visible_tree
from universal_diffusion.settings import Denoiser, ImageAutoencoder, MaskAutoencoder, Study

GB = 1e9
STORED_MM = Range(
    237, 536
)  # length of a case: of the CT of benchmarks/inference.md, of the case of benchmarks/store.md
STORED_VOXEL_MM3 = 1.5 * 1.5 * 2.0  # of the latter
NATIVE_SLICES = Range(141, 300)  # of 512 x 512: the mean of 3D-IRCADb's scans, the CT of benchmarks/inference.md
PREDICTED = {  # bytes per native voxel of a masks and maps: least of the embedded study, most of the sample's
    "mask": Range(0.16, 0.28),
    "noise": Range(0.16, 4.1),  # what is hardly trained finds specks everywhere, which no compression makes small
}
DICOM_UNPACKED = Range(2.4, 16)  # times its zip: a scan of CHAOS, two patients of 3D-IRCADb (the embedded ones' 8.3)
DICOM_ZIPS = ("ircadb", "chaos")
ARTEFACTS = Range(0.1, 1.0)  # tables, figures, pages, logs: 0.1 in the embedded study
PER_WIDTH = {
    "autoencoder": 45,
    "denoiser": 100,
}  # parameters per residual block and squared width, within 15 % on config/*.yaml
BYTES_KEPT = Range(4, 28)  # per parameter: weights; while they train, checkpoints of weights, averages, Adam's moments
VARIANTS = 4


@dataclass(frozen=True)
class SourceDisk:
    """What one source needs: its archives as they are kept, unpacked, and as harmonised volumes; in GB."""

    source: str
    cases: int
    archives: Range
    unpacked: Range
    volumes: Range


def source_disk(name: str, study: Study, records: Path) -> SourceDisk:
    """The disk of one source of the study, nothing of it being there yet."""
    source = study.sources[name]
    place = Path(study.data_root, source.path or "")
    entry = entry_of(name, place)
    cases = case_count(name, study)
    if source.origin == "phantom":
        archives = phantom_archives(study, cases)
        unpacked = archives * expansion(entry)
    elif source.origin == "local":
        archives = Range(0, 0)  # linked
        packed = [place] if place.is_file() else [place / name for name in visible_tree(place)]
        size = sum(path.stat().st_size for path in packed if is_archive(path)) / GB
        unpacked = Range(size, size) * expansion(entry)
    else:
        archives = total([archive_size(archive, entry) for archive in entry.archives])
        packed = [archive for archive in entry.archives if not archive.is_collection and is_archive(Path(archive.name))]
        unpacked = total([archive_size(archive, entry) for archive in packed]) * expansion(entry)
    return SourceDisk(name, cases, archives, unpacked, volumes_of(cases, study, records))


def case_count(name: str, study: Study) -> int:
    """Cases that the study takes of a source."""
    source = study.sources[name]
    if source.origin == "phantom":
        return study.phantom.cases[name]
    entry = entry_of(name, Path(study.data_root, source.path or ""))
    if source.cases or entry.cases is not None:
        return len(source.cases) or entry.cases
    from universal_diffusion.datasets.own import cases, description

    folder = Path(study.data_root, source.path)
    return len(cases.find(folder, description.read(folder)).cases)


def archive_size(archive: Archive, entry: Entry) -> Range:
    """GB of one archive: published, told, or of as many CTs as other sources pack into theirs."""
    size = archive.about_gb if archive.bytes is None else archive.bytes / GB
    if size is not None:
        return Range(size, size)
    if any(other.about_gb or other.bytes for other in entry.archives):
        return Range(0, 0.1)  # masks beside scans whose size is told
    return gb_per_case() * (entry.cases / len(entry.archives))


def gb_per_case() -> Range:
    """The least and the most GB per labelled CT among the sources whose sizes are known."""
    rates = []
    for entry in map(known, sources()):
        sizes = [archive.about_gb if archive.bytes is None else archive.bytes / GB for archive in entry.archives]
        if None not in sizes:
            rates.append(sum(sizes) / entry.cases)
    return Range(min(rates), max(rates))


def expansion(entry: Entry) -> Range:
    """How many times its archive an unpacked source is: once, as .nii.gz is packed already, but for DICOM."""
    return DICOM_UNPACKED if entry.key in DICOM_ZIPS else Range(1, 1)


def phantom_archives(study: Study, cases: int) -> Range:
    """Of the embedded cohort: a quarter to all of two bytes per voxel of scans of at most 500 mm."""
    slices = 500 / study.phantom.slice_spacing_mm[0]
    return Range(0.25, 1) * (2 * cases * study.phantom.matrix**2 * slices / GB)


def volumes_of(cases: int, study: Study, records: Path) -> Range:
    """Harmonised volumes, by their voxels."""
    x, y, z = study.preparation.spacing_mm
    each = figure(records, "store", "volume store, one process", "MB per case") / 1000
    return STORED_MM * (cases * each * STORED_VOXEL_MM3 / (x * y * z) / STORED_MM.high)


def evaluated(study: Study) -> dict[str, float]:
    """Validation and test cases by source; scans that the leakage audit will drop are counted here still."""
    return {
        name: case_count(name, study) * (1 if source.role == "test" else study.validation_fraction)
        for name, source in study.sources.items()
    }


def predictions(study: Study) -> Range:
    """Of the four variants; the baselines' masks are small beside them."""
    per_voxel = total([PREDICTED["mask"], PREDICTED["noise"]]) * (VARIANTS / 2)
    return per_voxel * native_voxels(study) * (sum(evaluated(study).values()) / GB)


def native_voxels(study: Study) -> Range:
    """Of one evaluated CT."""
    if all(source.origin == "phantom" for source in study.sources.values()):
        slices = Range(*(length / study.phantom.slice_spacing_mm[0] for length in (STORED_MM.low, STORED_MM.high)))
        return slices * float(study.phantom.matrix**2)
    return NATIVE_SLICES * float(512 * 512)


def parameters(network: MaskAutoencoder | ImageAutoencoder | Denoiser) -> float:
    """About as many as the network has, without building it."""
    kind = "denoiser" if isinstance(network, Denoiser) else "autoencoder"
    return PER_WIDTH[kind] * network.residual_blocks * sum(width**2 for width in network.channels)


def models(study: Study) -> Range:
    """All trained networks and their checkpoints, with the pretrained weights' files."""
    masks, images = parameters(study.mask_autoencoder), parameters(study.image_autoencoder)
    coarser = parameters(study.mask_autoencoder.coarser())
    variant = parameters(study.denoiser) + masks + images
    pretrained = 0.06 + (0.9 if study.weights.origin == "download" else 0)  # VGG-16's and CLIP's own files
    return BYTES_KEPT * ((masks + images + coarser + VARIANTS * variant) / GB) + Range(pretrained, pretrained)
