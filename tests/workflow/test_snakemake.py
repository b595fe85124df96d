"""The workflow as a user runs it: what it makes and what it makes again.

That a killed extraction continues to the same store is tested in tests/benchmarks/test_reliability.py.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from mediafiles import Audio, Video, numbered, write
from paths import ROOT
from small_corpus import portrait, voice, write_clips

from deepfusion import FeatureStore
from deepfusion.config import FinetuneSettings
from deepfusion.evaluation.metrics import read_predictions
from deepfusion.fusion.model import load_model
from deepfusion.networks.audio_encoder import load_encoder, save_encoder

SNAKEMAKE = [str(Path(sys.executable).with_name("snakemake")), "--snakefile", str(ROOT / "Snakefile")]
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

pytestmark = pytest.mark.workflow

# Networks that train in a moment.
FUSION = {
    "epochs": 2,
    "reduced": 4,
    "k": 2,
    "o": 4,
    "learning_rates": [0.001],
    "axes": [4],
    "members": 1,
    "inner_folds": 2,
    "seeds": [0],
}
TARGETS = ("total", "extract_features", "train_fbp", "report", "fusion_study")


def configured(folder, **groups):
    config = {
        "corpus": {"name": "small", "source": "manifest", "path": "manifest.csv"},
        "networks": {"EF-A": {"network": "dlib-resnet29"}},
        "store": {"clips_per_shard": 6},
        "fusion": FUSION,
        "protocol": {"folds": "loso"},
        "engine": "eager",  # opens at once; tests/networks/test_engines.py compares it with the others
        **groups,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def start(folder, *arguments):
    command = [*SNAKEMAKE, "--directory", str(folder), "--cores", "2", *arguments]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def run(folder, *arguments, status=0):
    """Output of a run."""
    process = start(folder, *arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == status, output
    return output


def jobs(output):
    """Rule -> number of jobs, of a run or a dry run."""
    if "Job stats:" not in output:
        return {}
    lines = output.split("Job stats:")[1].split("\n\n")[0].splitlines()[3:]
    counts = {line.split()[0]: int(line.split()[1]) for line in lines}
    return {rule: n for rule, n in counts.items() if rule not in TARGETS}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A corpus whose extraction has run once."""
    folder = tmp_path_factory.mktemp("made")
    write_clips(folder)
    configured(folder)
    output = run(folder, "extract_features")
    return folder, output


@pytest.fixture
def project(made, tmp_path):
    """A copy of it, with times, so that a test may change it."""
    shutil.copytree(made[0], tmp_path / "project", symlinks=True)
    return tmp_path / "project"


def test_extraction_makes_the_store_and_tells_what_it_skipped(made):
    folder, output = made
    assert jobs(output) == {"faces": 2, "networks": 2, "spectrogram": 2, "audio_encoder": 2, "join": 1, "store": 1}
    with FeatureStore(folder / "results/small/features.h5") as store:
        assert len(store) == 9
    for line in (
        "9 clips, 3 speakers",
        "video failed: ",
        "video absent: ",
        "no face in any of 10 frames",
    ):
        assert line in output
    assert "broken" in (folder / "results/small/logs/faces/00001.log").read_text()


def test_preflight_says_what_it_will_take_and_makes_nothing(project):
    shutil.rmtree(project / "results")
    output = run(project, "preflight")
    assert "9 clips, 9 of them read" in output
    assert "expected on 2 otherwise idle cores: " in output
    assert "bottleneck: " in output
    assert sorted(path.name for path in (project / "results/small").iterdir()) == [
        "logs",
        "manifest.csv",
        "plan",
    ]


def test_settings_on_which_no_feature_depends_compute_nothing(project):
    configured(
        project,
        corpus={"name": "small", "source": "manifest", "path": "manifest.csv", "demo": {"takes": 9}},
        fusion={"lambda": 1.0},
        protocol={"folds": "kfold", "k": 4},
        engine="onnxruntime",
    )
    assert "Nothing to be done" in run(project, "extract_features")
    assert "k = 4 folds do not fit 3 speakers" in run(project, "train_fbp", status=1)


