"""The checksum of the whole file: every changed byte is found, and h5py alone still reads the file."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from damage import flip, flip_in

from deepfusion.errors import MachineError, UserError
from deepfusion.store import DamagedError, FeatureStore, ShardWriter, check_whole
from deepfusion.store.checksum import USER_BLOCK
from deepfusion.store.layout import objects


def test_what_was_written_is_whole(finished):
    for path in (finished.path, *finished.audio, *finished.video["faces"]):
        check_whole(path)


@pytest.mark.parametrize("byte", [0, 80, 140, 300, USER_BLOCK - 1, USER_BLOCK, -1])
def test_a_flipped_bit_anywhere_is_found(finished, tmp_path, byte):
    path = Path(shutil.copy(finished.path, tmp_path))
    flip(path, byte, bit=7)
    with pytest.raises(DamagedError, match=r"features\.h5 is damaged: .* `deepfusion repair`") as error:
        check_whole(path)
    assert error.value.path == path
    assert pickle.loads(pickle.dumps(error.value)).path == path  # a worker process may raise it


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b[:200], lambda b: b""])
def test_a_changed_length_is_found(finished, tmp_path, change):
    path = tmp_path / "x.h5"
    path.write_bytes(change(finished.path.read_bytes()))
    with pytest.raises(DamagedError):
        check_whole(path)


def test_what_was_not_read_is_not_called_damaged(tmp_path):
    with pytest.raises(UserError, match=r"x\.h5: there is no such file"):
        check_whole(tmp_path / "x.h5")
    with pytest.raises(UserError, match="is a folder"):
        check_whole(tmp_path)
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["x"] = [1]
    with pytest.raises(UserError, match="has no checksum: an earlier version or another program wrote it"):
        check_whole(tmp_path / "old.h5")
    script = """
import os, sys
from deepfusion.errors import MachineError
from deepfusion.store import DamagedError, FeatureStore, check_whole
os.setuid(65534)
for read in (check_whole, FeatureStore):
    try:
        read(sys.argv[1])
    except DamagedError:
        raise
    except MachineError as error:
        print(error)
"""
    path = tmp_path / "closed.h5"
    path.write_bytes(b"x" * 1000)
    path.chmod(0)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    if "PermissionError" in done.stderr:
        pytest.skip("only root can give up its rights")
    assert done.stdout == 2 * f"{path} cannot be read: Permission denied\n", done.stderr


def test_the_user_block_is_text_and_h5py_skips_it(finished):
    block = finished.path.read_bytes()[:USER_BLOCK].rstrip(b"\0").decode()
    assert block.startswith("deepfusion: SHA-256 of all bytes from byte 512") and len(block.split()[-1]) == 64
    with h5py.File(finished.path) as file:
        assert file.userblock_size == USER_BLOCK
        assert file["clips/id"].asstr()[1] == finished.ids[1]
        assert file["clips/label"].asstr()[:].tolist() == finished.manifest["label"].tolist()
        assert all(thing.fletcher32 for thing in objects(file) if isinstance(thing, h5py.Dataset))


@pytest.mark.parametrize(
    ("dataset", "key"), [("video/EF-A", "EF-A"), ("video/valid", "valid"), ("audio/time", "audio_time")]
)
def test_reading_damaged_numbers_is_one_clear_line(corpus, dataset, key):
    flip_in(corpus.path, dataset)
    with FeatureStore(corpus.path) as store:
        with pytest.raises(MachineError) as error:
            store["bert/1"][key]
        assert str(error.value) == (
            f"{corpus.path} is damaged: {dataset} of clip 'bert/1': the checksum is wrong; "
            "`deepfusion repair` recomputes what is damaged"
        )
        assert len(store["bert/1"]["EF-B"]) == 130


def test_damaged_tables_offsets_and_attributes_are_found_on_opening(corpus, tmp_path):
    for dataset, message in {"clips/label": "clips/label: the checksum", "video/offsets": "video/offsets: the"}.items():
        path = shutil.copy(corpus.path, tmp_path)
        flip_in(path, dataset)
        with pytest.raises(DamagedError, match=message), FeatureStore(path) as store:
            assert store.clips is None
    path = Path(shutil.copy(corpus.path, tmp_path))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"Someone, 2018", b"Someone, 2019", 1))
    assert path.read_bytes() != content
    with pytest.raises(DamagedError, match="its attributes are not those that were written"):
        FeatureStore(path)


def test_one_long_text_costs_little(tmp_path):
    with ShardWriter(tmp_path / "s.h5", stage="t") as shard:
        for i in range(20_000):
            shard.begin(f"clip {i}")
            shard.fail("ü" * 5000 if i == 7 else "no audio")
    assert (tmp_path / "s.h5").stat().st_size < 2e6
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["clips/reason"].asstr()[7] == "ü" * 5000 and file["clips/reason"].asstr()[8] == "no audio"
        assert np.array_equal(file["clips/id"].asstr()[-2:], ["clip 19998", "clip 19999"])
