"""Wrong input, given to the steps and the command line as a person would: one line, exit status 2, nothing half-made.

What the rooms' own tests ask of single functions is asked here of whole runs, on archives of the phantom.
"""

import gzip
import io
import json
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import pyzipper

from universal_diffusion.checksums import SUMS, hashes, write_sums
from universal_diffusion.method.bundle import Networks, build_autoencoder, build_denoiser
from universal_diffusion.method.weights import save_model
from universal_diffusion.phantom.write import write
from universal_diffusion.preparation.origin import read_origin
from universal_diffusion.preparation.unpack import write_tree_sums
from universal_diffusion.settings import Diffusion, Phantom

PREPARATION = json.dumps({"spacing_mm": [10, 10, 12], "hu_window": [-175, 250], "patch": 32})
ARCHIVES = {"msd09": "Task09_Spleen.tar", "btcv": "RawData.zip", "word": "WORD-V0.1.0.zip", "ircadb": "3Dircadb1.zip"}
SHUT, NAMED = "is truncated or damaged", "reaches out of its tree"


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Path:
    """Archives of the phantom, two cases each; the folder's name has a space and quotes."""
    folder = tmp_path_factory.mktemp('it\'s a "cohort"')
    sources = ("msd09", "btcv", "word", "ircadb", "pancreas_ct")
    for source in sources:
        write(source, Phantom(48, (8.0, 10.0), dict.fromkeys(sources, 2)), 1, folder / source)
    return folder


@pytest.fixture(scope="session")
def native(written, tmp_path_factory) -> Path:
    """The same, unpacked."""
    folder = tmp_path_factory.mktemp("native")
    for source in ("msd09", "ircadb", "pancreas_ct"):
        run("preparation.unpack", "--source", source, "--archives", written / source, "--output", folder / source)
    return folder