def test_touching_one_clip_recomputes_its_shard_alone(project):
    (project / "clips/other.mp4").touch()
    before = {path: path.read_bytes() for path in project.glob("results/small/shards/*/[0-9]*.h5")}
    # The jobs find that their keys still fit, and keep what is there.
    output = run(project, "extract_features")
    assert jobs(output).keys() >= {"faces", "spectrogram", "store"} and jobs(output)["faces"] == 1
    assert {path: path.read_bytes() for path in before} == before
    assert "Nothing to be done" in run(project, "extract_features")


def test_a_corrected_label_computes_no_feature(project):
    manifest = project / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("other,clips/other.mp4,happy", "other,clips/other.mp4,sad"))
    assert jobs(run(project, "--dry-run", "extract_features")) == {"join": 1, "store": 1}
    shutil.rmtree(project / ".snakemake")  # its records are not needed
    assert jobs(run(project, "extract_features")) == {"join": 1, "store": 1}
    with FeatureStore(project / "results/small/features.h5") as store:
        assert store.clips.loc["other", "label"] == "sad"


def test_another_network_computes_networks_alone(project):
    configured(project, networks={"EF-A": {"network": "dlib-resnet29"}, "EF-B": {"network": "sface"}})
    before = {path: path.read_bytes() for path in project.glob("results/small/shards/EF-A/[0-9]*.h5")}
    assert jobs(run(project, "extract_features")) == {"networks": 2, "join": 1, "store": 1}
    assert {path: path.read_bytes() for path in before} == before
    with FeatureStore(project / "results/small/features.h5") as store:
        assert list(store.networks) == ["EF-A", "EF-B"]


def other_encoder(project, bias=1.0):
    """Weights of another audio encoder, in the project."""
    encoder = load_encoder()
    with torch.no_grad():
        encoder.convolutions[-1].bias += bias
    save_encoder(encoder, project / "other.safetensors", {"name": "other", "licence": "MIT"})


def test_other_weights_of_the_audio_encoder_compute_its_positions_alone(project):
    other_encoder(project)
    configured(project, audio_encoder={"weights": "other.safetensors"})
    before = {path: path.read_bytes() for path in project.glob("results/small/shards/[EfFs]*/[0-9]*.h5")}
    assert len(before) == 6
    wanted = {"audio_encoder": 2, "join": 1, "store": 1}
    assert jobs(run(project, "extract_features")) == wanted
    assert {path: path.read_bytes() for path in before} == before
    with FeatureStore(project / "results/small/features.h5") as store:
        assert store.attributes("AF")["network"] == "other"
    assert "Nothing to be done" in run(project, "extract_features")
    other_encoder(project, bias=2.0)  # another file of the same name
    assert jobs(run(project, "--dry-run", "extract_features")) == wanted
    (project / "other.safetensors").unlink()
    output = run(project, "extract_features", status=1)
    assert "audio encoder: there is no file other.safetensors" in output


def test_a_lost_shard_of_positions_is_computed_without_the_media(project):
    for path in project.glob("results/small/shards/AF/*00001.h5"):
        path.unlink()
    (project / "results/small/shards/AF/.00001.h5").unlink(missing_ok=True)
    (project / "results/small/features.h5").unlink()
    (project / "results/small/shards/features.h5").unlink()
    (project / "clips/other.mp4").unlink()
    output = run(project, "extract_features")
    assert jobs(output) == {"audio_encoder": 1, "join": 1, "store": 1}


def test_a_spectrogram_that_the_audio_encoder_does_not_know_leaves_its_positions_out(project):
    configured(project, spectrogram={"shift_ms": 20})
    output = run(project, "extract_features")
    assert jobs(output) == {"spectrogram": 2, "join": 1, "store": 1}
    assert output.count("no audio/AF in the store: the audio encoder audio-encoder.safetensors was trained") >= 1
    assert "spectrogram.shift_ms 10, not 20" in (project / "results/small/logs/join.log").read_text()
    with FeatureStore(project / "results/small/features.h5") as store:
        assert "AF" not in store.keys
    assert "Nothing to be done" in run(project, "extract_features")


def ends(project):
    """Id -> presentation time of its last frame, as the store has it."""
    with FeatureStore(project / "results/small/features.h5") as store:
        return {clip.id: clip["time"][-1] for clip in store if len(clip["time"])}


