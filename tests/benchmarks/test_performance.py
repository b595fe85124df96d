"""The ratios of all benchmarks in one file: what is there is taken, what is missing is one line."""

import json
import subprocess
import sys

import performance
import tables

MACHINE = {"cores": 2, "processor": "X"}


def publish(folder, name, ratios, **more):
    provenance = {"commands": ["python x.py"], "commit": "0" * 40, "date": "2026-11-24", "machine": MACHINE}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"provenance": provenance, "ratios": ratios, **more}))


def test_what_is_missing_is_one_line_each_and_the_rest_is_written(tmp_path, pytestconfig):
    ratios = {"train_fbp_10000_clips_gb": 3.0, "train_fbp_10000_against_1000_clips": 9.0, "another": 1.5}
    publish(tmp_path / "docs/results", "fusion_scale", ratios)
    command = [sys.executable, pytestconfig.rootpath / "benchmarks/performance.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == len(performance.WANTED)  # the others' files, and one ratio of this
    assert "docs/results/dag.json is missing: python benchmarks/dag.py makes it" in done.stderr
    assert "fusion_scale.json has no ratio 'networks_together_50'" in done.stderr
    made = json.loads((tmp_path / "docs/performance.json").read_text())
    assert made["ratios"] == ratios
    assert made["provenance"]["fusion_scale.json"]["machine"] == MACHINE


def test_all_ratios_are_in_the_table_with_their_goals(tmp_path):
    for name, wanted in performance.WANTED.items():
        publish(tmp_path, name, dict.fromkeys(wanted, 0.123))
    publish(tmp_path, "networks", {"networks_compact": 1.0, "vgg16_fc6": 1.7}, goals={"vgg16_fc6": 1.6})
    made, missing = performance.gathered(tmp_path)
    assert not missing
    lines = tables.performance(made).splitlines()
    assert "| `vgg16_fc6` | 1.7 | at least 1.6 | [networks.json](/docs/results/networks.json) |" in lines
    assert "| `snakemake_share_10000` | 0.123 | at most 0.01 | [dag.json](/docs/results/dag.json) |" in lines
    assert "| `store_10000_against_100_clips` | 0.123 |  | [store.json](/docs/results/store.json) |" in lines
    assert lines[-1].startswith("Machine: 2 cores of X. ")
