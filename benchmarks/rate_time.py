"""CPU time of the networks' stage at lower frame rates.

python benchmarks/rate_time.py ../shared/data/javsed --source javsed

Four clips of a corpus, the first seconds of each: faces are followed once, then the networks' stage (decoding, crops,
networks, writing) runs at every rate. Writes docs/results/rate_time.json.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from provenance import publish

from deepfusion.config import Extraction
from deepfusion.corpora import load
from deepfusion.extract.faces import faces_shard
from deepfusion.extract.networks import network_shards
from deepfusion.store.shard import read_shard

CLIPS = 4


def cpu_seconds(outs: list[Path]) -> float:
    """CPU time of all parts of a run of the networks' stage, by its ledger."""
    total = 0.0
    for out in outs:
        with read_shard(out) as shard:
            total += shard.ledger["cpu_s"].sum()
    return float(total)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path, help="folder of the corpus")
    parser.add_argument("--source", default="javsed", help="its adapter")
    parser.add_argument("--rates", type=float, nargs="+", default=[2, 5, 10])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each clip")
    parser.add_argument("--out", type=Path, default=Path("docs/results/rate_time.json"))
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    config = Extraction()
    clips = load(kind=args.source, name="corpus", path=args.media.absolute(), labels=None, settings={}).clips
    clips = clips.iloc[np.linspace(0, len(clips) - 1, CLIPS).astype(int)].assign(start=0.0, end=args.seconds)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        tracks = Path(folder) / "faces.h5"
        faces_shard(clips, tracks, settings=config.faces)
        with read_shard(tracks) as shard:
            seconds, frames = shard.seconds(), int(shard.offsets[-1])
            found["faces"] = {"cpu_s_per_s": float(shard.ledger["cpu_s"].sum()) / seconds, "frames": frames}
        for rate in (None, *args.rates):
            outs = {slot: Path(folder) / f"{slot}-{rate}.h5" for slot in config.networks}
            network_shards(
                clips,
                tracks,
                outs,
                networks=config.networks,
                dtype=config.store.dtype,
                device=torch.device("cpu"),
                rate=rate,
            )
            with read_shard(next(iter(outs.values()))) as shard:
                frames = int(shard.offsets[-1])
            name = "all" if rate is None else f"{rate:g}"
            found[name] = {"cpu_s_per_s": cpu_seconds(list(outs.values())) / seconds, "frames": frames}
            print(name, found[name], flush=True)
    publish(args.out, {"clips": CLIPS, "seconds": seconds, "stages": found})


if __name__ == "__main__":
    main()
