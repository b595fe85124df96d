#!/usr/bin/env bash
# Snakemake runs this once in the environment that it made of deepfusion.yaml, from the project's folder.
set -euo pipefail
pip install --no-deps --editable .