def edit(project, old, new):
    manifest = project / "manifest.csv"
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new))


def test_changes_at_once_are_seen_with_and_without_snakemakes_records(project):
    edit(project, "part,clips/good.mp4,happy,anna,0.1,0.3", "part,clips/good.mp4,sad,anna,0.1,0.2")
    write(project / "clips/other.mp4", Video(portrait(7)), voice(pitch=300))
    configured(project, spectrogram={"floor_db": -60})
    wanted = {"faces": 2, "networks": 2, "spectrogram": 2, "audio_encoder": 2, "join": 1, "store": 1}
    assert jobs(run(project, "--dry-run", "extract_features")) == wanted
    shutil.rmtree(project / ".snakemake")
    assert jobs(run(project, "extract_features")) == wanted
    assert ends(project)["part"] < 0.2
    with FeatureStore(project / "results/small/features.h5") as store:
        assert store.clips.loc["part", "label"] == "sad" and store.clips.loc["other", "frames"] == 7
        assert store["other"]["spectrogram"].min() == -60


def test_a_damaged_shard_leaves_the_store_and_is_made_again(project):
    store = project / "results/small/features.h5"
    before, key = ends(project), FeatureStore(store).attrs["key"]
    edit(project, "other,clips/other.mp4,happy", "other,clips/other.mp4,sad")
    shard = project / "results/small/shards/EF-A/00001.h5"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 16
    with shard.open("r+b") as file:  # the same file under its second name, too
        file.write(data)
    os.utime(shard, ns=(shard.stat().st_atime_ns, store.stat().st_mtime_ns - 1))
    output = run(project, "extract_features", status=1)
    assert "shards/EF-A/00001.h5 is damaged" in output and "the next run makes it again" in output
    assert FeatureStore(store).attrs["key"] == key
    output = run(project, "extract_features")
    assert jobs(output) == {"networks": 1, "join": 1, "store": 1}, output
    assert ends(project) == before
    with FeatureStore(store) as again:
        assert again.clips.loc["other", "label"] == "sad"


def test_removed_and_new_clips_compute_their_shard_alone_even_if_named_like_patterns(project):
    edit(project, "broken,clips/broken.mp4,sad,cleo,,\n", "")  # those after it move up in their shard
    new = ["{1}.mp4", "{shard}.mp4", "it's $HOME.mp4"]
    for name in new:
        shutil.copy(project / "clips/other.mp4", project / "clips" / name)
        with (project / "manifest.csv").open("a") as file:
            file.write(f"{name},clips/{name},sad,bert,,\n")
    output = run(project, "extract_features")
    assert jobs(output) == {"faces": 1, "networks": 1, "spectrogram": 1, "audio_encoder": 1, "join": 1, "store": 1}
    with FeatureStore(project / "results/small/features.h5") as store:
        assert list(store.clips.index[-5:]) == ["cut", "other", *new] and "broken" not in store
        assert store.clips.loc["other", "frames"] == 12
        assert all(len(store[name]["EF-A"]) == 12 for name in new)
    assert "Nothing to be done" in run(project, "extract_features")
    write(project / "clips/{1}.mp4", Video(portrait(7)), voice(pitch=300))
    assert jobs(run(project, "--dry-run", "extract_features"))["faces"] == 1


def test_training_needs_no_media(project):
    (project / "clips/good.mp4").unlink()
    assert jobs(run(project, "--dry-run", "train_fbp")) == {"fbp": 1}
    shutil.rmtree(project / "clips")
    edit(project, "other,clips/other.mp4,happy", "other,clips/other.mp4,sad")
    assert jobs(run(project, "--dry-run", "train_fbp")) == {"join": 1, "store": 1, "fbp": 1}
    edit(project, "other,clips/other.mp4,sad", "other,clips/other.mp4,happy")
    for folder in ("shards", "plan"):
        shutil.rmtree(project / "results/small" / folder)
    shutil.rmtree(project / ".snakemake")
    output = run(project, "--dry-run", "train_fbp")
    assert jobs(output) == {"fbp": 1}
    assert "results/small/features.h5 is used as it is" in output