def run(step: str, *arguments: object) -> None:
    """A step's `main`, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [step, *map(str, arguments)])
        import_module(f"universal_diffusion.{step}").main()


@pytest.fixture
def refusal(capfd) -> Callable[..., str]:
    """Runs a step that must end in status 2 and returns its one line, progress bars apart."""

    def refused(step: str, *arguments: object) -> str:
        capfd.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(SystemExit) as caught:
                run(step, *arguments)
        assert caught.value.code == 2
        printed = [line.rpartition("\r")[2] for line in capfd.readouterr().err.splitlines()]
        lines = [line for line in printed if line.strip() and "/s]" not in line and "it]" not in line]
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        assert ".partial" not in lines[0]  # a name that is gone when the line is read
        return lines[0]

    return refused


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)
    return buffer.getvalue()


def tarred(name: str, link: str | None = None, kind: bytes = tarfile.SYMTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = (kind, link) if link else (tarfile.REGTYPE, "")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(member)
    return buffer.getvalue()


def huge_member() -> bytes:
    member = tarfile.TarInfo("zeros")
    member.size = 10**12
    return member.tobuf(tarfile.GNU_FORMAT) + bytes(2000)


def under_another_password() -> bytes:
    buffer = io.BytesIO()
    with pyzipper.AESZipFile(buffer, "w", encryption=pyzipper.WZ_AES) as bundle:
        bundle.setpassword(b"another")
        bundle.writestr("WORD-V0.1.0/scan", b"x")
    return buffer.getvalue()


def with_damaged_inner(archive: bytes) -> bytes:
    outer = zipfile.ZipFile(io.BytesIO(archive))
    members = {name: outer.read(name) for name in outer.namelist()}
    return zipped({name: content[: len(content) // 2] for name, content in members.items()})


def lying_size(_: bytes) -> bytes:
    """A zip that says of 100 MB of zeros that they are 10 bytes."""
    honest = zipped({"zeros": bytes(10**8)}, zipfile.ZIP_DEFLATED)
    return honest.replace(struct.pack("<I", 10**8), struct.pack("<I", 10))


@pytest.mark.parametrize(
    ("source", "damage", "problem"),
    [
        *((source, lambda archive: archive[: len(archive) // 2], SHUT) for source in ARCHIVES),
        *((source, lambda _: b"", SHUT) for source in ARCHIVES),
        *((source, lambda _: b"<html>Not found</html>" * 100, SHUT) for source in ARCHIVES),
        ("ircadb", with_damaged_inner, r"3Dircadb1\.zip, in it PATIENT_DICOM\.zip: is truncated"),
        ("word", lambda _: under_another_password(), "does not open under the catalogue's password"),
        ("btcv", lambda _: under_another_password(), "is locked and the catalogue knows no password"),
        ("btcv", lambda _: zipped({"/escaped": b""}), NAMED),
        ("btcv", lambda _: zipped({"../escaped": b""}), NAMED),
        ("btcv", lambda _: zipped({"a": b"", "a/b": b""}), "could not be unpacked"),
        ("btcv", lying_size, SHUT),
        ("btcv", lambda _: zipped({"a.zip": zipped({"zeros": bytes(10**8)}, 8)}, 8), "would expand"),
        ("msd09", lambda _: tarred("../escaped"), NAMED),
        ("msd09", lambda _: tarred("escaped", "/etc"), NAMED),
        ("msd09", lambda _: tarred("escaped", "/etc/passwd", tarfile.LNKTYPE), NAMED),
        ("msd09", lambda _: tarred("escaped", "absent", tarfile.LNKTYPE), NAMED),
        ("msd09", lambda _: huge_member(), "would expand to more than 400 times its size"),
    ],
)
def test_archives(written, tmp_path, refusal, source, damage, problem):
    archives = shutil.copytree(written / source, tmp_path / "archives" / source)
    path = archives / ARCHIVES[source]
    path.write_bytes(damage(path.read_bytes()))
    line = refusal(
        "preparation.unpack", "--source", source, "--archives", archives, "--output", tmp_path / "n" / source
    )
    assert_says(line, path, problem)
    assert not list((tmp_path / "n").iterdir())
    assert not list(tmp_path.rglob("escaped*"))


def assert_says(line: str, where: object, problem: str) -> None:
    """The line names the file, the problem, and after a semicolon a remedy."""
    assert str(where) in line
    assert re.search(problem, line)
    assert line.rpartition("; ")[2]


@pytest.mark.parametrize(
    ("source", "path", "problem"),
    [
        ("btcv", "RawData.zip", r"has md5 \w+, the catalogue expects e8e3"),
        ("msd09", "Task09_Spleen.tar", r"has sha256 \w+, the catalogue expects dfeb"),
        ("btcv", "nowhere", "is no file and no folder with files"),
        ("btcv", "gone", "is a link to a file that is gone"),
    ],
)
def test_local_archives(tmp_path, refusal, source, path, problem):
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone/RawData.zip").symlink_to("/nowhere")
    for name in ARCHIVES.values():
        (tmp_path / name).write_bytes(b"another edition")
    settings = json.dumps({"origin": "local", "role": "train", "path": path})
    flags = ("--source", source, "--data-root", tmp_path, "--output", tmp_path / "out/archives")
    assert_says(refusal("preparation.acquire", *flags, "--settings", settings), tmp_path / path, problem)
    assert not list(tmp_path.glob("out/*"))
    assert_says(refusal("preparation.acquire", *flags, "--settings", "{"), f"sources.{source}", "is no JSON")


def changed(change: Callable[[np.ndarray, np.ndarray], np.ndarray | nibabel.Nifti1Image]) -> Callable[[Path], None]:
    """Damage to a NIfTI file: other values, in which the affine may be changed in place."""

    def damage(path: Path) -> None:
        file = nibabel.load(path)
        affine = file.affine.copy()
        values = change(np.asanyarray(file.dataobj).copy(), affine)
        image = nibabel.Nifti1Image(values, None)
        image.set_sform(affine, 1)
        nibabel.save(image, path)

    return damage


def with_value(value: float) -> Callable[[Path], None]:
    def change(values: np.ndarray, _: np.ndarray) -> np.ndarray:
        values = values.astype(np.float64)
        values[3, 3, 3] = value
        return values

    return changed(change)


def moved(values: np.ndarray, affine: np.ndarray) -> np.ndarray:
    affine[0, 3] += 30
    return values


def flat(values: np.ndarray, affine: np.ndarray) -> np.ndarray:
    affine[:3, 0] = 0
    return values


def coloured(values: np.ndarray, _: np.ndarray) -> np.ndarray:
    return np.zeros(values.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])


def cut(kept: float) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])


WHOLE = "is no whole NIfTI file"
NIFTI = [
    ("image", cut(0.5), WHOLE),
    ("label", cut(0.5), WHOLE),
    ("label", lambda path: path.write_bytes(path.read_bytes()[:-3]), WHOLE),  # within gzip's checksum
    ("image", lambda path: path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:5000])), WHOLE),
    ("image", lambda path: path.write_text("a scan"), WHOLE),
    ("label", changed(lambda values, _: values[:-1]), r"has shape 47 x 48 x (\d+), its image 48 x 48 x \1;"),
    ("label", changed(moved), r"lies up to 30\.00 mm away from its image"),
    ("label", with_value(7), "holds label code 7; known codes are 0, 1"),
    ("label", with_value(0.5), "no whole numbers"),
    ("label", with_value(np.nan), "no whole numbers"),
    ("label", with_value(np.inf), "no whole numbers"),
    ("image", with_value(np.nan), "not finite"),
    ("image", changed(lambda values, _: values * 0 - 1000), "is -1000 everywhere"),
    ("image", changed(lambda values, _: np.stack([values] * 2, -1)), "4 dimensions instead of 3"),
    ("image", changed(coloured), "holds colours"),
    ("label", changed(coloured), "holds colours"),
    ("image", changed(flat), "spans no volume"),
]


@pytest.mark.parametrize(("part", "damage", "problem"), NIFTI)
def test_native_nifti(native, tmp_path, refusal, part, damage, problem):
    """The case before stays, the damaged one leaves nothing, other sources' volumes are not touched."""
    tree = shutil.copytree(native / "msd09", tmp_path / "msd 09")
    path = tree / "Task09_Spleen" / f"{part}sTr" / "spleen_6.nii.gz"
    damage(path)
    publish(tree)
    others = tmp_path / "volumes/btcv/1-of-1/img0001.h5"
    others.parent.mkdir(parents=True)
    others.write_bytes(b"made before")
    output = tmp_path / "volumes/msd09/1-of-1"
    assert_says(refusal("preparation.harmonise", *harmonise("msd09", tree, output)), path, problem)
    assert [path.name for path in output.iterdir()] == ["spleen_2.h5"]
    assert others.read_bytes() == b"made before"


