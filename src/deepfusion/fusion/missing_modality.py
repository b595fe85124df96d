"""Models that cannot be trained because a modality is missing, and the reasons."""

from collections.abc import Mapping, Sequence

EXPLAINED = ("fbp", "video", "audio")  # attention is kept and shown for the first of these that is trained


def missing_modalities(
    clips: Mapping[str, Sequence[bool]], train: Mapping[str, Sequence[int]], names: Mapping[str, str]
) -> dict[str, str]:
    """Modalities that some fold has no training clips for.

    Args:
        clips: Modality -> whether each clip has it.
        train: Name of each fold -> positions of its training clips.
        names: Modality -> what a clip has, in words.

    Returns:
        Modality -> the reason.
    """
    reasons = {}
    for modality, has in clips.items():
        without = [fold for fold, positions in train.items() if not any(has[i] for i in positions)]
        if not any(has):
            reasons[modality] = f"no clip has {names[modality]}"
        elif without:
            reasons[modality] = f"no training clip of {', '.join(without)} has {names[modality]}"
    return reasons


def absent_rows(needed: Mapping[str, Sequence[str]], reasons: Mapping[str, str]) -> dict[str, str]:
    """Model -> reason, for models that need a missing modality; `needed`: model -> modalities."""
    found = {name: [why for modality, why in reasons.items() if modality in of] for name, of in needed.items()}
    return {name: " and ".join(why) for name, why in found.items() if why}


def absence(absent: Mapping[str, str]) -> list[str]:
    """A sentence for each reason why models are missing; `absent` as of `absent_rows`."""
    reasons = dict.fromkeys(absent.values())
    return [f"no model {', '.join(n for n in absent if absent[n] == reason)}: {reason}" for reason in reasons]
