# make demo: set up, then the main job on the generated demo corpus. make test: set up, then all tests.
# make bench: all benchmarks and the tables made of them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench lint install clean

demo: install
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake extract_features train_fbp compare report
	@echo
	@$(BIN)/deepfusion info results/demo/features.h5
	@echo
	@$(BIN)/deepfusion table results/demo/fusion/results.json
	@echo
	@echo "fusion study: results/demo/report.html"
	@echo "store: results/demo/features.h5"
	@echo "model: results/demo/fusion/fbp/seed0/everyone/model.safetensors"

# One thread for each of the two workers: threads that wait for taken cores are slower than none.
test: install
	OMP_NUM_THREADS=1 PATH="$(CURDIR)/$(BIN):$$PATH" pytest -n 2
	$(MAKE) reader

# The store's reader in an environment that has numpy, h5py and pandas alone.
reader: install
	$(PYTHON) -m venv .venv-reader
	.venv-reader/bin/pip install --quiet --constraint constraints.txt .
	$(BIN)/python tests/reader/write_store.py results/reader.h5
	.venv-reader/bin/python tests/reader/read_store.py results/reader.h5

# What everything costs, each benchmark after the other on a machine that should do nothing else; then the tables.
BENCHMARKS := front_end face_parts networks end_to_end dag store

bench: install
	for name in $(BENCHMARKS); do \
	  OMP_NUM_THREADS=1 PATH="$(CURDIR)/$(BIN):$$PATH" python benchmarks/$$name.py || exit 1; \
	done
	$(BIN)/python benchmarks/performance.py
	$(BIN)/python benchmarks/tables.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --lint
	$(BIN)/codespell

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[pipeline,dev]'
	$(BIN)/python -c 'import librosa; librosa.feature.mfcc' # numba compiles it once, for half a minute
	touch $@

clean:
	rm -rf $(VENV) .venv-reader .snakemake
