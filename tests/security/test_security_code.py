"""Nothing that is read is run: no pickle, no eval, no YAML tags, no TorchScript of unknown hash."""

import ast
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from snakemake.common.configfile import load_configfile

from universal_diffusion.datasets.own.description import parse
from universal_diffusion.errors import InputError
from universal_diffusion.method import pretrained
from universal_diffusion.method.weights import load_tensors
from universal_diffusion.segmentation.sampling.kept import read_kept

ROOT = Path(__file__).parents[2]
PYTHON = [
    ROOT / "hatch_build.py",
    *(path for path in (ROOT / "src").rglob("*.py")),
    ROOT / "Snakefile",
    *(ROOT / "workflow").rglob("*.smk"),
]
UNPICKLERS = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "dbm", "jsonpickle"}
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load"),
    *("yaml.load_all", "pd.read_pickle", "pandas.read_pickle", "torch.hub.load", "runpy.run_path", "runpy.run_module"),
}
WORDS = ("eval(", "exec(", "pickle", "os.system", "yaml.load(", "torch.load", "shell=True")
LOADERS = {"yaml.SafeLoader", "yaml.CSafeLoader", "_UniqueKeys"}


def dotted(node: ast.AST) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def faults(tree: ast.AST) -> Iterator[str]:
    """What a source file does that could run what it reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and dotted(node).split(".")[0] in UNPICKLERS:
            if dotted(node) not in ("pickle", "pickle.UnpicklingError"):
                yield f"line {node.lineno}: {dotted(node)}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNPICKLERS:
            yield f"line {node.lineno}: from {node.module}"
        elif isinstance(node, ast.Import):
            yield from (f"line {node.lineno}: {a.name}" for a in node.names if a.name in UNPICKLERS - {"pickle"})
        elif isinstance(node, ast.Call):
            yield from (f"line {node.lineno}: {fault}" for fault in of_call(node))


def of_call(node: ast.Call) -> Iterator[str]:
    name, given = dotted(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
    if name in FORBIDDEN:
        yield name
    if name == "torch.load" and given.get("weights_only") != "True":
        yield "torch.load without weights_only=True"
    if name.endswith(("np.load", "numpy.load")) and given.get("allow_pickle", "False") != "False":
        yield "np.load with allow_pickle"
    if name == "yaml.load" and ast.unparse(node.args[1] if len(node.args) > 1 else ast.Constant(0)) not in LOADERS:
        yield "yaml.load without a safe loader"
    if "shell" in given and name.split(".")[0] in ("subprocess", "Popen", "run") and given["shell"] != "False":
        yield f"{name} with a shell"
    if name == "torch.jit.load":
        yield "torch.jit.load"


def test_no_source_unpickles_evaluates_or_calls_a_shell():
    """Of the rules' files, which are Python and more, only words are looked for."""
    for path in PYTHON:
        text = path.read_text(encoding="utf-8")
        found = list(faults(ast.parse(text))) if path.suffix == ".py" else [word for word in WORDS if word in text]
        if path.name == "pretrained.py":  # behind a hash: see below
            found = [one for one in found if "torch.jit.load" not in one]
        assert not found, (path, found)


@pytest.mark.parametrize(
    "code",
    [
        *("import marshal", "from pickle import load", "pickle.loads(x)", "import pickle as p; pickle.load(f)"),
        *("torch.load(p)", "torch.load(p, weights_only=False)", "np.load(p, allow_pickle=True)", "yaml.load(t)"),
        *("yaml.load(t, yaml.Loader)", "eval(t)", "subprocess.run(c, shell=True)", "os.system(c)", "torch.jit.load(p)"),
    ],
)
def test_the_scan_sees_what_it_looks_for(code):
    assert list(faults(ast.parse(code)))


class Trap:
    """What would make a file on being unpickled."""

    def __init__(self, made: Path):
        self.made = made

    def __reduce__(self):
        return os.mkdir, (str(self.made),)


