"""What an extraction will take is said before it starts, from the clips themselves."""

import numpy as np
import pandas as pd
import pytest
from mediafiles import Audio, Video, numbered, write
from small_corpus import CPU, FRAMES, portrait, voice, write_clips

from deepfusion.config import Extraction, NetworkSettings
from deepfusion.corpora import load, read_manifest
from deepfusion.costs import SHARED
from deepfusion.errors import UserError
from deepfusion.extract.preflight import _expected, preflight, scan
from deepfusion.networks.audio_encoder import load_encoder
from deepfusion.report.costs import expected

CONFIG = Extraction(networks={"EF-A": NetworkSettings(network="dlib-resnet29")})


def clips_of(folder, *rows):
    (folder / "m.csv").write_text("\n".join(["id,path,label,speaker,start,end", *rows]) + "\n")
    return read_manifest(folder / "m.csv", labels=None)


@pytest.fixture
def start_of_nothing(monkeypatch):
    """The processes whose start is measured take longer to start than all else that a test tries."""
    monkeypatch.setattr("deepfusion.extract.preflight.STARTS", ())


def test_the_scan_sees_every_kind_of_clip(tmp_path):
    clips = read_manifest(write_clips(tmp_path), labels=None)
    found = scan(clips, cores=2).set_index(clips["id"])
    assert found.loc["hidden", "frames"] == pytest.approx(FRAMES, abs=0.5)
    assert found.loc["part", "video_s"] == pytest.approx(0.2, abs=1e-6)
    assert found.loc["part", "audio_s"] == pytest.approx(0.2, abs=1e-6)
    assert found.loc["mute", ["audio_s"]].item() == found.loc["voice", "frames"] == 0
    assert found.loc["voice", "audio_s"] == pytest.approx(1.0, abs=0.1)
    assert "Invalid data" in found.loc["broken", "reason"]
    assert found.drop(index="broken")["reason"].eq("").all()


def test_the_scan_counts_segments_from_the_beginning_of_the_file(tmp_path):
    times = [20 + i / 25 for i in range(50)]
    write(tmp_path / "a.ts", Video(numbered(50), times=times), Audio([(20.0, np.zeros((1, 96000)))], codec="mp2"))
    found = scan(clips_of(tmp_path, "whole,a.ts,a,x,,", "part,a.ts,a,x,0.5,1.5"), cores=1)
    assert found["video_s"].tolist() == pytest.approx([2, 1], abs=0.05)
    assert found["audio_s"].tolist() == pytest.approx([2, 1], abs=0.05)
    assert found["begins"].tolist() == pytest.approx([0, 0], abs=0.05)


def test_expected_is_what_the_clips_have_times_what_they_cost(tmp_path, caplog):
    caplog.set_level("INFO", logger="deepfusion")
    write(tmp_path / "long.mp4", Video(portrait(150), options={"preset": "ultrafast", "crf": "18"}), voice(6.0))
    (tmp_path / "bad.mp4").write_text("no video")
    clips = clips_of(tmp_path, "one,long.mp4,a,x,,", "two,long.mp4,a,x,1,5", "bad,bad.mp4,a,x,,")
    found = preflight(clips, config=CONFIG, device=CPU, cores=2)
    assert (found["clips"], found["read"], list(found["bad"])) == (3, 3, ["bad"])
    assert "dlib-resnet29 by onnxruntime" in caplog.text
    assert found["video_s"] == pytest.approx(10.0, abs=0.1)
    assert found["frames"] == pytest.approx(250, abs=2)
    costs = found["ledger"].set_index("part")
    assert costs.at["faces", "rows"] == pytest.approx(200, abs=3)  # 4 s of each were tried
    assert list(found["worker_s"]) == ["faces", SHARED, "EF-A", "spectrogram", "AF"]
    assert found["worker_s"]["EF-A"] == pytest.approx(costs.at["EF-A", "cpu_s"] * 10 / 8, rel=0.05)
    assert 1 < found["start_s"] < 100  # one shard
    assert found["seconds"] == pytest.approx((sum(found["worker_s"].values()) + found["start_s"]) / 2)
    # A frame: feature, time, box, landmarks, score, three codes. A window of audio, 100 a second: 200 bins and a time.
    frame = 128 * 4 + 8 + 4 * 4 + 68 * 2 * 4 + 4 + 3
    encoder = load_encoder()  # of each of the two clips 4 s were tried
    positions = encoder.output_length(400) / 4 * (encoder.bands * encoder.channels * 4 + 8)
    assert found["store_bytes"] == pytest.approx(250 * frame + 10 * (100 * 808 + positions), rel=0.03)
    text = expected(found)
    for part in (
        "3 clips, 3 of them read: 10",
        "250 frames",
        "cannot be read: bad: ",
        "on 2 otherwise idle cores",
        "bottleneck: ",
        "start of all processes: ",
    ):
        assert part in text


