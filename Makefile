# make demo: set up, then the main job on the generated demo corpus, and two predictions. make study: the fusion study on it.
# make test: set up, then all tests.
# make bench: all benchmarks and the tables made of them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo study test reader bench lint install clean

demo: install
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake extract_features train_fbp report
	$(BIN)/deepfusion demo --speaker s11 --settings '{"speakers": 11}' --out results/demo/new
	$(BIN)/deepfusion predict results/demo/new/clips/s11-f0-v1-t0.mp4 results/demo/new/clips/s11-f2-v3-t0.mp4 \
	  --model results/demo/fusion/fbp --out results/demo/predict --csv --html
	@echo
	@echo "store: results/demo/features.h5"
	@echo "model: results/demo/fusion/fbp/model"
	@echo "report: results/demo/report.html"
	@echo "predictions for a speaker that it has not seen: results/demo/predict/predict.html"

# Every other way of fusion on the demo corpus: results/demo/study.html.
study: install
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake fusion_study

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
BENCHMARKS := front_end face_parts networks end_to_end fusion_scale dag store

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