def test_missing_media_are_named_by_the_targets_that_read_them(project):
    with (project / "manifest.csv").open("a") as file:
        file.write("gone,clips/gone.mp4,sad,bert,,\n")
    output = run(project, "extract_features", status=1)
    assert "line 11: no file 'clips/gone.mp4'" in output
    assert "Traceback" not in output


def test_nothing_in_the_configuration_reaches_the_shell(project):
    values = [f"{setting}=cpu$(touch hacked)" for setting in ("device", "engine")]
    output = run(project, "extract_features", "--config", *values, status=1)
    assert "device: " in output and "engine: " in output
    assert not (project / "hacked").exists()


def test_every_value_in_a_shell_line_is_quoted():
    for file in [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]:
        for block in re.findall(r"\n    shell:\n((?:        .*\n)+)", file.read_text()):
            values = re.findall(r"(?<!{){([^{}]+)}(?!})", block)
            assert values and all(value.endswith(":q") for value in values), (file.name, values)


def test_a_second_run_at_once_is_refused_and_a_killed_one_says_what_to_do(project):
    shutil.rmtree(project / "results")
    configured(project, store={"clips_per_shard": 16})
    first = start(project, "extract_features")
    while not list((project / ".snakemake/locks").glob("*")):
        assert first.poll() is None
        time.sleep(0.05)
    edit(project, "other,clips/other.mp4,happy", "other,clips/other.mp4,sad")
    plan = (project / "results/small/manifest.csv").read_bytes()
    output = run(project, "extract_features", status=1)
    assert "another run works here, or one was killed" in output and "snakemake --unlock" in output
    assert "Traceback" not in output
    assert (project / "results/small/manifest.csv").read_bytes() == plan  # what the first one reads
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert "snakemake --unlock" in run(project, "extract_features", status=1)
    run(project, "--unlock")
    assert jobs(run(project, "--dry-run", "extract_features")).items() >= {"join": 1, "store": 1}.items()