def row(part, rows, media_s, cpu_s, wall_s=9.0, device="cpu"):
    place = {"peak_memory_mb": 1.0, "device": device, "threads": 1, "machine": "m"}
    return {"part": part, "clips": 1, "rows": rows, "media_s": media_s, "wall_s": wall_s, "cpu_s": cpu_s} | place


def test_a_start_counts_once_per_shard_and_the_rest_by_frames_or_seconds():
    start = pd.DataFrame([row("faces", 5, 0.2, 1.25), row("spectrogram", 20, 0.2, 0.5)])
    trial = pd.DataFrame(
        [
            row("faces", 205, 8.2, 11.25),  # 0.05 s a frame after a start of 1 s
            row("EF-A", 205, 8.2, 41.0),
            row("EF-B", 205, 8.2, 3.0, wall_s=2.05, device="a card"),
            row("spectrogram", 420, 4.2, 0.9),  # 0.1 s per s after a start of 0.48 s
        ]
    )
    found = _expected(start, trial, pd.Series({"video_s": 100.0, "audio_s": 50.0, "frames": 2500.0}), shards=3)
    assert found.to_dict() == pytest.approx({"faces": 128, "EF-A": 500, "EF-B": 25, "spectrogram": 6.44})


def test_clips_without_pictures_are_tried_by_their_sound(tmp_path, start_of_nothing):
    write(tmp_path / "a.wav", audio=Audio(voice(2.0).pieces, rate=16000))
    found = preflight(clips_of(tmp_path, "a,a.wav,a,x,,"), config=CONFIG, device=CPU, cores=1)
    assert list(found["worker_s"]) == ["spectrogram", "AF"] and found["start_s"] == pytest.approx(0, abs=1e-6)
    assert found["frames"] == 0
    assert "2 s of audio" in expected(found)


def test_a_corpus_that_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / "bad.mp4").write_text("no video")
    with pytest.raises(UserError, match=r"none of 1 clips can be read; the first: bad\.mp4: Invalid data"):
        preflight(clips_of(tmp_path, "bad,bad.mp4,a,x,,"), config=CONFIG, device=CPU, cores=1)


@pytest.mark.realdata
def test_real_clips(javsed, start_of_nothing):
    clips: pd.DataFrame = load(kind="javsed", name="javsed", path=javsed).clips.iloc[:2]
    found = preflight(clips, config=CONFIG, device=CPU, cores=2)
    assert not found["bad"]
    declared = pd.read_csv(javsed / "manifest.csv").iloc[:2]
    assert found["video_s"] == pytest.approx(declared["dur_video"].sum(), rel=0.02)
    assert found["frames"] == pytest.approx((declared["dur_video"] * 29.97).sum(), rel=0.02)


def test_the_trial_is_by_the_engine_that_will_compute(tmp_path, caplog, start_of_nothing):
    write(tmp_path / "a.mp4", Video(portrait(25)), voice(1.0))
    clips = clips_of(tmp_path, "one,a.mp4,a,x,,")
    caplog.set_level("INFO", logger="deepfusion")
    preflight(clips, config=CONFIG, device=CPU, cores=1, engine="eager")  # another one by default
    assert "onnxruntime" not in caplog.text
