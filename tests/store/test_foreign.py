"""Stores that other people made: what points elsewhere or does not fit is refused before anything is read."""

import h5py
import numpy as np
import pytest

from deepfusion.errors import UserError
from deepfusion.store import FeatureStore


def external_link(file, other):
    file["video/EF-X"] = h5py.ExternalLink(str(other), "/secret")
    return "/video/EF-X is a link to another file"


def link_of_a_group(file, other):
    del file["audio"]
    file["audio"] = h5py.ExternalLink(str(other), "/")
    return "/audio is a link to another file"


def soft_link(file, other):
    file["outside"] = h5py.ExternalLink(str(other), "/")
    file["clips/a"] = h5py.SoftLink("/outside/secret")
    return "is a (soft link|link to another file)"


def dangling(file, other):
    file["video/EF-X"] = h5py.SoftLink("/nowhere")
    return "/video/EF-X is a soft link"


def virtual(file, other):
    wanted = h5py.VirtualLayout((3,), "f8")
    wanted[:] = h5py.VirtualSource(str(other), "secret", (3,))
    file.create_virtual_dataset("video/EF-X", wanted)
    return "/video/EF-X is a virtual dataset"


def raw(file, other):
    file.create_dataset("clips/EF-X", (3,), "f8", external=[(str(other), 0, 24)])
    return "/clips/EF-X keeps its data in another file"


def deep(file, other):
    file["more/and/more"] = h5py.ExternalLink(str(other), "/secret")
    return "/more/and/more is a link to another file"


def cycle(file, other):
    file["video/again"] = file["/"]
    return "/video/again is a second name of another group"


def objects(file, other):
    file.create_dataset("clips/x", data=["a"] * 6, dtype=h5py.string_dtype())
    return "/clips/x has the type object"


def references(file, other):
    file.create_dataset("video/x", data=np.array([file.ref] * 183, dtype=h5py.ref_dtype))
    return "/video/x has the type object"


def compound(file, other):
    file["video/x"] = np.zeros(183, [("a", "f4"), ("b", "i8")])
    return "/video/x has the type"


def named_type(file, other):
    file["video/x"] = np.dtype("f8")
    return "/video/x is neither a group nor a dataset"


def hollow(file, other):
    file.create_dataset("video/x", (183, 10**9), "f8", chunks=(1, 1000))
    return "/video/x has a shape but no data"


def replaced(name, values):
    def change(file, other):
        del file[name]
        file[name] = values
        return name.partition("/")[0]

    change.__name__ = f"{name}-{np.shape(values)}"
    return change


def scalar(file, other):
    file["video/x"] = 3.0
    return "/video/x has no rows where offsets say 183"


def unequal_table(file, other):
    file["clips/x"] = [1, 2]
    return "/clips: its columns are not equally long"


def no_ids(file, other):
    del file["clips/id"]
    return "/clips has no column id"


def no_group(file, other):
    del file["audio"]
    return "has no group audio"


def no_labels(file, other):
    del file.attrs["labels"]
    return "has no attribute labels"


def positions_without_their_times(file, other):
    del file["audio/AF/time"]
    return "/audio/AF/time is missing"


def bands_without_their_frequencies(file, other):
    del file["audio/AF/frequency"]
    return r"/audio/AF/frequency does not fit positions \(\d+, 5, 4\)"


def positions_that_are_no_group(file, other):
    del file["audio/AF"]
    file["audio/AF"] = np.zeros(41)
    return "/audio/AF is not a group"


CHANGES = [external_link, link_of_a_group, soft_link, dangling, virtual, raw, deep, cycle, objects, references]
CHANGES += [compound, named_type, hollow, scalar, unequal_table, no_ids, no_group, no_labels]
CHANGES += [positions_without_their_times, bands_without_their_frequencies, positions_that_are_no_group]
CHANGES += [
    replaced("video/offsets", [0, 5, 5, 135, 142, 143]),
    replaced("video/offsets", [0, 5, 5, 135, 130, 143, 183]),
    replaced("video/offsets", [0, 5, 5, 135, 142, 143, 10**6]),
    replaced("video/offsets", [1, 5, 5, 135, 142, 143, 183]),
    replaced("video/offsets", [0, -5, 5, 135, 142, 143, 183]),
    replaced("video/offsets", [0.0, 5, 5, 135, 142, 143, 183]),
    replaced("video/offsets", 7),
    replaced("audio/AF/offsets", [0, 0, 1, 3, 3, 7, 11]),
    replaced("audio/AF/frequency", [1.0, 2.0]),
    replaced("audio/offsets", np.array([0, 2**63, 5, 6, 7, 8, 41], np.uint64)),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_refused(corpus, tmp_path, change):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = [1.0, 2.0, 3.0]
    with h5py.File(corpus.path, "r+") as file:
        message = change(file, other)
        file.attrs.pop("attributes_sha256")  # as a store that another program wrote
    with pytest.raises(UserError, match=message) as error:
        FeatureStore(corpus.path)
    assert "\n" not in str(error.value) and "features.h5" in str(error.value)


def test_what_may_be_there_and_is_not_known_is_passed_over(corpus):
    with h5py.File(corpus.path, "r+") as file:
        file["notes/mine"] = [1, 2]
        file["audio/later/positions"] = [1, 2]  # a stream of a later version
        file.attrs.pop("attributes_sha256")
    with FeatureStore(corpus.path) as store:
        np.testing.assert_array_equal(store["bert/1"]["EF-A"], corpus.expected["bert/1"]["EF-A"])