@pytest.fixture(scope="module")
def finished(made, tmp_path_factory):
    """The corpus with a trained model and its report."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(made[0], folder, symlinks=True)
    assert jobs(run(folder, "train_fbp", "report")) == {"fbp": 1, "report_fbp": 1}
    return folder


@pytest.fixture
def trained(finished, tmp_path):
    """A copy of it."""
    shutil.copytree(finished, tmp_path / "trained", symlinks=True)
    return tmp_path / "trained"


def test_training_tests_every_clip_and_leaves_a_model(finished):
    fbp = finished / "results/small/fusion/fbp"
    manifest = pd.read_csv(finished / "manifest.csv")
    for _, rows in read_predictions(fbp / "predictions.csv").groupby("model"):
        assert sorted(rows["clip"]) == sorted(manifest["id"])
    metrics = json.loads((fbp / "metrics.json").read_text())
    assert metrics["models"].keys() == {"audio", "video", "concat", "fbp"}
    with FeatureStore(finished / "results/small/features.h5") as store:
        assert load_model(fbp / "model").predict(store["good"]).used == ("audio", "video")
    assert "fbp" in (finished / "results/small/report.html").read_text()
    assert "Nothing to be done" in run(finished, "train_fbp", "report")


def test_the_page_is_in_the_report_of_snakemake(finished):
    run(finished, "report", "--report", "workflow.zip")
    with zipfile.ZipFile(finished / "workflow.zip") as archive:
        pages = [name for name in archive.namelist() if name.endswith("report.html") and "/data/" in name]
        assert [archive.read(name) for name in pages] == [(finished / "results/small/report.html").read_bytes()]


def test_a_changed_fusion_setting_trains_again_and_computes_no_feature(trained):
    configured(trained, fusion=FUSION | {"epochs": 3})
    assert jobs(run(trained, "--dry-run", "train_fbp")) == {"fbp": 1}


def test_a_failed_training_does_not_make_an_old_result_look_current(trained):
    results = trained / "results/small"
    configured(trained, fusion=FUSION | {"audio": ["speech", "AF"]})
    output = run(trained, "report", status=1)
    assert "fusion.audio: speech and AF have different times" in output
    assert "Traceback" not in output
    assert not list((results / "fusion/fbp").rglob("*.json"))
    wanted = {"fbp": 1, "report_fbp": 1}
    assert jobs(run(trained, "--dry-run", "report")) == wanted
    configured(trained)  # as it was when the page was written, which is still there
    assert (results / "report.html").exists()
    assert jobs(run(trained, "--dry-run", "report")) == wanted


def test_a_killed_training_goes_on_by_the_same_command(trained):
    fbp, log = trained / "results/small/fusion/fbp", trained / "results/small/logs/fbp.log"
    whole = (fbp / "predictions.csv").read_bytes()
    log.unlink()
    configured(trained, fusion=FUSION | {"epochs": 20_000})
    process = start(trained, "train_fbp")
    while not log.exists() or "9 clips, 3 folds" not in log.read_text():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (fbp / "metrics.json").exists()
    configured(trained)
    run(trained, "--unlock")
    assert jobs(run(trained, "train_fbp")) == {"fbp": 1}
    assert (fbp / "predictions.csv").read_bytes() == whole
    assert (fbp / "model/model.safetensors").exists()


def test_the_study_is_planned_with_a_table_per_normalisation(trained):
    configured(trained, study={"normalisation": ["training", "speaker"], "sweeps": {"k": [1, 5]}})
    output = run(trained, *SHOWN, "fusion_study")
    assert jobs(output) == {"study": 2, "report_study": 1}
    assert "fusion-study --store results/small/features.h5 --folds" in output
    assert "--out results/small/fusion/study/training" in output
    assert "report results/small/fusion/study/training results/small/fusion/study/speaker --store" in output
    assert "--out results/small/study.html" in output


def test_a_corpus_without_labels_gives_features_and_no_training(project):
    manifest = pd.read_csv(project / "manifest.csv", dtype=str).drop(columns="label")
    manifest.to_csv(project / "manifest.csv", index=False)
    assert jobs(run(project, "extract_features")) == {"join": 1, "store": 1}
    output = run(project, "train_fbp", status=1)
    assert "training (train_fbp, fusion_study) needs a class for every clip: " in output
    assert "Traceback (most recent call last)" not in output


def test_usage_errors_end_before_anything_runs(made, tmp_path):
    configured(tmp_path, faces={"upsampel": 1})
    shutil.copy(made[0] / "manifest.csv", tmp_path)
    (tmp_path / "clips").symlink_to(made[0] / "clips")
    output = run(tmp_path, "extract_features", status=1)
    assert "config.yaml:7: faces.upsampel: unknown key; did you mean 'upsample'?" in output
    assert "Traceback" not in output
    assert not (tmp_path / "results").exists()


SHOWN = ["--quiet", "host", "--dry-run", "--printshellcmds"]


@pytest.fixture
def demo(tmp_path):
    """A folder whose configuration has the defaults."""
    (tmp_path / "config.yaml").write_text("device: cpu\n")
    return tmp_path


def test_finetuning_asks_for_fer2013(demo):
    output = run(demo, "--dry-run", "finetune", status=1)
    assert "finetune.data is null: give fer2013.csv, icml_face_data.csv or a folder of classes" in output


def test_finetuning_prepares_once_and_trains_every_recipe(demo):
    for name in ("fer2013.csv", "my votes.csv"):
        (demo / name).touch()
    config = ["--config", 'finetune={"data": "fer2013.csv", "votes": "my votes.csv"}']
    output = run(demo, *SHOWN, "finetune", *config)
    assert jobs(output) == {"prepare_fer2013": 1, "finetune_network": 4, "finetune": 1}
    assert (
        "prepare-fer2013 --data fer2013.csv --votes 'my votes.csv' --threads 2 --out results/finetune/fer2013.npz"
        in output
    )
    for name in FinetuneSettings().recipes:
        assert f"finetune --data results/finetune/fer2013.npz --network {name} --settings" in output
        assert f"--out results/finetune/{name}" in output
    alone = run(demo, *SHOWN, "results/finetune/sface-fer2013/model.json", *config)
    assert jobs(alone) == {"prepare_fer2013": 1, "finetune_network": 1}


def test_pretraining_the_audio_encoder_asks_for_a_manifest_and_prepares_once(demo):
    output = run(demo, "--dry-run", "pretrain_audio", status=1)
    assert "pretrain_audio.manifest is null: give a csv with path, corpus, speaker" in output
    (demo / "my speech.csv").write_text("path,corpus,speaker,label,language,licence\n")
    output = run(demo, *SHOWN, "pretrain_audio", "--config", 'pretrain_audio={"manifest": "my speech.csv"}')
    assert jobs(output) == {"prepare_speech": 1, "pretrain_audio": 1}
    assert "prepare-speech --manifest 'my speech.csv' --settings" in output
    assert "--threads 2 --out results/pretrain_audio/speech.h5" in output
    assert "pretrain-audio --data results/pretrain_audio/speech.h5 --settings" in output
    assert "--threads 1 --out results/pretrain_audio" in output


def test_a_recipe_of_ones_own_trains_alone(demo):
    (demo / "fer2013.csv").touch()
    recipe = {"vgg-face-fer2013": {"epochs": 1, "learning_rate": 1e-4, "weights": "my vgg.pth"}}
    configured = {"finetune": {"data": "fer2013.csv", "recipes": recipe}}
    (demo / "config.yaml").write_text(yaml.safe_dump(configured))
    output = run(demo, *SHOWN, "finetune")
    assert jobs(output) == {"prepare_fer2013": 1, "finetune_network": 1, "finetune": 1}
    assert "--votes" not in output and "my vgg.pth" in output


def test_weights_to_fetch_are_those_of_the_preset(demo):
    output = run(demo, *SHOWN, "fetch_weights", "--config", "preset=paper")
    assert jobs(output) == {"fetch_weights": 1}
    assert "fetch-weights facenet-vggface2 vgg-face vggface2-resnet50 --out results/weights" in output
    assert "no network of the configuration needs a download" in run(demo, "fetch_weights", status=1)


def afew(folder, split, emotion, numbers):
    """Clips of AFEW's tree, each with a voice of its own."""
    (folder / split / emotion).mkdir(parents=True)
    for number in numbers:
        sound = Audio(voice(pitch=100 + 10 * number).pieces, rate=16000)
        write(folder / split / emotion / f"{number:09d}.avi", Video(portrait(3), codec="mpeg4"), sound)