@pytest.mark.parametrize("as_zip", [False, True])
def test_a_pickle_in_place_of_weights_is_refused_and_not_run(tmp_path, as_zip):
    path, made = tmp_path / "weights.safetensors", tmp_path / "made"
    path.write_bytes(pickle.dumps(Trap(made)))
    if as_zip:
        torch.save({"a": Trap(made)}, path)
    with pytest.raises(InputError, match=r"weights\.safetensors"):
        load_tensors(path)
    assert not made.exists()


@pytest.mark.parametrize("named", [False, True])
def test_a_pickle_in_place_of_a_cached_array_is_refused_and_not_run(tmp_path, named):
    made, path = tmp_path / "made", tmp_path / "gate.npz"
    if named:
        np.savez(path, targets=np.array([Trap(made)], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(Trap(made)))
    with pytest.raises(InputError, match="is no whole record of the gate"):
        read_kept(path)
    assert not made.exists()


def torchscript(path: Path, made: Path) -> None:
    """An archive that writes a file when it is loaded: TorchScript can."""

    class Writes(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))
            self.place: str = str(made)

        @torch.jit.export
        def __getstate__(self):
            return (self.weight, self.place, self.training)

        @torch.jit.export
        def __setstate__(self, state: tuple[torch.Tensor, str, bool]):
            self.weight, self.place, self.training = state[0], state[1], state[2]
            torch.save(state[0], state[1])

        def forward(self, x):
            return x

    torch.jit.script(Writes()).save(path)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_torchscript_archive_that_no_hash_vouches_for_is_not_loaded(tmp_path):
    path, made = tmp_path / "ViT-B-32.pt", tmp_path / "made"
    torchscript(path, made)
    made.unlink(missing_ok=True)
    with pytest.raises(InputError, match="TorchScript archive, which can run code when it is loaded, and not OpenAI's"):
        pretrained._clip_state(path, None)
    assert not made.exists()
    torch.jit.load(path)
    assert made.exists()  # so it would have


TAG = "!!python/object/apply:os.mkdir ['{made}']"


def test_yaml_makes_no_objects_of_python(tmp_path):
    """Neither the description of a dataset nor a configuration, which Snakemake reads before this project does."""
    made = tmp_path / "made"
    (tmp_path / "dataset.yaml").write_text(f"title: {TAG.format(made=made)}\n")
    assert "is no readable YAML" in str(parse(tmp_path)[1][0])
    (tmp_path / "config.yaml").write_text(f"study: {TAG.format(made=made)}\n")
    with pytest.raises(Exception, match=r"not valid JSON or YAML|could not determine a constructor"):
        load_configfile(tmp_path / "config.yaml")
    assert not made.exists()


def test_a_configuration_is_a_program_only_if_it_says_so(tmp_path):
    """Snakemake evaluates Python in one that holds `__use_yte__: true`: docs/security.md says to look for that line."""
    made = tmp_path / "made"
    expression = f"study: ?__import__('os').mkdir({str(made)!r})\n"
    (tmp_path / "config.yaml").write_text(expression)
    load_configfile(tmp_path / "config.yaml")
    assert not made.exists()
    (tmp_path / "config.yaml").write_text("__use_yte__: true\n" + expression)
    load_configfile(tmp_path / "config.yaml")
    assert made.exists()
    for path in [*(ROOT / "config").glob("*.yaml"), *(ROOT / "workflow/profiles").rglob("*.yaml")]:
        assert "__use_yte__" not in path.read_text(encoding="utf-8")


def test_aliases_upon_aliases_stop_a_description_in_one_short_line(tmp_path):
    """A thousand million laughs."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (tmp_path / "dataset.yaml").write_text("\n".join([*lines, "labels: *a8", "title: *a8"]))
    problems = parse(tmp_path)[1]
    assert problems
    assert all(len(str(one)) < 600 for one in problems)
    assert yaml.safe_load("\n".join(lines))
