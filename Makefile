# make study   the embedded study, into results/embedded
# make sample  the same workflow on the real CTs of ../shared/data, into results/sample
# make test    every test but the three opt-in proofs below
# make test-conda  the smallest study with --use-conda, from a channel on disk
# make test-faults  the smallest study killed, starved of disk and fed damaged files; writes the counts of docs/reliability.md
# make test-slurm  the smallest study on a SLURM of two nodes that is started for it, as root (packages: docs/slurm.md)
# make fuzz    files from strangers, changed for FUZZ_SECONDS of each kind; ends at the first fault (docs/security.md)
# make lint    formatting and lint of the library and the workflow
# make env     only the environment that the others build when it is missing or out of date

PYTHON ?= python3
BIN := .venv/bin

.PHONY: study sample test test-conda test-faults test-slurm fuzz lint env

study: env
	$(BIN)/snakemake --cores all

sample: env
	$(BIN)/snakemake --cores all --configfile config/sample.yaml

test: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder tests

test-conda: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m conda tests/conda

test-faults: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m faults tests/faults

test-slurm: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slurm tests/slurm

FUZZ_SECONDS ?= 60
fuzz: env
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --target .fuzz --no-deps --require-hashes -r tests/security/atheris.txt
	for kind in nifti nrrd metaimage dicom deflated enhanced ct_zip zip tar; do OMP_NUM_THREADS=1 PYTHONPATH=.fuzz:src $(BIN)/python tests/security/fuzz.py $$kind $(FUZZ_SECONDS) || exit 1; done

lint: env
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

env: .venv/installed

.venv/locked: requirements.lock
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("error: $(PYTHON) is Python " + sys.version.split()[0] + ", but 3.11 or newer is needed; run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)")'
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	touch $@

.venv/installed: .venv/locked pyproject.toml hatch_build.py $(wildcard src/universal_diffusion/viewer/npm/*)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