def test_afew_is_studied_and_its_labelled_test_clips_are_tested(tmp_path):
    configured(
        tmp_path,
        corpus={"name": "afew", "source": "afew", "path": "AFEW"},
        store={"clips_per_shard": 8},  # those of train and val; the test clips come after them
        protocol={"folds": "split"},
        study={"sweeps": {}, "end_to_end": {"epochs": 1, "frames": 32}},
    )
    for i, emotion in enumerate(("Happy", "Sad")):
        afew(tmp_path / "AFEW", "Train_AFEW", emotion, range(3 * i, 3 * i + 3))
        afew(tmp_path / "AFEW", "Val_AFEW", emotion, [6 + i])
    (tmp_path / "AFEW/test_AFEW").mkdir()
    write(tmp_path / "AFEW/test_AFEW/000000010.avi", Video(numbered(3), codec="mpeg4"))
    output = run(tmp_path, "fusion_study")
    assert jobs(output).items() >= {"faces": 1, "study": 1, "report_study": 1}.items()
    assert "1 clip left out, EmotiW keeps its label" in output
    predictions = read_predictions(tmp_path / "results/afew/fusion/study/training/predictions.csv")
    assert set(predictions["speaker"]) == {"afew_val"}
    assert {"fbp", "concat_mlp", "late_learned", "svm_concat"} <= set(predictions["model"])
    page = (tmp_path / "results/afew/study.html").read_text()
    assert "inner folds over clips" in page and "SVMs: " not in page  # no validation split chooses
    for emotion in ("Happy", "Sad"):
        afew(tmp_path / "AFEW", "test_AFEW", emotion, [8 + (emotion == "Sad")])
    output = run(tmp_path, *SHOWN, "train_fbp")
    stages = {"faces": 1, "networks": 1, "spectrogram": 1, "audio_encoder": 1, "join": 1, "store": 1}
    assert jobs(output) == stages | {"fbp": 1}
    assert '"name": "fold01", "test": ["test"], "choose": ["val"], "by": "split"' in output
    assert '"name": "everyone", "test": [], "choose": ["val"], "by": "split"' in output