def publish(tree: Path) -> None:
    """As if the files came out of their archive as they are now."""
    (tree / SUMS).unlink()
    write_tree_sums(tree, read_origin(tree))


def harmonise(source: str, tree: Path, output: Path) -> tuple:
    flags = ("--source", source, "--native", tree, "--output", output)
    return (*flags, "--settings", PREPARATION, "--shard", "1-of-1")


@pytest.mark.parametrize("source", ["msd09", "btcv", "kits23", "pancreas_ct", "word", "ircadb"])
def test_a_whole_archive_without_cases(written, tmp_path, refusal, source):
    shutil.copy(written / "msd09/origin.json", tmp_path)
    line = refusal("preparation.harmonise", *harmonise(source, tmp_path, tmp_path / "out"))
    assert_says(line, tmp_path, "holds no labelled CT of this dataset; expected")


def colour(slices: list[Path]) -> None:
    header = pydicom.dcmread(slices[3])
    header.SamplesPerPixel, header.PhotometricInterpretation, header.PlanarConfiguration = 3, "RGB", 0
    header.PixelData = header.PixelData * 3
    header.save_as(slices[3])


def second_series(slices: list[Path]) -> None:
    for path in slices[:3]:
        header = pydicom.dcmread(path)
        header.SeriesInstanceUID = "1.2.3"
        header.save_as(path.with_name(f"second_{path.name}"))


def misplaced(slices: list[Path]) -> None:
    header = pydicom.dcmread(slices[3])
    header.PixelSpacing = [0, 0]
    header.save_as(slices[3])


DICOM = [
    (lambda slices: slices[9].unlink(), "has a gap of"),
    (lambda slices: cut(0.7)(slices[3]), "cannot be decoded"),
    (lambda slices: shutil.copy(slices[3], slices[3].with_name("copy")), "two slices at the same place"),
    (second_series, "holds 2 (CT )?series"),
    (colour, "is no CT slice"),
    (misplaced, "has impossible PixelSpacing"),
    (lambda slices: [path.unlink() for path in slices], "holds no (DICOM file|CT:)"),
]


