"""The workflow without running it: three configurations, lint and format, messages, and what a step depends on."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

ROOT = Path(__file__).parents[1]
RULES = sorted((ROOT / "workflow/rules").glob("*.smk"))
CONFIGURATIONS = ("config", "sample", "paper", "embedded256")
DISTRIBUTIONS = {
    "Cryptodome": "pycryptodomex",
    "PIL": "pillow",
    "SimpleITK": "simpleitk",
    "lightning_fabric": "pytorch-lightning",
    "matplotlib": "matplotlib-base",
    "open_clip": "open-clip-torch",
    "torch": "pytorch",
    "yaml": "pyyaml",
}


@pytest.fixture(scope="module")
def project(project_copy):
    return project_copy()


@pytest.fixture
def common(monkeypatch) -> SimpleNamespace:
    """The functions of common.smk, which is plain Python, as Snakemake would see them for the embedded study."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", list(sys.path))
    configuration = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    names = {"workflow": SimpleNamespace(basedir=str(ROOT)), "config": configuration}
    exec(compile((ROOT / "workflow/rules/common.smk").read_text(), "common.smk", "exec"), names)
    return SimpleNamespace(**names)


def rules() -> dict[str, str]:
    """The text of every rule by its name."""
    found = {}
    for path in RULES:
        for text in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            found[text.split(":")[0]] = text
    return found


def inherited() -> dict[str, str]:
    """Rules that are another one with other files, and that other one."""
    found = (re.findall(r"^use rule (\w+) as (\w+) with", path.read_text(), re.MULTILINE) for path in RULES)
    return {name: base for pairs in found for base, name in pairs}


@pytest.mark.parametrize("name", sorted(inherited()))
def test_inherited_rule_depends_on_the_step_it_runs(name):
    text = next(path.read_text() for path in RULES if f" as {name} with:" in path.read_text())
    own = text.split(f" as {name} with:")[1].split("\nuse rule ")[0].split("\nrule ")[0]
    step = step_of(rules()[inherited()[name]])
    assert "input:" not in own or f'code=modules("{step}")' in own
    for directive in ("output:", "log:", "benchmark:"):
        assert directive in own


def step_of(rule: str) -> str:
    """The library's module that a rule runs."""
    return re.search(r"-m universal_diffusion\.([\w.]+)", rule)[1]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_configuration_plans_the_whole_study(project, name):
    run = project.snakemake("-n", "--configfile", f"config/{name}.yaml")
    assert run.returncode == 0, run.stdout + run.stderr
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", run.stdout + run.stderr, re.MULTILINE))
    configuration = yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())
    phantoms = sum(source["origin"] == "phantom" for source in configuration["sources"].values())
    assert int(jobs.get("phantom_archive", 0)) == phantoms
    assert int(jobs.get("acquire", 0)) == len(configuration["sources"]) - phantoms
    assert int(jobs["segment"]) == 4 * configuration["shards"]
    assert int(jobs["gate"]) == 2 * configuration["shards"]
    assert [jobs[job] for job in ("sampling_sweep", "latent_cost", "ceilings", "distributions", "worst")] == [*"11111"]
    assert int(jobs["harmonise"]) == len(configuration["sources"]) * configuration["shards"]
    assert [jobs[job] for job in ("denoiser", "table1", "table2", "table3", "figure2", "claims")] == ["4", *"11111"]
    assert ("phantom_montage" in jobs) == (phantoms > 0)


def test_bare_command_runs_the_embedded_study(project):
    run = project.snakemake("-n")
    assert run.returncode == 0
    assert "results/embedded/tables/table3.csv" in run.stdout + run.stderr


def test_named_configuration_is_not_merged_into_the_default_one(project):
    run = project.snakemake("-n", "--configfile", "config/sample.yaml")
    assert not re.search(r"embedded|msd03", run.stdout + run.stderr)
    part = {key: value for key, value in _configuration().items() if key != "sources"}
    (project.folder / "part.yaml").write_text(yaml.safe_dump(part))
    run = project.snakemake("-n", "--configfile", "part.yaml")
    assert run.returncode != 0
    assert "error: configuration.sources: is missing" in run.stderr


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("colour", 3, r"configuration\.colour: is not a known key; .*allowed here: study, cohort"),
        (
            "patches",
            {"per_cases": 2},
            r"\.patches\.per_cases: is not a known key; did you mean per_case\?",
        ),
        ("threads", "two", r"configuration\.threads: is 'two'; expected a whole number"),
        ("sources", {"btcv": {"origin": "web", "role": "train"}}, r"sources\.btcv\.origin: .*phantom, local, download"),
        ("sources", {"lits": {"origin": "phantom", "role": "train"}}, r"sources\.lits: is not in the .*one of msd03, "),
        (
            "sources",
            {"chaos": {"origin": "phantom", "role": "train"}},
            r"give phantom\.cases\.chaos",
        ),
        ("sources", {"chaos": {"origin": "local", "role": "train"}}, r"sources\.chaos\.path: is missing"),
    ],
)
def test_wrong_configuration_stops_with_one_line(project, key, value, told):
    (project.folder / "wrong.yaml").write_text(yaml.safe_dump(_configuration() | {key: value}))
    run = project.snakemake("-n", "--configfile", "wrong.yaml")
    assert run.returncode != 0
    assert re.fullmatch(rf"Using workflow specific profile .*\nerror: .*{told}.*\n", run.stderr), run.stderr


