"""What a feature store holds, in a page of text."""

from deepfusion.store import FeatureStore

# Clips that are listed one by one; a longer list stands in the store's own table.
LISTED = 20


def store_summary(store: FeatureStore) -> str:
    """Clips done, those without a modality or failed, each with its reason, and the share of frames with a face."""
    clips = store.clips
    frames, faces = int(clips["frames"].sum()), int(clips["faces"].sum())
    share = f"{faces / frames:.2%}" if frames else "none"
    lines = [
        f"{len(clips)} clips, {clips['speaker'].nunique()} speakers, {len(store.labels)} classes; "
        f"face features {', '.join(store.networks)}",
        f"frames: {frames}, with the followed person's face: {faces} ({share})",
    ]
    notes = []
    for what in ("video", "audio"):
        counts = clips[f"{what}_status"].value_counts()
        lines.append(f"{what}: " + ", ".join(f"{n} {status}" for status, n in counts.items()))
        for id_, clip in clips[clips[f"{what}_status"] != "ok"].iterrows():
            notes.append(f"{id_}: {what} {clip[f'{what}_status']}: {clip[f'{what}_reason']}")
    faceless = clips[(clips["video_status"] == "ok") & (clips["faces"] == 0)]
    notes += [f"{id_}: no face in any of {clip['frames']} frames" for id_, clip in faceless.iterrows()]
    more = [f"... and {len(notes) - LISTED} more, see the table clips of the store"] if len(notes) > LISTED else []
    return "\n".join([*lines, *notes[:LISTED], *more])
