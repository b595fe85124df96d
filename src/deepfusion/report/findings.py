"""Checks of a corpus: unusable and unusual clips, class balance, face coverage."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from deepfusion.report.summary import HALF, coverage
from deepfusion.store import FeatureStore

# The frame rate counts as variable if frame intervals differ by more than this share of their median: containers round
# timestamps to 1 ms, which is 6 % at 60 frames/s.
VARIABLE = 0.2
MATRIX = 60  # maximum speakers of the table speaker x label
BINS = 10  # of the histogram of coverage


def frame_intervals(store: FeatureStore) -> pd.DataFrame:
    """Index clip id, of clips with three frames or more: shortest, median, longest interval between frames, s."""
    found = {}
    for clip in store:
        steps = np.diff(clip["time"])
        if len(steps) > 1:
            found[clip.id] = (steps.min(), np.median(steps), steps.max())
    return pd.DataFrame.from_dict(found, orient="index", columns=["shortest", "median", "longest"], dtype=float)


def findings(clips: pd.DataFrame, intervals: pd.DataFrame) -> list[dict[str, Any]]:
    """The checks of a corpus.

    Args:
        clips: The store's table.
        intervals: As of `frame_intervals`.

    Returns:
        For each check: `name`; `means`, what follows from a finding; `clips`, id -> detail, of the clips concerned.
    """
    share, seen = coverage(clips), clips["video_status"].eq("ok")
    spread = (intervals["longest"] - intervals["shortest"]) / intervals["median"]
    variable = intervals[spread > VARIABLE]
    faces = clips["faces"].astype(str) + " of " + clips["frames"].astype(str) + " frames"
    notes = clips["audio_note"].fillna("") if "audio_note" in clips else pd.Series("", clips.index)
    return [
        _check(
            "Video unreadable",
            "The clip has no video features; models of both modalities predict it from the audio alone.",
            clips["video_reason"][clips["video_status"].eq("failed")],
        ),
        _check(
            "No video stream", "As for unreadable video.", clips["video_reason"][clips["video_status"].eq("absent")]
        ),
        _check(
            "Audio unreadable",
            "The clip has no audio features; models of both modalities predict it from the video alone.",
            clips["audio_reason"][clips["audio_status"].eq("failed")],
        ),
        _check("No audio", "As for unreadable audio.", clips["audio_reason"][clips["audio_status"].eq("absent")]),
        _check("No face in any frame", "Predicted from the audio alone.", faces[seen & clips["faces"].eq(0)]),
        _check(
            f"Face in fewer than {HALF:.0%} of the frames",
            "Video features describe a part of the clip.",
            faces[seen & clips["faces"].gt(0) & share.lt(HALF)],
        ),
        _check(
            "Variable frame rate",
            "No loss: all times are presentation times of the file, none is derived from a frame index.",
            pd.Series(
                {
                    id_: " / ".join(f"{1000 * step:.0f}" for step in steps)
                    + " ms (shortest, median, longest interval between frames)"
                    for id_, *steps in variable.itertuples()
                },
                dtype=object,
            ),
        ),
        _check("Unusual audio", "See the note of each clip.", notes[notes.ne("")]),
        _check(
            "Identical media",
            "The same file and segment counts more than once.",
            _duplicates(clips, within=["label", "speaker"]),
        ),
        _check(
            "Identical media with different label or speaker",
            "Leakage between training and test, or contradictory labels: correct the manifest.",
            _duplicates(clips, across=["label", "speaker"]),
        ),
        _check("No label", "Left out of training and test.", clips["path"][clips["label"].eq("")]),
        _check("No speaker", "Speaker-independent folds are impossible.", clips["path"][clips["speaker"].eq("")]),
    ]


def _check(name: str, means: str, detail: pd.Series) -> dict[str, Any]:
    return {"name": name, "means": means, "clips": {str(id_): str(text) for id_, text in detail.items()}}


def _duplicates(clips: pd.DataFrame, *, within: Sequence[str] = (), across: Sequence[str] = ()) -> pd.Series:
    """Clips with the same media and segment: id -> the others. If given, a column of `across` must differ."""
    same = [name for name in ("sha256", "audio_sha256", "start", "end", "person") if name in clips]
    known = clips[clips["sha256"].fillna("").ne("")] if "sha256" in clips else clips.iloc[:0]
    found = {}
    if len(known):
        for _, group in known.groupby([*same, *within], dropna=False):
            if len(group) > 1 and (not across or len(group[list(across)].drop_duplicates()) > 1):
                found |= {id_: "same as " + ", ".join(group.index.drop(id_)) for id_ in group.index}
    return pd.Series(found, dtype=object)


def balance(clips: pd.DataFrame) -> dict[str, Any]:
    """How labels and speakers are distributed.

    Returns:
        `labels`: for each its name, clips, share, speakers, and minutes of video (or audio, where that is longer).
        `matrix`: (speaker, clips per label, sum) for each speaker; empty with more than `MATRIX` speakers or none.
        `per_speaker`: smallest, median and largest number of clips of a speaker, None without speakers.
        `ratio`: of the largest to the smallest class, None without labels.
    """
    labelled = clips[clips["label"].ne("")]
    durations = [clips[name] for name in ("video_duration", "audio_duration") if name in clips]
    seconds = pd.concat(durations, axis=1).max(axis=1).fillna(0) if durations else pd.Series(0.0, clips.index)
    named = labelled["speaker"].where(labelled["speaker"].ne(""))
    counts = labelled["label"].value_counts().sort_index()
    labels = [
        {
            "name": label,
            "clips": int(count),
            "share": count / len(labelled),
            "speakers": int(named[labelled["label"].eq(label)].nunique()),
            "minutes": float(seconds[labelled.index[labelled["label"].eq(label)]].sum() / 60),
        }
        for label, count in counts.items()
    ]
    speakers = clips["speaker"][clips["speaker"].ne("")].value_counts()
    matrix = []
    if 0 < len(speakers) <= MATRIX and len(labelled):
        table = pd.crosstab(named, labelled["label"])
        matrix = [(speaker, row.tolist(), int(row.sum())) for speaker, row in table.iterrows()]
    return {
        "labels": labels,
        "matrix": matrix,
        "per_speaker": [int(speakers.min()), float(speakers.median()), int(speakers.max())] if len(speakers) else None,
        "ratio": float(counts.max() / counts.min()) if len(counts) else None,
    }


def coverage_bins(clips: pd.DataFrame) -> list[dict[str, Any]]:
    """Clips per `BINS`-th of coverage, from the highest down: `text`, `clips`, and their `share` of the fullest bin."""
    share = coverage(clips).dropna()
    counts, _ = np.histogram(share, bins=BINS, range=(0, 1))
    width = 100 // BINS
    return [
        {"text": f"{width * i} to {width * (i + 1)} %", "clips": int(counts[i]), "share": counts[i] / counts.max()}
        for i in reversed(range(BINS))
        if len(share)
    ]


def clip_rows(clips: pd.DataFrame, limit: int) -> list[Mapping[str, Any]]:
    """At most `limit` clips as records, lowest coverage first, after those without any frame."""
    share = coverage(clips).rename("coverage")
    order = share.fillna(-1).sort_values(kind="stable").index[:limit]
    columns = clips.reindex(columns=["label", "speaker", "frames", "faces", "video_duration", "audio_duration"])
    columns = columns.assign(coverage=share, lacks=_lacks(clips)).loc[order].rename_axis("id").reset_index()
    return columns.astype(object).where(columns.notna(), None).to_dict("records")


def _lacks(clips: pd.DataFrame) -> list[str]:
    """Why a modality of a clip is not used, "" where both are."""
    columns = ("video_status", "video_reason", "audio_status", "audio_reason")
    return [
        "; ".join(
            f"{what}: {reason}" for what, status, reason in (("video", *row[:2]), ("audio", *row[2:])) if status != "ok"
        )
        for row in zip(*(clips[name] for name in columns), strict=True)
    ]
