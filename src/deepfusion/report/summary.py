"""Summary of a feature store as text: the end of an extraction, the beginning of `deepfusion info`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from deepfusion.store import FeatureStore
from deepfusion.versions import ENCODER

LISTED = 20  # clips shown one by one after an extraction; `deepfusion info` shows all
HALF = 0.5  # coverage below which a clip is listed
DONE = {"ok": "done", "failed": "failed", "absent": "absent"}


def coverage(clips: pd.DataFrame) -> pd.Series:
    """Share of the frames with the followed person's face, of each clip of a store; NaN without frames."""
    return clips["faces"] / clips["frames"].where(clips["frames"] > 0)


def store_summary(store: FeatureStore, *, listed: int | None = LISTED) -> str:
    """Clips done, failed and absent for each modality; coverage; each clip that lacks something, with the reason.

    Args:
        store: An open feature store.
        listed: Clips listed one by one in each table, at most; None: all.

    Returns:
        Lines of text; the last one has the paths of store and logs.
    """
    clips = store.clips
    share = coverage(clips)
    frames, faces = int(clips["frames"].sum()), int(clips["faces"].sum())
    encoder = f"; audio encoder {ENCODER}" if ENCODER in store.keys else ""
    lines = [f"{len(clips)} clips, {_people(clips)}; face features {', '.join(store.networks)}{encoder}"]
    if len(labels := clips["label"][clips["label"].ne("")].value_counts(sort=False)):
        lines.append(
            "clips per class: " + ", ".join(f"{label} {count}" for label, count in labels.sort_index().items())
        )
    for what in ("video", "audio"):
        counts = clips[f"{what}_status"].value_counts()
        lines.append(f"{what}: " + ", ".join(f"{counts.get(status, 0)} {word}" for status, word in DONE.items()))
    mean = f"; mean of the clips {share.mean():.1%}" if share.notna().any() else ""
    total = f" ({faces / frames:.1%})" if frames else ""
    lines.append(f"frames: {frames}, with the followed person's face: {faces}{total}{mean}")
    seen = clips["video_status"].eq("ok")
    none, few = seen & clips["faces"].eq(0), seen & clips["faces"].gt(0) & share.lt(HALF)
    lines.append(f"clips without a face: {none.sum()}; with a face in fewer than half of their frames: {few.sum()}")
    lines += _lacking(clips, share, listed)
    noted = [(id_, "", note) for id_, note in _audio_notes(clips).items()]
    lines += _table(("clip", "", "note on the audio"), noted, listed)
    lines += str(store.attrs.get("left_out", "")).splitlines()
    logs = store.path.parent / "logs"
    where = f"; logs: {logs}" if logs.is_dir() else ""
    rest = f" (`deepfusion info {store.path}` lists all)" if listed is not None else ""
    return "\n".join([*lines, f"store: {store.path}{rest}{where}"])


def store_facts(store: FeatureStore) -> dict[str, Any]:
    """The content of `store_summary` as plain data.

    Returns:
        path; clips: their number; speakers and classes: their names; clips_per_class: their numbers; keys: the
        features. video and audio: status -> number of clips. frames; faces: frames with the followed person's face.
        lacking: a dictionary per clip that lacks something: id, coverage (0 to 1, None without frames), reason.
        audio_notes: id -> note; left_out: sentences on clips that the corpus leaves out.
    """
    clips = store.clips
    share = coverage(clips)
    lacking = [
        {"id": id_, "coverage": None if np.isnan(share[id_]) else float(share[id_]), "reason": reason}
        for id_, reason in _reasons(clips, share)
    ]
    return {
        "path": str(store.path),
        "clips": len(clips),
        "speakers": sorted(set(clips["speaker"]) - {""}),
        "classes": sorted(set(clips["label"]) - {""}),
        "clips_per_class": clips["label"][clips["label"].ne("")].value_counts(sort=False).sort_index().to_dict(),
        "keys": list(store.keys),
        **{what: {name: int(clips[f"{what}_status"].eq(name).sum()) for name in DONE} for what in ("video", "audio")},
        "frames": int(clips["frames"].sum()),
        "faces": int(clips["faces"].sum()),
        "lacking": lacking,
        "audio_notes": _audio_notes(clips),
        "left_out": str(store.attrs.get("left_out", "")).splitlines(),
    }


def _people(clips: pd.DataFrame) -> str:
    """Numbers of speakers and classes, where they are known."""
    numbers = [(set(clips[name]) - {""}, word) for name, word in (("speaker", "speakers"), ("label", "classes"))]
    return ", ".join(f"{len(names)} {word}" if names else f"no {word} given" for names, word in numbers)


def _lacking(clips: pd.DataFrame, share: pd.Series, listed: int | None) -> list[str]:
    """A table of clips that failed, lack a modality, or have a face in fewer than half of their frames."""
    rows = [(id_, "" if np.isnan(share[id_]) else f"{share[id_]:.1%}", why) for id_, why in _reasons(clips, share)]
    return _table(("clip", "coverage", "what it lacks"), rows, listed)


def _reasons(clips: pd.DataFrame, share: pd.Series) -> Iterator[tuple[str, str]]:
    """Id of each incomplete clip, and the reason."""
    for (id_, clip), covered in zip(clips.iterrows(), share, strict=True):
        why = [
            f"{what} {DONE[clip[f'{what}_status']]}: {clip[f'{what}_reason']}"
            for what in ("video", "audio")
            if clip[f"{what}_status"] != "ok"
        ]
        if clip["video_status"] == "ok" and not clip["faces"]:
            why.insert(0, f"no face in any of {clip['frames']} frames")
        elif covered < HALF:
            why.insert(0, f"a face in {clip['faces']} of {clip['frames']} frames")
        if why:
            yield str(id_), "; ".join(why)


def _audio_notes(clips: pd.DataFrame) -> dict[str, str]:
    """Id -> note on its audio; older stores have no such column."""
    noted = clips["audio_note"].fillna("") if "audio_note" in clips else {}
    return {str(id_): note for id_, note in noted.items() if note}


def _table(head: tuple[str, str, str], rows: list[tuple[str, str, str]], listed: int | None) -> list[str]:
    shown = rows if listed is None else rows[:listed]
    if not shown:
        return [f"... {len(rows)} clips: {head[2]}"] if rows else []
    wide, middle = (max(len(row[i]) for row in (head, *shown)) for i in (0, 1))
    lines = [f"  {a.ljust(wide)}  {b.rjust(middle)}  {c}".rstrip() for a, b, c in (head, *shown)]
    more = len(rows) - len(shown)
    return [*lines, f"  ... and {more} more"] if more else lines
