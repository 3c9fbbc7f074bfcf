"""What the chapters share: the validated study, its paths and settings, and the library modules behind each step."""

import ast
import json
import os
import re
import shutil
import sys
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import yaml

LIBRARY = Path("src")
PACKAGE = "universal_diffusion"

sys.path.insert(0, str(Path(workflow.basedir, LIBRARY)))
from universal_diffusion import consistency, one_run, settings, systems
from universal_diffusion.errors import InputError, of_the_disk

VARIANTS = tuple(system.key for system in systems.VARIANTS)
BASELINES = tuple(system.key for system in systems.BASELINES)
MASK_AUTOENCODERS = ("mask_autoencoder", "coarser_mask_autoencoder")
AUTOENCODERS = (*MASK_AUTOENCODERS, "image_autoencoder")
MODELS = (*AUTOENCODERS, *VARIANTS, *BASELINES)

# Large tensors come and go in every step of a training: kept by the allocator instead of returned to the kernel each
# time, they cost half as much (a decoded batch took 0.20 s of CPU time instead of 0.44 s).
os.environ.update(MALLOC_MMAP_THRESHOLD_=str(2**30), MALLOC_TRIM_THRESHOLD_=str(2**32))

# Without --use-conda the `python` of a step is the one that runs Snakemake; a conda environment puts its own before it.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]))


def chosen_build(configuration):
    """Which PyTorch `--use-conda` takes, say by `--config pytorch=cuda`: no part of the study, which it leaves as it is."""
    build = configuration.pop("pytorch", "any")
    if build not in ("any", "cuda"):
        sys.exit(f"error: configuration.pytorch: is {build!r}; give any or cuda (docs/conda.md)")
    return build


def take_build(rules):
    """Let the rules of envs/train.yaml run in its CUDA variant, where that was chosen."""
    for each in rules:
        if PYTORCH == "cuda" and each.conda_env == "../../envs/train.yaml":
            each.conda_env = "../../envs/train.cuda.yaml"


def validated(configuration):
    """The configuration as a `settings.Study`; the first thing wrong in it stops the workflow with one line."""
    try:
        study = settings.read(settings.Study, configuration)
        consistency.check(study)
        for name, source in study.sources.items():
            check_source(name, source, study)
    except InputError as error:
        sys.exit(f"error: {error}")
    if study.leakage == "keep":  # every caption says so
        configuration["cohort"] += "; copies of test patients' scans were trained on"
        study = replace(study, cohort=configuration["cohort"])
    return study


def check_source(name, source, study):
    """Raises InputError for a source that says too little of its origin."""
    where = f"configuration.sources.{name}"
    if source.origin == "local" and source.path is None:
        raise InputError(f"{where}.path", "is missing", "give the archive's file or folder, relative to data_root")
    if name not in catalogued():
        check_own_source(where, name, source, Path(study.data_root, source.path or ""))
    if source.origin == "phantom" and (study.phantom is None or study.phantom.cases.get(name, 0) < 1):
        raise InputError(where, "has no number of cases for the phantom to write", f"give phantom.cases.{name}")


def check_own_source(where, name, source, folder):
    """Raises InputError for a source outside the catalogue, unless it is a local folder that describes itself."""
    from universal_diffusion.datasets.own import cases, source as own

    if source.origin != "local" or not (folder / "dataset.yaml").is_file():
        lacking = f", and {folder} holds no dataset.yaml" if source.origin == "local" else ""
        remedy = f"take one of {', '.join(catalogued())}, or bring your own dataset (docs/own-dataset.md)"
        raise InputError(where, f"is not in the dataset catalogue{lacking}", remedy)
    own.check_name(name, where)
    cases.files(folder)


@cache
def catalogued():
    """The sources that the library knows, by name."""
    catalogue = LIBRARY / PACKAGE / "datasets" / "catalogue.yaml"
    return yaml.safe_load(catalogue.read_text(encoding="utf-8"))["sources"]


