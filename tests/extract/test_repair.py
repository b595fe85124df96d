"""What is damaged or missing is computed again, and nothing else."""

import contextlib
import shutil

import pytest
from small_corpus import CPU, write_clips

from deepfusion import FeatureStore
from deepfusion.config import check
from deepfusion.errors import MachineError, UserError
from deepfusion.extract.repair import repair
from deepfusion.extract.store import publish
from deepfusion.plan import Plan
from deepfusion.store import check_whole


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of results, as the workflow makes it, in the folder of its clips."""
    folder = tmp_path_factory.mktemp("made")
    with contextlib.chdir(folder):
        write_clips(folder)
        values = {
            "corpus": {"name": "small", "source": "manifest", "path": "manifest.csv"},
            "networks": {"EF-A": {"network": "dlib-resnet29"}},
            "store": {"clips_per_shard": 5},
        }
        plan = Plan(check(values))
        plan.write()
        found = repair(plan.folder, device=CPU)
        assert len(found) == 2 * 4 + 1  # two shards of each stage, and the store
    return folder / plan.folder


@pytest.fixture
def results(made, tmp_path, monkeypatch):
    """A copy of it, the clips in the working directory."""
    project = made.parents[1]
    shutil.copytree(project, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return made.relative_to(project)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


def key(results):
    with FeatureStore(results / "features.h5") as store:
        return store.attrs["key"]


def test_nothing_is_computed_where_all_is_well(results):
    assert repair(results, device=CPU) == []


def test_a_damaged_shard_and_a_missing_one(results):
    before = key(results)
    damaged, missing = results / "shards/EF-A/00000.h5", results / "shards/spectrogram/00001.h5"
    flip(damaged)
    flip(damaged.with_name(".00000.h5"))
    missing.unlink()
    others = {
        path: path.stat().st_mtime_ns for path in results.glob("shards/*/0*.h5") if path not in (damaged, missing)
    }
    assert repair(results, device=CPU) == [damaged, missing, results / "features.h5"]
    assert key(results) == before
    assert {path: path.stat().st_mtime_ns for path in others} == others
    check_whole(damaged)


def test_a_damaged_store_is_joined_again_from_its_shards(results):
    before = key(results)
    flip(results / "features.h5")
    assert repair(results, device=CPU) == [results / "features.h5"]
    assert key(results) == before


def test_without_the_media_nothing_is_replaced(results):
    (results / "shards/faces/00000.h5").unlink()
    (results / "shards/faces/.00000.h5").unlink()
    shutil.rmtree("clips")
    with pytest.raises(UserError, match=r"faces/00000\.h5 cannot be recomputed: .*good\.mp4"):
        repair(results, device=CPU)
    assert (results / "shards/EF-A/00000.h5").exists()


def test_the_audio_encoder_needs_no_media(results):
    before = key(results)
    damaged, missing = results / "shards/AF/00000.h5", results / "shards/AF/00001.h5"
    flip(damaged)
    flip(damaged.with_name(".00000.h5"))
    missing.unlink()
    missing.with_name(".00001.h5").unlink()
    shutil.rmtree("clips")
    assert repair(results, device=CPU) == [damaged, missing, results / "features.h5"]
    assert key(results) == before
    check_whole(damaged)


def test_another_folder(tmp_path):
    with pytest.raises(UserError, match="holds no results of an extraction"):
        repair(tmp_path, device=CPU)


def test_publishing_replaces_at_once_and_takes_no_space(results):
    joined = results / "shards/features.h5"
    publish(joined, results / "features.h5")
    assert (results / "features.h5").stat().st_ino == joined.stat().st_ino


def test_a_shard_of_another_segment_is_refused_and_the_store_stays(results):
    from deepfusion.config import Extraction, from_json
    from deepfusion.extract.store import join

    before, manifest = key(results), results / "manifest.csv"
    text = manifest.read_text()
    assert "0.3" in text
    manifest.write_text(text.replace("0.3", "0.2"))
    config = from_json(Extraction, (results / "plan/store.json").read_text())
    with pytest.raises(MachineError, match="made from other clips, segments"):
        join(manifest, results / "shards", results / "features.h5", config=config)
    assert key(results) == before


def test_order_shard_size_and_workers_change_no_byte(results, tmp_path):
    """Each clip's rows are the same in another order, in shards of another size, by another number of processes."""
    with FeatureStore(results / "features.h5") as store:
        expected = {clip.id: dict(clip) for clip in store}
    lines = (tmp_path / "manifest.csv").read_text().splitlines()
    (tmp_path / "other.csv").write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    values = {
        "corpus": {"name": "other", "source": "manifest", "path": "other.csv"},
        "networks": {"EF-A": {"network": "dlib-resnet29"}},
        "store": {"clips_per_shard": 4},
    }
    plan = Plan(check(values))
    plan.write()
    repair(plan.folder, device=CPU, workers=2)
    with FeatureStore(plan.folder / "features.h5") as store:
        assert store.clips.index.tolist() == list(expected)[::-1]
        for clip in store:
            for name, values in dict(clip).items():
                if name == "EF-A":  # the rest of a batch moves the last bits
                    assert values.shape == expected[clip.id][name].shape
                    assert abs(values - expected[clip.id][name])[clip["valid"]].max(initial=0) < 1e-4
                else:
                    assert values.tobytes() == expected[clip.id][name].tobytes(), (clip.id, name)
