"""Write the small feature store of the fusion tests: `python write_store.py STORE`."""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from small_store import make_clips, without, write_store

clips = make_clips()
clips[1] = without(clips[1], "audio")
with tempfile.TemporaryDirectory() as folder:
    Path(sys.argv[1]).write_bytes(write_store(Path(folder), clips).read_bytes())