PYTORCH = chosen_build(config)
study = validated(config)
RUN = Path(".snakemake", f"{study.study}.run")


def find_run():
    """Clear away what would hinder the run that follows a killed one or a wrong clock; say so where another is alive."""
    os.environ[one_run.MARK] = str(RUN.resolve())
    try:
        one_run.forget_dead_run(RUN, Path(".snakemake", "locks"), f"results/{study.study}")
    except InputError as busy:
        print(f"note: {busy}", file=sys.stderr)
        return
    except OSError as error:
        sys.exit(f"error: {of_the_disk(error) or error}")
    mend_dates()


def mend_dates():
    """Date what came from the future, of the study and what it is made from, as of now."""
    try:
        own = one_run.tree(Path(f"results/{study.study}"), LIBRARY, Path("config"))
        mended = one_run.mend_future([*own, *local_inputs()])
    except (InputError, OSError) as error:
        sys.exit(f"error: {error}")
    if mended:
        print(f"{len(mended)} files came from the future, {mended[0]} first; dated as of now", file=sys.stderr)


def begin_run():
    """Keep the study to this run until its process ends, and stop what a killed one left at work."""
    global running
    try:
        running = one_run.begin(RUN)
    except (InputError, OSError) as error:
        sys.exit(f"error: {error}")
    if stopped := one_run.stop_orphans(RUN):
        print(f"stopped {stopped} processes that a killed run had left at work", file=sys.stderr)


def local_inputs():
    """What the study reads that is not its own: local archives and weights."""
    archives = [Path(study.data_root, source.path) for source in study.sources.values() if source.path]
    return [*archives, *map(Path, local_weights())]


TRAININGS = {
    **dict.fromkeys(MASK_AUTOENCODERS, study.mask_autoencoder.training),
    "image_autoencoder": study.image_autoencoder.training,
    **dict.fromkeys(VARIANTS, study.denoiser.training),
    "segresnet": study.baseline.training,
}


def section(name):
    """One section of the configuration as the JSON text that a step reads, so that a changed key reruns its users only."""
    return json.dumps(asdict(study)[name], sort_keys=True)


def whole_study():
    """The whole configuration, as JSON."""
    return json.dumps(asdict(study), sort_keys=True)


def source_settings(wildcards):
    """The configuration of one source, as JSON."""
    return json.dumps(asdict(study.sources[wildcards.source]), sort_keys=True)


def local_archive(wildcards):
    """The archive of a local source, where there is one; the step says what is wrong where there is none."""
    source = study.sources[wildcards.source]
    path = Path(study.data_root, source.path or "")
    if wildcards.source in own_sources():
        from universal_diffusion.datasets.own import cases

        return [path / name for name in cases.files(path)]
    return [path] if source.origin == "local" and path.exists() else []


def local_weights():
    """The local files of pretrained weights, where they are used and there."""
    return [path for path in (study.weights.vgg16, study.weights.clip) if path and Path(path).exists()]


def sources(role=None, origin=None):
    """Names of the study's sources, in the order of the configuration."""
    return [
        name
        for name, source in study.sources.items()
        if role in (None, source.role) and origin in (None, source.origin)
    ]


def own_sources():
    """Names of the sources that describe themselves, outside the catalogue."""
    return [name for name in study.sources if name not in catalogued()]


def datasets():
    """Rows of Table 1 that the sources belong to; one outside the catalogue is a row by itself."""
    return list(dict.fromkeys(catalogued().get(name, {}).get("dataset", name) for name in study.sources))


def one_of(names):
    """A wildcard constraint that allows these names, and nothing when there are none."""
    return "|".join(names) or "(?!)"


def shards(count):
    """Names of the jobs that share a step: 1-of-3, 2-of-3, 3-of-3."""
    return [f"{number}-of-{count}" for number in range(1, count + 1)]


