"""Which package imports which: no import runs up, and what must stay light does."""

import subprocess
import sys

import package_imports as imports


def test_no_import_runs_up(capsys):
    found = imports.imported()
    with capsys.disabled():
        print(f"\n{imports.table(found)}")
    assert imports.upward(found) == []


def test_every_module_has_a_layer():
    assert imports.names() == {name for layer in imports.LAYERS for name in layer}


def test_an_upward_import_is_found():
    found = {"store": {"fusion": ["store/reader.py"]}, "fusion": {"store": ["fusion/corpus.py"]}}
    assert imports.upward(found) == ["store/reader.py imports fusion, which stands above store"]


def test_the_package_and_its_reader_need_numpy_h5py_and_pandas_alone(tmp_path):
    script = "import sys, deepfusion, deepfusion.store; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    heavy = {"torch", "av", "cv2", "dlib", "scipy", "sklearn", "pydantic", "typer", "rich", "librosa", "yaml"}
    assert not heavy & set(done.stdout.split())
