"""What the workflow has to fetch and to make for a configuration."""

import os
import shutil

import h5py
import pytest
from small_store import make_clips, write_store

from deepfusion.config import check
from deepfusion.corpora import Fold
from deepfusion.errors import UserError
from deepfusion.networks.encoder_file import SHIPPED_ENCODER
from deepfusion.plan import Plan, stage_names
from deepfusion.sharding import blocks


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({}, set()),
        ({"preset": "paper"}, {"vgg-face", "vggface2-resnet50", "facenet-vggface2"}),
        ({"networks": {"EF-A": {"network": "vgg-face"}, "EF-B": {"network": "sface"}}}, {"vgg-face"}),
        ({"networks": {"EF-A": {"network": "vgg-face", "weights": "mine.pth"}}}, set()),
        ({"networks": {"EF-A": {"network": "vgg-face"}, "EF-B": {"network": "vgg-face"}}}, {"vgg-face"}),
        ({"networks": {"EF-A": {"network": "vgg-face-fer2013"}}}, set()),
    ],
)
def test_what_is_fetched(values, names):
    assert Plan(check(values)).fetched == names


@pytest.mark.parametrize("size", [1, 3, 16])
def test_a_block_never_changes_when_clips_are_added(size):
    whole = blocks(40_000, size)
    assert whole[0] == slice(0, size)
    assert [part.start for part in whole[1:]] == [part.stop for part in whole[:-1]]
    for clips in (1, size, 100 * size + 1, 39_999):
        *full, last = blocks(clips, size)
        assert full == whole[: len(full)]
        assert last.start == whole[len(full)].start
        assert last.stop == clips
    assert len(blocks(100_000, 16)) < 1000


def test_small_corpora_have_shards_of_one_size():
    assert {part.stop - part.start for part in blocks(500, 16)} == {16, 4}


def test_a_shard_depends_on_its_own_clips_and_on_nothing_else_of_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    for i in range(40):
        (tmp_path / f"{i}.mp4").touch()

    def plan(label="calm", end=""):
        rows = [f"{i}.mp4,{label},s{i},{end if i == 20 else ''}" for i in range(40)]
        (tmp_path / "m.csv").write_text("\n".join(["path,label,speaker,end", *rows]) + "\n")
        corpus = {"name": "m", "source": "manifest", "path": "m.csv"}
        return Plan(check({"corpus": corpus, "store": {"clips_per_shard": 16}}))

    def parts(plan):
        plan.write()
        return [plan.rows(shard).read_text() for shard in plan.shards]

    one = plan()
    assert one.media("faces", "00002") == []  # the plan has their stamps
    before, files = parts(one), [one.rows(shard) for shard in one.shards]
    assert [text.count("\n") for text in before] == [17, 17, 9]
    times = [file.stat().st_mtime_ns for file in files]
    assert parts(plan(label="sad")) == before
    assert "sad" in one.manifest.read_text()
    assert [file.stat().st_mtime_ns for file in files] == times  # what is the same is not touched
    changed = parts(plan(end="2"))
    assert [a == b for a, b in zip(changed, before, strict=True)] == [True, False, True]
    (tmp_path / "33.mp4").write_text("another file")
    replaced = parts(plan())
    assert [a == b for a, b in zip(replaced, before, strict=True)] == [True, True, False]
    (tmp_path / "2.mp4").unlink()  # what is gone, and was seen before, makes nothing stale
    assert parts(plan()) == replaced
    assert plan(label="sad").digest != plan().digest


@pytest.fixture
def without_media(tmp_path, monkeypatch):
    """A function that edits the manifest and plans, in a folder with a store and its shards, without the media."""
    monkeypatch.chdir(tmp_path)
    clips = make_clips(speakers=2, clips=2)
    rows = "".join(f"{clip.id},{clip.id}.mp4,{clip.label},{clip.speaker},,0.{i}\n" for i, clip in enumerate(clips, 1))
    text = f"id,path,label,speaker,split,end\n{rows}"

    def plan(old="", new="", **groups):
        assert old in text
        (tmp_path / "m.csv").write_text(text.replace(old, new, 1))
        return Plan(check({"corpus": {"name": "m", "source": "manifest", "path": "m.csv"}, **groups}))

    media = [tmp_path / f"{clip.id}.mp4" for clip in clips]
    for file in media:
        file.touch()
    first = plan()
    first.write()
    write_store(first.folder, clips, attrs={"config": first.extraction_json})
    with h5py.File(first.store, "r+") as file:
        file["clips/end"][:] = first.corpus.clips["end"]
    for stage in ("faces", *first.config.networks, "spectrogram"):
        (first.folder / "shards" / stage).mkdir(parents=True)
        (first.folder / "shards" / stage / "00000.h5").touch()
    for file in media:
        file.unlink()
    return plan