def escalating(amount):
    """A resource that grows with each attempt: a job that was ended for its memory or its time gets more of it."""

    def asked(wildcards, attempt):
        return attempt * amount

    return asked


def volumes(role=None):
    """Folders of harmonised volumes, of the sources with that role or of all."""
    return collect(
        "<results>/volumes/{source}/{shard}",
        source=sources(role),
        shard=shards(study.shards),
    )


def predictions(wildcards):
    """Folders of one system's predictions."""
    return collect(
        "<results>/predictions/{system}/{shard}",
        system=wildcards.system,
        shard=shards(study.shards),
    )


def training_log(wildcards):
    """The log of a model's training, where it has one."""
    (model,) = wildcards
    return collect("<results>/models/{model}/log.csv", model={model} & set(TRAININGS))


def training_settings(wildcards):
    """The flag that tells a card's step how the model was trained, where it was."""
    (model,) = wildcards
    return [f"--training={json.dumps(asdict(TRAININGS[model]), sort_keys=True)}"] if model in TRAININGS else []


def own_ceiling(wildcards):
    """The rows of a mask auto-encoder's ceiling."""
    (model,) = wildcards
    return collect("<results>/models/{model}/ceiling.csv", model={model} & set(MASK_AUTOENCODERS))


def origins(wildcards, input):
    """What each archive says of its origin."""
    return [f"{archive}/origin.json" for archive in input.archives]


def modules(step):
    """Files of the library that `python -m universal_diffusion.<step>` depends on.

    These are the step itself, every module of the package that it imports, directly or not, and the data files that
    one of them names in a string. Listed as an input, they rerun exactly the steps that an edited file can change.
    """
    found, waiting = set(), [f"{PACKAGE}.{step}"]
    while waiting:
        name = waiting.pop()
        path = module_file(name)
        if path and path not in found:
            imported, data = references(path)
            found |= {path, *data}
            waiting += [*imported, *parents(name)]
    return sorted(map(str, found))


@cache
def module_file(name):
    """The source of a module, or None for a name that is not one (say, a function of a module)."""
    path = LIBRARY.joinpath(*name.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.exists()), None)


def parents(name):
    """The packages that importing a module runs: a.b.c runs a and a.b."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


@cache
def references(path):
    """What a source file imports from the package, and the package's data files that its strings name."""
    imported, data = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            data |= data_files().get(Path(node.value).name, set())
    return {name for name in imported if name.split(".")[0] == PACKAGE}, data


@cache
def data_files():
    """The package's files that are not modules, by name."""
    files = {}
    for path in LIBRARY.joinpath(PACKAGE).rglob("*.*"):
        if path.suffix not in (".py", ".pyc"):
            files.setdefault(path.name, set()).add(path)
    return files


def tell_failures(snakemake_logs):
    """End a failed run with what each failed step said last; the file that holds all it said stands below it."""
    told = "".join(Path(path).read_text(encoding="utf-8") for path in snakemake_logs)
    for path in sorted(set(re.findall(r"^ +log: (.+) \(check log file", told, re.MULTILINE))):
        lines = Path(path).read_text(encoding="utf-8", errors="replace").split("\n") if Path(path).exists() else []
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        print(
            f"{killed(path, told, last) or last or silence(Path(path).parent)}\n  (all of it: {path})", file=sys.stderr
        )


def killed(path, told, last):
    """What to say of the step with that log if it was killed, as it can't say itself; nothing if it was not."""
    cause = rf"(?:exit status 137|<Signals\.SIGKILL: 9>)\.\n(?:.*\n){{,20}}? +log: {re.escape(path)}"
    if not re.search(cause, told):
        return ""
    return f"error: the step was killed (SIGKILL), as is done where memory runs out; last it said: {last or 'nothing'}"


def silence(folder):
    """Why a failed step has written nothing into its log."""
    full = folder.exists() and shutil.disk_usage(folder).free < 2**16
    return "error: the step wrote nothing" + (": No space left on device; make room, and run again" if full else "")
