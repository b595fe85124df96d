"""Inner folds: whole speakers on either side; clips where no speaker is known, with a note."""

import numpy as np
import pytest

from deepfusion.corpora.inner_folds import BY_CLIP, inner_folds

LABELS = np.tile(["a", "b", "c"], 12)


@pytest.mark.parametrize("speakers", [2, 4, 9])
def test_whole_speakers_and_each_clip_is_validated_once(speakers):
    who = np.array([f"s{i % speakers}" for i in range(len(LABELS))])
    parts, note = inner_folds(who, LABELS, 5)
    assert note == ""
    assert len(parts) == min(5, speakers)
    assert not any(set(who[train]) & set(who[held]) for train, held in parts)
    assert all(len(train) + len(held) == len(who) for train, held in parts)
    assert sorted(np.concatenate([held for _, held in parts])) == list(range(len(who)))


def test_classes_of_few_speakers_are_on_both_sides():
    """Each speaker has a single class, as in corpora that were cut from films."""
    who = np.array([f"s{i // 3}" for i in range(36)])
    labels = np.array([("a", "b", "c")[i // 12] for i in range(36)])
    parts, _ = inner_folds(who, labels, 3)
    assert len(parts) == 3
    assert all(set(labels[train]) == set(labels[held]) == {"a", "b", "c"} for train, held in parts)


def test_fewer_clips_of_each_class_than_folds():
    parts, _ = inner_folds(np.array(["s0", "s1", "s2", "s3"]), np.array(["a", "a", "b", "b"]), 4)
    assert [len(held) for _, held in parts] == [1, 1, 1, 1]


def test_unknown_speakers_are_clips_with_each_label_on_both_sides():
    parts, note = inner_folds(np.full(len(LABELS), ""), LABELS, 3)
    assert note == BY_CLIP
    assert sorted(np.concatenate([held for _, held in parts])) == list(range(len(LABELS)))
    assert all(set(LABELS[train]) == set(LABELS[held]) == {"a", "b", "c"} for train, held in parts)


def test_a_single_speaker_has_none():
    assert inner_folds(np.full(len(LABELS), "s0"), LABELS, 3)[0] == []