@pytest.mark.parametrize(("damage", "problem"), DICOM)
def test_native_dicom(native, tmp_path, refusal, damage, problem):
    tree = shutil.copytree(native / "ircadb", tmp_path / "ircadb")
    folder = next(tree.rglob("3Dircadb1.1/**/PATIENT_DICOM/image_1")).parent
    damage(sorted(folder.iterdir(), key=lambda path: int(path.name.split("_")[1])))
    publish(tree)
    line = refusal("preparation.harmonise", *harmonise("ircadb", tree, tmp_path / "out"))
    assert_says(line, folder, problem)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(("damage", "problem"), DICOM)
def test_dicom_given_to_the_command_line(native, model, tmp_path, refusal, damage, problem):
    source = next((native / "ircadb").rglob("3Dircadb1.1/**/PATIENT_DICOM/image_1")).parent
    folder = shutil.copytree(source, tmp_path / "a scan")
    damage(sorted(folder.iterdir(), key=lambda path: int(path.name.split("_")[1])))
    assert_says(refusal("cli", *segment(folder, model, tmp_path / "out")), folder, problem)
    assert not (tmp_path / "out").exists()


def segment(ct: Path, model: Path, output: Path, target: str = "liver") -> tuple:
    fast = ("--steps", 1, "--ensemble", 1, "--device", "cpu", "--threads", 1)
    return ("segment", "-i", ct, "-o", output, "--model", model, "--targets", target, *fast)


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """The directory of a whole, untrained variant for the liver."""
    folder = tmp_path_factory.mktemp("models") / "mask_clip"
    sizes = {"channels": [8, 8], "latent_channels": 2, "residual_blocks": 1}
    denoiser = {"channels": [8, 8], "residual_blocks": 1, "attention_scales": [1], "embedding": "learnt"}
    architecture = {
        "kind": "variant",
        "mask_autoencoder": {"kind": "mask_autoencoder", **sizes},
        "image_autoencoder": {"kind": "image_autoencoder", **sizes},
        "denoiser": {**denoiser, "embedding_channels": 8},
    }
    networks = Networks(
        build_autoencoder(architecture["mask_autoencoder"]),
        build_autoencoder(architecture["image_autoencoder"]),
        build_denoiser(architecture["denoiser"], 2, 2, None),
    )
    diffusion = asdict(Diffusion(timesteps=100, schedule="cosine", history=10, uniform_probability=0.1))
    card = {"architecture": architecture, "diffusion": diffusion, "prediction": "mask", "targets": ["liver"]}
    save_model(folder, networks, card | json.loads(PREPARATION) | {"study": "test", "cohort": "none"})
    return folder


@pytest.mark.parametrize(("damage", "problem"), [(d, p) for part, d, p in NIFTI if part == "image"])
def test_nifti_given_to_the_command_line(native, model, tmp_path, refusal, damage, problem):
    path = tmp_path / 'the "patient\'s" ct.nii.gz'
    shutil.copy(native / "msd09/Task09_Spleen/imagesTr/spleen_6.nii.gz", path)
    damage(path)
    assert_says(refusal("cli", *segment(path, model, tmp_path / "out")), path, problem)
    assert not (tmp_path / "out").exists()


def test_other_mistakes_at_the_command_line(model, tmp_path, refusal):
    absent, out = tmp_path / "ct.nii.gz", tmp_path / "out"
    assert_says(refusal("cli", *segment(absent, model, out)), absent, "does not exist")
    assert_says(refusal("cli", *segment(absent, model, out, "livr")), "'livr'", "none of the 29; nearest: liver")
    assert_says(refusal("cli", *segment(absent, model, out, "colon")), model, "was not annotated")
    assert_says(refusal("cli", *segment(absent, tmp_path, out)), tmp_path / "card.json", "is no model card")
    bomb = tmp_path / "scan.zip"
    bomb.write_bytes(zipped({"zeros": bytes(2 * 10**8)}, zipfile.ZIP_DEFLATED))
    assert_says(refusal("cli", *segment(bomb, model, out)), bomb, "would expand to")
    assert not out.exists()


@pytest.fixture(scope="session")
def volumes(native, tmp_path_factory) -> Path:
    """Harmonised spleens, their inventory and splits."""
    folder = tmp_path_factory.mktemp("results")
    run("preparation.harmonise", *harmonise("msd09", native / "msd09", folder / "volumes"))
    run("preparation.inventory", "--volumes", folder / "volumes", "--output-csv", folder / "inventory.csv")
    run("preparation.repeats", "--volumes", folder / "volumes", "--output", folder / "repeats.csv")
    run("preparation.split", *split(folder / "inventory.csv", folder / "repeats.csv", folder))
    return folder