def test_kept_leakage_is_told_in_every_caption_and_can_be_compared(project):
    (project.folder / "keep.yaml").write_text(yaml.safe_dump(_configuration() | {"leakage": "keep"}))
    run = project.snakemake("-n", "-p", "--configfile", "keep.yaml", "--", "leakage_effect")
    assert run.returncode == 0, run.stderr
    steps = re.findall(r"python -m universal_diffusion\.(\S+) (.*)", run.stdout + run.stderr)
    splits = [flags for step, flags in steps if step == "preparation.split"]
    assert sorted(re.search(r"--leakage (\w+)", flags)[1] for flags in splits) == ["drop", "keep"]
    (effect,) = [flags for step, flags in steps if step == "evaluation.beyond.leakage_effect"]
    assert "--kept results/embedded/scores/parts/mask_clip.csv" in effect
    assert "--dropped results/embedded/counterpart/scores/parts/mask_clip.csv" in effect
    assert "copies of test patients" in effect


def test_failed_run_ends_with_what_the_step_said(project):
    configuration = yaml.safe_load((ROOT / "config/sample.yaml").read_text()) | {"data_root": "nowhere"}
    (project.folder / "nowhere.yaml").write_text(yaml.safe_dump(configuration))
    run = project.snakemake("--cores", "1", "--configfile", "nowhere.yaml", "--", "results/sample/archives/chaos")
    assert run.returncode != 0
    ending = run.stderr.split("Exiting because a job execution failed")[1]
    assert re.search(
        r"^error: .*nowhere.*\n +\(all of it: results/sample/logs/acquire/chaos.log\)", ending, re.MULTILINE
    )


def test_lint_and_format_are_clean(project):
    run = project.snakemake("--lint")
    assert run.returncode == 0, run.stdout + run.stderr
    run = subprocess.run([sys.executable, "-m", "snakefmt", "--check", "Snakefile", "workflow"], cwd=ROOT)
    assert run.returncode == 0


@pytest.mark.parametrize("name", sorted(rules()))
def test_rule_lists_the_modules_of_the_step_it_runs(common, name):
    rule = rules()[name]
    step = step_of(rule)
    assert common.module_file(f"universal_diffusion.{step}"), f"{step} is no module"
    assert f'code=modules("{step}")' in rule
    for directive in ("log:", "benchmark:", "conda:", "mem_mb=", "runtime="):
        assert directive in rule


@pytest.mark.parametrize(
    "step", ["evaluation.scoring.collect", "phantom.write", "preparation.split", "preparation.acquire"]
)
def test_modules_hold_everything_that_the_step_imports(common, step):
    script = (
        f"import sys, universal_diffusion.{step}\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'universal_diffusion'))"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = {str(Path(file).relative_to(ROOT)) for file in run.stdout.split()}
    assert imported <= set(common.modules(step))


def test_modules_hold_the_data_that_they_name(common):
    assert "src/universal_diffusion/targets.csv" in common.modules("preparation.split")
    assert "src/universal_diffusion/datasets/catalogue.yaml" in common.modules("preparation.acquire")
    assert "src/universal_diffusion/datasets/catalogue.yaml" not in common.modules("evaluation.scoring.collect")


@pytest.mark.parametrize("name", sorted(rules()))
def test_environment_of_a_rule_holds_what_its_step_imports(common, name):
    rule = rules()[name]
    environment = yaml.safe_load((ROOT / "envs" / re.search(r"envs/(\w+\.yaml)", rule)[1]).read_text())
    listed = {dependency.split("=")[0] for dependency in environment["dependencies"]}
    steps = re.findall(r'modules\("([\w.]+)"\)', rule)
    needed = {package for step in steps for file in common.modules(step) for package in _imported(file)}
    needed |= {"einops"} if "monai" in needed else set()
    assert needed <= listed, f"{name} lacks {needed - listed}"


def test_trainings_stand_in_for_their_shell():
    """A signal must reach a training, which saves its state, and Snakemake wait for it; a shell would end at once."""
    trainings = {
        name: rule for name, rule in rules().items() if re.search(r"training\.\w+ |baselines.segresnet ", rule)
    }
    trained = {name for name, rule in trainings.items() if "log.csv" in rule and "--study-seed" in rule}
    assert trained == {"mask_autoencoder", "image_autoencoder", "denoiser", "segresnet"}
    assert all('"PYTHONPATH=src exec {resources.launcher} python -m ' in trainings[name] for name in trained)


def test_profile_speaks_of_rules_that_exist():
    profile = yaml.safe_load((ROOT / "workflow/profiles/slurm/profile.yaml").read_text())
    known = rules() | {name: rules()[base] for name, base in inherited().items()}
    assert set(profile["set-resources"]) <= set(known)
    asks_for_gpu = {name for name, rule in known.items() if re.search(r"\bgpu=", rule)}
    assert asks_for_gpu == {name for name, value in profile["set-resources"].items() if "slurm_partition" in value}
    assert set(profile["groups"]) <= set(known)


def test_workstation_gives_every_gpu_job_gpus_of_its_own():
    """But benchmarks, which ask for so many cores that each runs alone."""
    profile = yaml.safe_load((ROOT / "workflow/profiles/workstation/profile.yaml").read_text())
    known = rules() | {name: rules()[base] for name, base in inherited().items()}
    shared = {name for name, rule in known.items() if re.search(r"\bgpu=", rule) and "threads: 64" not in rule}
    assert shared == {name for name, value in profile["set-resources"].items() if "gpus 1" in value["launcher"]}
    assert all("exec {resources.launcher} python" in known[name] for name in shared)


def _configuration() -> dict:
    return yaml.safe_load((ROOT / "config/config.yaml").read_text())


def _imported(file: str) -> set[str]:
    """Distributions (conda-forge's names) that a source file imports anywhere."""
    if not file.endswith(".py"):
        return set()
    packages = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            packages.add(node.module.split(".")[0])
    packages -= {"universal_diffusion", *sys.stdlib_module_names}
    return {DISTRIBUTIONS.get(package, package) for package in packages}
