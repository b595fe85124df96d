"""What the API gives for clips good and bad: answers, fallbacks, reasons, tables."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from small_corpus import FRAMES, TIMES
from small_model import LABELS, SmallModel

from deepfusion.errors import UserError
from deepfusion.prediction.card import expectation
from deepfusion.prediction.predictor import Predictor
from deepfusion.prediction.result import EMOTIONS, Predictions, line

OPENFACE = ["frame", "face_id", "timestamp", "confidence", "success"]
PYFEAT_BOX = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"]
POSE = ["Pitch", "Roll", "Yaw"]
OPENINGS = ["eye_opening_left", "eye_opening_right", "mouth_opening"]


@pytest.mark.parametrize(
    ("clip", "status", "used", "text"),
    [
        ("good", "ok", {"audio", "video"}, r"\(faces in 12 of 12 frames, audio 1.0 s\)"),
        ("hidden", "ok", {"audio", "video"}, r"faces in 10 of 12 frames"),
        ("mute", "video_only", {"video"}, r"\(video alone, faces in 12 of 12 frames; the file has no audio\)"),
        ("voice", "audio_only", {"audio"}, r"\(audio alone, audio 1.0 s; the file has no video\)"),
        ("nobody", "audio_only", {"audio"}, r"no face in 10 frames"),
        ("broken", "failed", set(), r"^broken.mp4  no answer: broken.mp4: Invalid data"),
        ("cut", "failed", set(), r"no answer: cut.mkv: cut short"),
    ],
)
def test_answered_by_what_is_there(found, clip, status, used, text):
    prediction = found[clip]
    assert prediction.status == status
    assert set(prediction.by_modality.index) == set(prediction.attention) == used
    assert pd.Series([str(prediction)]).str.contains(text).all(), str(prediction)
    if used:
        assert prediction.probabilities.sum() == pytest.approx(1) and prediction.label in LABELS
        assert prediction.top(2)[0] == (prediction.label, prediction.score)
    else:
        assert prediction.label == "" and np.isnan(prediction.score) and prediction.top() == []
        assert prediction.frames.empty
    json.dumps(prediction.to_dict(), allow_nan=False)


def test_neither_face_nor_audio_is_no_answer(media, tmp_path, predictor):
    from mediafiles import Video, numbered, write

    write(tmp_path / "empty.mp4", Video(numbered(10, 320, 256)))
    prediction = predictor.predict(tmp_path / "empty.mp4")
    assert prediction.status == "no_answer"
    assert str(prediction) == "empty.mp4  no answer: no face in 10 frames; the file has no audio"


def test_a_row_per_frame_with_true_times(found):
    table = found["good"].frames
    assert table["frame"].tolist() == list(range(FRAMES))
    np.testing.assert_allclose(table["timestamp"], TIMES, atol=1e-3)
    assert table["attention"].sum() == pytest.approx(1)
    assert table[list(EMOTIONS)].isna().all(axis=None)  # this model uses one of the four networks
    assert table[POSE].abs().max(axis=None) < 45 and table[OPENINGS].gt(0).all(axis=None)
    hidden = found["hidden"].frames
    assert hidden["success"].tolist() == [1] * 4 + [0] * 2 + [1] * 6
    assert hidden.loc[4:5, "reason"].tolist() == ["no_face"] * 2
    assert hidden.loc[4:5, [*PYFEAT_BOX, *EMOTIONS, *POSE, *OPENINGS, "attention"]].isna().all(axis=None)


def test_scripts_for_openface_and_py_feat_can_read_it(found, tmp_path):
    path = tmp_path / "hidden.csv"
    found["hidden"].to_csv(path, landmarks=True)
    text = path.read_text()
    table = pd.read_csv(path)
    # OpenFace: five columns in this order, frames that failed are rows, points in px.
    assert table.columns[:5].tolist() == OPENFACE
    good = table[(table["success"] == 1) & (table["confidence"] > 0.5)]
    assert len(good) == 10 and good[[f"x_{i}" for i in range(68)]].notna().all(axis=None)
    # py-feat: box, emotions; Fex.emotions takes these names.
    assert table[PYFEAT_BOX + POSE].dtypes.eq(float).all() and table[list(EMOTIONS)].dtypes.eq(float).all()
    assert (table["y_8"] > table["y_27"]).eq(table["success"] == 1).all()  # the chin is below the nose
    # Empty cells, not zeros, and at least three decimals.
    assert ",,,,," in text.splitlines()[5] and table["attention"].isna().sum() == 2
    assert text.splitlines()[2].split(",")[2] == "0.040000"
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(text))[OPENFACE], table[OPENFACE])


def test_many_clips_are_lazy_and_make_a_table(media, predictor):
    model = predictor.model
    before = len(model.asked)
    predictions = predictor.predict([media / "clips" / "good.mp4", media / "clips" / "broken.mp4"])
    assert isinstance(predictions, Predictions) and len(predictions) == 2 and len(model.asked) == before
    table = predictions.frame
    assert table.columns.tolist() == [
        *["id", "path", "label", "score", *LABELS, "frames", "faces", "video_seconds", "audio_seconds"],
        *["model", "model_sha256", "status", "reason"],
    ]
    assert table["status"].tolist() == ["ok", "failed"] and len(model.asked) == before + 1


def test_windows_have_answers_of_their_own(media, predictor):
    prediction = predictor.predict(media / "clips" / "good.mp4", window=0.4, hop=0.2)
    table = prediction.windows
    assert table["start"].tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8][: len(table)]) and len(table) >= 4
    assert table[LABELS].sum(axis=1).to_numpy() == pytest.approx(1)
    assert table["status"].tolist()[-1] == "audio_only"  # the frames end at 0.5 s, the audio at 1 s
    assert "no frame" in table["reason"].tolist()[-1]
    # The audio encoder's positions are further apart: some windows have none.
    table = predictor.predict(media / "clips" / "good.mp4", window=0.04).windows
    few = table[table["reason"].str.contains("too little audio")]
    assert len(few) and few["status"].eq("video_only").all()
    assert table.loc[table["reason"].eq("nothing to predict from"), "status"].eq("no_answer").all()
    with pytest.raises(UserError, match="hop needs a window"):
        predictor.predict(media / "clips" / "good.mp4", hop=1)
    with pytest.raises(UserError, match="above 0"):
        predictor.predict(media / "clips" / "good.mp4", window=0)
    with pytest.raises(UserError, match="above 0"):
        predictor.predict(media / "clips", window=0)  # at once, not with the first clip


def test_a_segment_of_a_file_is_a_clip(found):
    time = found["part"].clip["time"]
    assert time[0] >= 0.1 and time[-1] < 0.3 and found["part"].frame_count == len(time) > 2


def test_normalisation_is_the_models_own(media, predictor):
    clip = media / "clips" / "good.mp4"
    with pytest.raises(UserError, match="trained with features normalised by training: use --norm none"):
        predictor.predict(clip, norm="speaker")
    assert predictor.predict(clip, norm="none").answer is not None
    assert predictor.model.asked[-1][1] is None
    speaker = SmallModel(needs={"spectrogram", "AF"}, card={"name": "s", "normalisation": "speaker"})
    with Predictor(speaker, device="cpu") as other:
        assert other.predict(clip, norm="clip-set").status == "audio_only"
        assert speaker.asked[-1][1] == 1  # statistics over the one clip
        list(other.predict(media / "manifest.csv"))
        assert {statistics for _, statistics in speaker.asked[1:]} == {2, 3, 4}  # clips of each speaker
        with pytest.raises(UserError, match="needs a manifest with a column speaker"):
            other.predict(clip)
        with pytest.raises(UserError, match="use --norm clip-set or speaker"):
            other.predict(clip, norm="none")


def test_weights_are_those_of_the_training():
    from deepfusion.networks.catalogue import fingerprint

    right = fingerprint("dlib-resnet29-fer2013")
    Predictor(SmallModel(card={"weights": {"EF-A": right}}), device="cpu").close()
    for key, wrong in (("EF-A", right[:-1]), ("AF", "0" * 64)):
        with pytest.raises(UserError, match=f"other weights of {key}"):
            Predictor(SmallModel(card={"weights": {key: wrong}}), device="cpu")


def test_the_accuracy_to_expect_is_that_of_the_card():
    metrics = {"accuracy_mean": 0.604, "accuracy_std": 0.088, "uar_mean": 0.5, "uar_std": 0.1}
    card = {"metrics": metrics | {"by_model": {"audio": 0.48, "concat": 0.6, "video": 0.458}}}
    wanted = "on unseen speakers: accuracy 60.4 ± 8.8 %, UAR 50.0 ± 10.0 %"
    assert expectation(card) == f"{wanted}; audio alone 48.0 %, video alone 45.8 %"
    assert expectation({"metrics": metrics}) == wanted
    assert expectation({}) == ""


def test_a_line_names_as_many_classes_as_asked_for(found):
    found = found["good"].to_dict()
    assert line(found, top=3).count("0.") >= 3 and all(label in line(found, top=3) for label in LABELS)
    assert line(found, top=1).startswith(f"good.mp4  {found['label']} ")
