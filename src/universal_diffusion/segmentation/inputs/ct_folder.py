"""Which files and folders of a folder are CTs: those that are segmented one after the other."""

from collections.abc import Sequence
from pathlib import Path

from universal_diffusion.datasets.base import natural_key
from universal_diffusion.datasets.dicom import dicom_files
from universal_diffusion.errors import InputError

NIFTI, NRRD, METAIMAGE = (".nii", ".nii.gz"), (".nrrd", ".nhdr"), (".mha", ".mhd")
OWN_NAME = "ct"  # what TotalSegmentator's data set calls the CT in the folder of a case


def find_cts(folder: Path) -> list[Path]:
    """The CTs of a folder, naturally sorted.

    A folder that directly holds DICOM files, or a DICOMDIR, is one CT itself. Else each image file (`.nii`, `.nii.gz`,
    `.nrrd`, `.nhdr`, `.mha`, `.mhd`), each `.zip` and each sub-folder that holds DICOM at any depth is one, and of a
    sub-folder without DICOM its file `ct.*`, or the only image file directly in it. Hidden files are passed over, and
    sub-folders with several image files too: a mask cannot be told from a CT by its name.

    Raises:
        InputError: the folder does not exist, or holds none of these.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(folder, "is no folder", "give a folder with CTs")
    if dicom_files(folder) or _has_dicomdir(folder):
        return [folder]
    found = [ct for path in _visible(folder) if (ct := _ct_of(path))]
    if not found:
        raise InputError(
            folder,
            "holds no CT: neither .nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd or .zip files nor DICOM folders",
            "give the folder that holds them",
        )
    return found


def _ct_of(path: Path) -> Path | None:
    """The CT that an entry of the folder is or holds."""
    if path.is_file():
        return path if is_image(path) or path.name.lower().endswith(".zip") else None
    return path if holds_dicom(path) else only_ct([inner for inner in _visible(path) if inner.is_file()])


def only_ct(files: Sequence[Path]) -> Path | None:
    """Of some files, the image file named `ct`, or else the only image file."""
    images = [path for path in files if is_image(path)]
    best = [path for path in images if path.name.partition(".")[0] == OWN_NAME] or images
    return best[0] if len(best) == 1 else None


def is_image(path: Path) -> bool:
    """Whether the name is that of a NIfTI, NRRD or MetaImage file."""
    return path.name.endswith(NIFTI) or path.name.lower().endswith((*NRRD, *METAIMAGE))


def image_files(folder: Path) -> list[Path]:
    """The image files below a folder, to all depths, naturally sorted, hidden ones left out."""
    hidden = (".", "__MACOSX")
    inside = [path for path in folder.rglob("*") if path.is_file() and is_image(path)]
    seen = [path for path in inside if not any(part.startswith(hidden) for part in path.relative_to(folder).parts)]
    return sorted(seen, key=lambda path: natural_key(str(path.relative_to(folder))))


def holds_dicom(folder: Path) -> bool:
    """Whether DICOM files lie in a folder, at any depth."""
    return _has_dicomdir(folder) or any(
        dicom_files(directory) for directory in (folder, *folder.rglob("*")) if directory.is_dir()
    )


def _has_dicomdir(folder: Path) -> bool:
    return any(path.name.upper() == "DICOMDIR" and path.is_file() for path in folder.iterdir())


def _visible(folder: Path) -> list[Path]:
    entries = (path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX")))
    return sorted(entries, key=lambda path: natural_key(path.name))
