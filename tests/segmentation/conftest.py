"""A variant with untrained convolutions, in memory and on disk."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from universal_diffusion.method.bundle import Bundle, Networks, build_autoencoder, build_denoiser, load_bundle
from universal_diffusion.method.weights import save_model
from universal_diffusion.settings import Diffusion
from universal_diffusion.targets import all_targets

PATCH = 16
AUTOENCODER = {"channels": [8, 8], "latent_channels": 2, "residual_blocks": 1}
ARCHITECTURE = {
    "kind": "variant",
    "mask_autoencoder": {"kind": "mask_autoencoder", **AUTOENCODER},
    "image_autoencoder": {"kind": "image_autoencoder", **AUTOENCODER},
    "denoiser": {
        "channels": [8, 8],
        "residual_blocks": 1,
        "attention_scales": [1],
        "embedding": "learnt",
        "embedding_channels": 8,
    },
}
CARD = {
    "architecture": ARCHITECTURE,
    "diffusion": asdict(Diffusion(timesteps=100, schedule="cosine", history=10, uniform_probability=0.1)),
    "prediction": "mask",
    "patch": PATCH,
    "spacing_mm": [6.0, 6.0, 6.0],
    "hu_window": [-175.0, 250.0],
    "targets": [target.name for target in all_targets()[:8]],
    "study": "test",
    "cohort": "random numbers",
}


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    """Undo what `start_torch` sets for a whole process."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """Directory of an untrained variant."""
    torch.manual_seed(0)
    denoiser = build_denoiser(ARCHITECTURE["denoiser"], 2, 2, None)
    torch.nn.init.normal_(denoiser.leave[-1].weight, std=0.3)
    networks = Networks(
        build_autoencoder(ARCHITECTURE["mask_autoencoder"]),
        build_autoencoder(ARCHITECTURE["image_autoencoder"]),
        denoiser,
    )
    directory = tmp_path_factory.mktemp("models") / "mask_learnt"
    save_model(directory, networks, CARD)
    return directory


@pytest.fixture(scope="session")
def conv_bundle(model) -> Bundle:
    """The same, loaded."""
    return load_bundle(model)


@pytest.fixture(scope="session")
def write_slice():
    """Writes (rows, columns) Hounsfield units as a DICOM slice, with any attribute replaced (None: left out).

    Pixels are 1.5 mm (between columns) x 2 mm (between rows), the slice is axial with x to the left and y to the back.
    """

    def write(path: Path, hu: np.ndarray, place=(0, 0, 0), slope=1.0, intercept=-1024.0, **attributes) -> Path:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
        one = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        stored = {
            "SOPClassUID": CTImageStorage,
            "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
            "Modality": "CT",
            "SeriesInstanceUID": "1.2.3",
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
            "SliceThickness": "3",
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [float(part) for part in place],
            "PixelSpacing": [2.0, 1.5],
            "RescaleSlope": str(slope),
            "RescaleIntercept": str(intercept),
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": 16,
            "BitsStored": 16,
            "HighBit": 15,
            "PixelRepresentation": 0,
            "Rows": hu.shape[0],
            "Columns": hu.shape[1],
            "PixelData": np.round((hu - intercept) / slope).astype("<u2").tobytes(),
        } | attributes
        for name, value in stored.items():
            if value is not None:
                setattr(one, name, value)
        path.parent.mkdir(parents=True, exist_ok=True)
        one.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture(scope="session")
def write_series(write_slice):
    """Writes (slices, rows, columns) Hounsfield units, 3 mm apart, into files named against their order."""

    def write(folder: Path, hu: np.ndarray, **attributes) -> list[Path]:
        return [
            write_slice(folder / f"i{len(hu) - z}", plane, (-30, -20, 100 + 3 * z), **attributes)
            for z, plane in enumerate(hu)
        ]

    return write