def test_without_media_the_store_is_used_as_it_is(without_media):
    plan = without_media()
    assert plan.is_frozen and plan.as_it_is == "no media file is there: results/m/features.h5 is used as it is"
    plan = without_media(faces={"rate": 5}, store={"clips_per_shard": 9})
    assert plan.is_frozen and plan.as_it_is.endswith(
        "; WARNING: it was made with other settings, and a change has no effect: faces.rate (None)"
    )


def test_a_corrected_label_joins_the_shards_of_lost_media_again(without_media):
    even = without_media("mp4,even", "mp4,odd")
    assert not even.is_frozen
    even.write()  # as a run does before its jobs ask again
    assert not without_media("mp4,even", "mp4,odd").is_frozen
    assert without_media().is_frozen
    (even.folder / "shards/EF-A/00000.h5").unlink()
    assert without_media("mp4,even", "mp4,odd").is_frozen


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "0.1",
            "0.2",
            r"m\.csv as it is now: its end of clip 's0-0' is 0\.1, not 0\.2; .*: restore the media, or undo",
        ),
        ("s0-0,s0-0.mp4,even,s0,,0.1\n", "", "its clip 's0-0' is not in the manifest"),
        ("s0-0,", "new,", r"it has no clip 'new' \(and 1 more differences\)"),
    ],
)
def test_a_change_that_needs_lost_media_is_refused(without_media, old, new, said):
    plan = without_media(old, new)
    assert plan.is_frozen
    with pytest.raises(UserError, match=said) as error:
        _ = plan.as_it_is
    assert "\n" not in str(error.value)


def test_clips_that_vanish_from_a_folder_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / f"clips/{name}.mp4").touch()

    def plan():
        return Plan(check({"corpus": {"name": "f", "source": "folder", "path": "clips"}}))

    assert plan().vanished == ""
    plan().write()
    assert plan().vanished == ""
    (tmp_path / "clips/b.mp4").unlink()
    assert "the media of 1 clips of the last run are gone from clips, first 'b'" in plan().vanished


def test_media_that_never_were_there_are_named_with_their_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").touch()
    (tmp_path / "m.csv").write_text("path\na.mp4\nb.mp4\n")
    plan = Plan(check({"corpus": {"name": "m", "source": "manifest", "path": "m.csv"}}))
    with pytest.raises(UserError, match=r"line 3: no file 'b\.mp4'"):
        plan.write()
    assert not plan.folder.exists()


@pytest.mark.parametrize("fault", ["file", "folder"])
def test_media_that_cannot_be_read_are_named_with_their_lines(tmp_path, monkeypatch, fault):
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "m.csv").write_text("path\na.mp4\nb.mp4\n")
    plan = Plan(check({"corpus": {"name": "m", "source": "manifest", "path": "m.csv"}}))
    plan.write()  # though it was seen before
    before = plan.rows("00000").read_text()
    access, stat = os.access, os.stat

    def forbidden(path, *args, **kwargs):
        if str(path).endswith("b.mp4"):
            raise PermissionError(13, "Permission denied")
        return stat(path, *args, **kwargs)

    if fault == "file":  # patched, because nothing is forbidden to root
        monkeypatch.setattr(os, "access", lambda path, mode: not path.endswith("b.mp4") and access(path, mode))
    else:
        monkeypatch.setattr(os, "stat", forbidden)
    again = Plan(plan.config)
    with pytest.raises(UserError, match=r"line 3: '.*b\.mp4' cannot be read: permission denied"):
        again.write()
    assert plan.rows("00000").read_text() == before


def test_an_unknown_network():
    with pytest.raises(UserError, match="did you mean 'sface'"):
        assert Plan(check({"networks": {"EF-A": {"network": "sfaec"}}})).fetched


