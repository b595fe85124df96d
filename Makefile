# make demo: set up; extract, train and report on the generated demo corpus; two predictions. make study: its fusion study.
# make test: set up, then all tests.
# make docs: the documentation site, docs/_build/html. make coverage: all tests with line coverage.
# make wheel: build the wheel, then install and use it in an empty environment outside this folder.
# make bench: the performance benchmarks and their tables.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo study test wheel docs coverage bench lint install clean

demo: install
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake extract_features train_fbp report
	$(BIN)/deepfusion demo --speaker s11 --settings '{"speakers": 11}' --out results/demo/new
	$(BIN)/deepfusion predict results/demo/new/clips/s11-f0-v1-t0.mp4 results/demo/new/clips/s11-f2-v3-t0.mp4 \
	  --model results/demo/fusion/fbp --out results/demo/predict --csv --html
	@echo
	@echo "store: results/demo/features.h5"
	@echo "model: results/demo/fusion/fbp/model"
	@echo "report: results/demo/report.html"
	@echo "predictions for an unseen speaker: results/demo/predict/predict.html"

# All fusion models on the demo corpus: results/demo/study.html.
study: install
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake fusion_study

# Three workers keep two cores busy while some tests wait; one thread each. The tests of a file share what its fixtures
# extract.
test: install
	OMP_NUM_THREADS=1 PATH="$(CURDIR)/$(BIN):$$PATH" pytest -n 3 --dist loadfile --no-loadscope-reorder
	$(MAKE) wheel

# Test the wheel in an empty environment outside this folder: first the store's reader with numpy, h5py and pandas alone,
# then the whole package by predicting a generated clip.
wheel: install
	rm -rf build dist # build/ would add modules that no longer exist
	$(BIN)/python -m build --quiet --wheel --outdir dist
	outside=$$(mktemp -d) && trap 'rm -rf "$$outside"' EXIT && \
	pip="$$outside/bin/pip install --quiet --no-compile --constraint constraints.txt" && wheel=$$(echo dist/*.whl) && \
	$(PYTHON) -m venv "$$outside" && $$pip "$$wheel" && \
	$(BIN)/python tests/wheel/write_store.py "$$outside/store.h5" && \
	(cd "$$outside" && bin/python $(CURDIR)/tests/wheel/read_store.py store.h5) && \
	$$pip "$$wheel[pipeline]" && \
	cd "$$outside" && bin/python $(CURDIR)/tests/wheel/predict_clip.py

docs: $(VENV)/docs
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 sphinx-build -W --keep-going --quiet -j 2 docs docs/_build/html

$(VENV)/docs: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[pipeline,dev,docs]'
	touch $@

coverage: install
	OMP_NUM_THREADS=1 PATH="$(CURDIR)/$(BIN):$$PATH" pytest -n 3 --dist loadfile --no-loadscope-reorder --cov --cov-report=term --cov-report=html:results/coverage

# Performance benchmarks, one after another; the machine should be otherwise idle. Then the tables.
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
	$(BIN)/mypy

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[pipeline,dev]'
	$(BIN)/python -c 'import librosa; librosa.feature.mfcc' # numba compiles it once, in half a minute
	touch $@

clean:
	rm -rf $(VENV) .snakemake dist docs/_build docs/generated