def split(inventory: Path, repeats: Path, folder: Path) -> tuple:
    flags = ("--inventory", inventory, "--repeats", repeats, "--validation-fraction", 0.5, "--study-seed", 1)
    flags += ("--leakage", "drop")
    return (*flags, "--output-splits", folder / "splits.csv", "--output-leakage", folder / "leakage.csv")


def score(volumes: Path, splits: Path, predictions: Path, output: Path) -> tuple:
    flags = ("--volumes", volumes, "--splits", splits, "--predictions", predictions, "--results", volumes)
    others = [f"--output-{name}={output}-{name}" for name in ("reliability", "coverage", "inputs")]
    return (*flags, "--system", "prior_mask", "--processes", 1, "--output-scores", output, *others)


def test_predictions_missing_or_damaged(volumes, tmp_path, refusal):
    arguments = score(volumes / "volumes", volumes / "splits.csv", tmp_path, tmp_path / "scores.csv")
    assert_says(refusal("evaluation.scoring.score", *arguments), "msd09/spleen_", "hold no folder")
    for case in ("spleen_2", "spleen_6"):
        (tmp_path / "msd09" / case).mkdir(parents=True)
    again = "rule `predict_baseline` remakes it"
    assert_says(refusal("evaluation.scoring.score", *arguments), tmp_path / SUMS, f"cannot be read.*{again}")
    write_sums(tmp_path, {})
    line = refusal("evaluation.scoring.score", *arguments)
    assert_says(line, tmp_path / "msd09", r"spleen\.nii\.gz: is missing")
    for case in ("spleen_2", "spleen_6"):
        (tmp_path / "msd09" / case / "spleen.nii.gz").write_bytes(gzip.compress(b"x"))
    line = refusal("evaluation.scoring.score", *arguments)
    assert_says(line, tmp_path / "msd09", f"is not the file that its shard's {SUMS}.*{again}")
    write_sums(tmp_path, hashes(tmp_path, tmp_path.rglob("*.nii.gz")))
    assert_says(refusal("evaluation.scoring.score", *arguments), tmp_path / "msd09", f"{WHOLE}.*{again}")
    assert not (tmp_path / "scores.csv").exists()


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 3, len(content) // 3 + 3000):
        content[place] ^= 0x5A
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut(0), cut(0.5), cut(0.999), flipped])
def test_volumes(volumes, tmp_path, refusal, damage):
    folder = shutil.copytree(volumes / "volumes", tmp_path / "volumes")
    for path in folder.iterdir():
        damage(path)
    out = tmp_path / "out"
    steps = {
        "preparation.inventory": ("--volumes", folder, "--output-csv", out),
        "preparation.overlays": ("--volumes", folder, "--splits", volumes / "splits.csv", "--output", out),
        "evaluation.scoring.score": score(folder, volumes / "splits.csv", tmp_path, out),
        "baselines.prior_mask": ("--volumes", folder, "--splits", volumes / "splits.csv", "--output", out),
    }
    for step, arguments in steps.items():
        assert_says(refusal(step, *arguments), folder, r"\.h5: is (no whole volume|damaged)")
        assert not out.exists()


@pytest.mark.parametrize("content", [b"", b"x,y\n1,2\n", b"\xff\xfe\0\0", None])
def test_tables(volumes, tmp_path, refusal, content):
    table = tmp_path / "table.csv"
    if content is not None:
        table.write_bytes(content)
    inventory, repeats = volumes / "inventory.csv", volumes / "repeats.csv"
    assert_says(refusal("preparation.split", *split(table, repeats, tmp_path)), table, "is no table of cases")
    assert_says(refusal("preparation.split", *split(inventory, table, tmp_path)), table, "is no table of copies")
    line = refusal("evaluation.scoring.collect", "--parts", table, "--output", tmp_path / "cases.csv")
    assert_says(line, table, "is no table of scores|has columns")


def test_a_real_process_ends_in_status_2(tmp_path):
    command = [sys.executable, "-m", "universal_diffusion.preparation.unpack", "--source", "msd9", "--archives", "a"]
    ended = subprocess.run([*command, "--output", tmp_path / "b"], capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith(
        "error: source 'msd9': is not in the dataset catalogue; nearest: msd09, msd10, msd08; "
    )
    assert ended.stderr.count("\n") == 1