def test_finetuning_makes_no_store_stale():
    plain, other = (Plan(check({"finetune": {"seed": seed}})).extraction_json for seed in (0, 1))
    assert plain == other
    assert plain != Plan(check({"preset": "paper"})).extraction_json


def test_weights_of_the_audio_encoder_are_part_of_its_own_stage_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").touch()
    (tmp_path / "m.csv").write_text("path\na.mp4\n")
    shutil.copy(SHIPPED_ENCODER, tmp_path / "same.safetensors")

    def plan(weights=None, **groups):
        corpus = {"name": "m", "source": "manifest", "path": "m.csv"}
        return Plan(check({"corpus": corpus, "audio_encoder": {"weights": weights}, **groups}))

    def parts(plan):
        plan.write()
        return {path.name: path.read_text() for path in (plan.folder / "plan").glob("*.json")}

    before = parts(plan())
    assert plan().encoder_sha256 in before["audio_encoder.json"]
    changed = parts(plan("same.safetensors"))
    assert {name for name in before if changed[name] != before[name]} == {"store.json"}  # the store keeps the settings
    missing = plan("absent.safetensors")
    assert {name for name in before if parts(missing)[name] != before[name]} == {"audio_encoder.json", "store.json"}
    with pytest.raises(UserError, match=r"there is no file absent\.safetensors"):
        _ = missing.encoder_sha256
    other = plan(spectrogram={"shift_ms": 20})
    assert "spectrogram.shift_ms 10, not 20" in other.no_encoder and not plan().no_encoder
    assert stage_names(other.config)[-1] == "spectrogram" and stage_names(plan().config)[-1] == "AF"


def split_plan(folder, *splits, folds="split"):
    rows = "".join(f"{i}.mp4,{('calm', 'sad')[i % 2]},s{i},{split}\n" for i, split in enumerate(splits))
    (folder / "m.csv").write_text(f"path,label,speaker,split\n{rows}")
    corpus = {"name": "m", "source": "manifest", "path": str(folder / "m.csv")}
    return Plan(check({"corpus": corpus, "protocol": {"folds": folds, "k": 2}}))


def test_a_split_is_one_fold_and_everybody_s_epoch_is_chosen_on_its_held_out_part(tmp_path):
    plan = split_plan(tmp_path, "train", "train", "val", "test")
    assert plan.folds == [Fold("fold01", test=("test",), choose=("val",), by="split")]
    assert plan.everyone == Fold("everyone", test=(), choose=("val",), by="split")
    plan = split_plan(tmp_path, "train", "val")
    assert plan.folds == [Fold("fold01", test=("val",), by="split")]
    assert plan.everyone == Fold("everyone", test=(), choose=("val",), by="split")


def test_folds_by_speaker_pass_over_the_split(tmp_path):
    plan = split_plan(tmp_path, "train", "dev", folds="loso")
    assert [fold.test for fold in plan.folds] == [("s0",), ("s1",)]
    assert plan.everyone == Fold("everyone", test=())


def test_a_corpus_without_a_split(tmp_path):
    with pytest.raises(UserError, match=r"these differ: 1 \(dev\)"):
        _ = split_plan(tmp_path, "train", "dev").folds
    with pytest.raises(UserError, match=r"needs the split train, val or test .* has 1 clips without one, first 0"):
        _ = split_plan(tmp_path, "", "dev").folds
    with pytest.raises(UserError, match=r"the manifest .*m\.csv has no column 'split', or it is empty"):
        _ = split_plan(tmp_path, "", "").folds


def test_published_folds_are_kept_to(tmp_path):
    rows = [(f"{i}.mp4", ("calm", "sad")[i % 2], f"s{i // 2}", ("10", "9")[i // 2 % 2]) for i in range(8)]

    def plan(rows):
        text = "\n".join(map(",".join, [("path", "label", "speaker", "fold"), *rows]))
        (tmp_path / "m.csv").write_text(text + "\n")
        corpus = {"name": "m", "source": "manifest", "path": str(tmp_path / "m.csv")}
        return Plan(check({"corpus": corpus, "protocol": {"folds": "published"}}))

    made = plan(rows)
    assert made.folds == [
        Fold("fold01", ("9",), by="fold"),
        Fold("fold02", ("10",), by="fold"),
    ]
    assert made.everyone == Fold("everyone", test=())
    shared = [*rows[:-1], (*rows[-1][:3], "10")]
    with pytest.raises(UserError, match=r"leakage: the published folds share speakers: s3 \(10 and 9\)"):
        _ = plan(shared).folds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,speaker\na.mp4,x\nb.mp4,y\n", r"needs a class for every clip: .*m\.csv has no column 'label'"),
        ("path,label,speaker\na.mp4,sad,x\nb.mp4,,y\n", r"has 1 clips without one, first b \(column 'label'\)"),
        ("path,label\na.mp4,sad\nb.mp4,calm\n", r"needs a speaker for every clip.* has no column 'speaker'"),
        ("path,label,speaker\na.mp4,sad,x\nb.mp4,sad,y\n", r"two classes or more: all clips of .* are 'sad'"),
        ("path,label,speaker\na.mp4,sad,x\nb.mp4,calm,x\n", "two speakers or more, and the corpus has 1: x"),
        ("path,label,speaker\na.mp4,sad,x\nb.mp4,calm,y\n", "k = 4 folds do not fit 2 speakers"),
        ("path,label,speaker\n" + "".join(f"{i}.mp4,-0.{i},s{i}\n" for i in range(1, 6)), "measured numbers"),
    ],
)
def test_what_training_misses_is_one_sentence_and_features_need_none_of_it(tmp_path, text, said):
    (tmp_path / "m.csv").write_text(text)
    plan = Plan(check({"corpus": {"name": "m", "source": "manifest", "path": str(tmp_path / "m.csv")}}))
    assert plan.shards == ["00000"]
    with pytest.raises(UserError, match=said) as error:
        _ = plan.folds
    assert "\n" not in str(error.value)


def meld(folder, **protocol):
    """A tree of MELD with an utterance in each part, all by one speaker, and one that cannot be read."""
    head = "Speaker,Emotion,Dialogue_ID,Utterance_ID\n"
    places = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
    for part, place in places.items():
        (folder / place).mkdir()
        lines = "Joey,joy,0,0\nRoss,anger,1,0\n" + ("Joey,joy,125,3\n" if part == "train" else "")
        (folder / f"{part}_sent_emo.csv").write_text(head + lines)
        for name in ("dia0_utt0", "dia1_utt0", "dia125_utt3"):
            (folder / place / f"{name}.mp4").write_bytes(b"media")
    corpus = {"name": "meld", "source": "meld", "path": str(folder)}
    return Plan(check({"corpus": corpus, "protocol": {"folds": "split", **protocol}}))


def test_what_a_corpus_leaves_out_is_written_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    plan = meld(tmp_path / "data", shared_speakers="declared")
    plan.write()
    text = (tmp_path / plan.left_out).read_text()
    assert text == "1 clip left out, its file cannot be read: train/dia125_utt3\n"
    assert plan.folds == [Fold("fold01", ("test",), ("val",), by="split", shared_speakers=True)]
    assert plan.everyone == Fold("everyone", (), ("val",), by="split")


def test_published_folds_without_speakers(tmp_path):
    rows = "\n".join(f"{i}.mp4,{'ab'[i % 2]},{i % 3}" for i in range(6))
    (tmp_path / "m.csv").write_text(f"path,label,fold\n{rows}\n")
    corpus = {"name": "m", "source": "manifest", "path": str(tmp_path / "m.csv")}
    with pytest.raises(UserError, match="no speaker is known, so the published folds may share some"):
        _ = Plan(check({"corpus": corpus, "protocol": {"folds": "published"}})).folds
    plan = Plan(check({"corpus": corpus, "protocol": {"folds": "published", "shared_speakers": "declared"}}))
    assert len(plan.folds) == 3 and plan.everyone == Fold("everyone", (), by="fold", shared_speakers=True)


def test_options_of_an_adapter(tmp_path):
    with pytest.raises(UserError, match=r"corpus\.options: manifest has no option 'folds'; it has none"):
        _ = Plan(check({"corpus": {"source": "manifest", "path": "m.csv", "options": {"folds": "emobox"}}})).corpus
