"""Speed of the face networks, in the stage and in plain torch: python benchmarks/networks.py.

Crops of one real clip of Java-SED; contenders alternate, and medians are reported. Writes docs/results/networks.json.
The large networks have random weights here, which take the same time. About three minutes on two cores.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import pandas as pd
import torch
from provenance import publish
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deepfusion import media
from deepfusion.config import PRESETS
from deepfusion.faces.align import warp
from deepfusion.faces.detect import Detector
from deepfusion.networks import catalogue, engines, trunks
from deepfusion.networks.inference import embed

CPU = torch.device("cpu")
FACES = 32
BATCHES = (1, 8, 16, 32)
SIDE = 2048  # of the matrices whose product gives the machine's rate
GOALS = {"networks_compact": 2.2, "vgg16_fc6": 1.6, "share_of_matrix_rate": 0.9, "outside_large": 0.05}


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turn(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, without a first, cold round."""
    times = [{name: seconds(work) for name, work in contenders.items()} for _ in range(rounds + 1)][1:]
    return {name: median(turn[name] for turn in times) for name in contenders}


def one_by_one(net: nn.Module, crops: np.ndarray) -> np.ndarray:
    """The usual loop: one face at a time."""
    with torch.inference_mode():
        faces = [net(torch.from_numpy(crop).permute(2, 0, 1)[None].float())[0].numpy() for crop in crops]
    return np.stack(faces)


def bfloat16(net: nn.Module, crops: np.ndarray) -> np.ndarray:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        x = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
        return net(x.contiguous(memory_format=torch.channels_last)).float().numpy()


def in_batches(features: engines.Features, crops: np.ndarray, batch: int) -> np.ndarray:
    return np.concatenate([features(crops[i : i + batch]) for i in range(0, len(crops), batch)])


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    return float((np.abs(found - wanted).max(1) / np.abs(wanted).max(1)).max())


def sighted(javsed: Path) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Frames of the first clip with a face: image, box, landmarks."""
    detector, found = Detector(), []
    for frame in media.frames(clip_of(javsed)):
        found += [(frame.image, face.box, face.landmarks) for face in detector(frame.image)[:1]]
        if len(found) == FACES:
            return found
    raise SystemExit(f"the first clip has {len(found)} faces, {FACES} are needed")


def clip_of(javsed: Path) -> Path:
    return javsed / pd.read_csv(javsed / "manifest.csv").path.iloc[0]


def random_network(base: str) -> nn.Module:
    """A published architecture with random weights that preserve the scale of activations."""
    torch.manual_seed(0)
    net = trunks.empty(base)
    for module in net.modules():
        if any(value.is_meta for value in module.parameters(recurse=False)):  # while it has no weights
            module.to_empty(device="cpu", recurse=False).reset_parameters()
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return net.eval().requires_grad_(False)


def gflop(net: nn.Module, size: int) -> float:
    """Multiplications and additions per face, 1e9."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, size, size))
    return counter.get_total_flops() / 1e9


def product() -> Callable[[], torch.Tensor]:
    """A product of two large matrices: the machine's rate in float32."""
    return partial(torch.mm, *torch.randn(2, SIDE, SIDE))


def rate(seconds: float) -> float:
    """GFLOP/s of that product."""
    return 2 * SIDE**3 / 1e9 / seconds


def compact(sights: list, rounds: int) -> dict:
    """The preset's networks: torch, one face at a time, against the stage, and against the machine's matrix rate."""
    rows = {}
    for slot, name in PRESETS["compact"].items():
        net, crop = catalogue.load(name), catalogue.find(name).crop
        crops = np.stack([warp(*sight, crop) for sight in sights])
        began = time.perf_counter()
        stage = engines.opened(net, crop.size, name=name, engine="auto", device=CPU)
        opening = time.perf_counter() - began
        contenders = {"eager_batch_1": partial(one_by_one, net), "stage": partial(in_batches, stage, batch=8)}
        times = in_turn(
            {**{key: partial(work, crops) for key, work in contenders.items()}, "product": product()}, rounds
        )
        work, ms = gflop(net, crop.size), {key: 1e3 * times[key] / FACES for key in contenders}
        ms["at_matrix_rate"] = 1e3 * work / rate(times["product"])
        rows[slot] = {
            "network": name,
            "gflop": round(work, 3),
            "faces_per_s": {key: round(1e3 / value, 1) for key, value in ms.items()},
            "ms": ms,
            "opening_s": round(opening, 2),
        }
    total = {key: sum(row["ms"][key] for row in rows.values()) for key in ms}
    rows["all four"] = {
        "gflop": round(sum(row["gflop"] for row in rows.values()), 3),
        "faces_per_s": {key: round(1e3 / value, 1) for key, value in total.items()},
        "ms": total,
        "opening_s": round(sum(row["opening_s"] for row in rows.values()), 2),
    }
    for row in rows.values():
        row["ratio"] = round(row["ms"]["eager_batch_1"] / row["ms"]["stage"], 2)
        row["ratio_at_matrix_rate"] = round(row["ms"]["eager_batch_1"] / row["ms"]["at_matrix_rate"], 2)
        row["ms"] = {key: round(value, 2) for key, value in row["ms"].items()}
    return rows


def by_batch(sights: list, rounds: int) -> list[dict]:
    """Every engine at every batch size, with the error of its features; including refused ones."""
    rows = []
    for name in PRESETS["compact"].values():
        net, crop = catalogue.load(name), catalogue.find(name).crop
        crops = np.stack([warp(*sight, crop) for sight in sights])
        wanted = one_by_one(net, crops)
        tried = {
            "eager": lambda crops, net=net: embed(net, crops, device=CPU, batch=len(crops)),
            "onnxruntime": engines.onnx_runtime(net, crop.size, CPU),
            "bfloat16": partial(bfloat16, net.to(memory_format=torch.channels_last)),
        }
        for engine, features in tried.items():
            worst = error(in_batches(features, crops, 8), wanted)
            times = in_turn({str(b): partial(in_batches, features, crops, b) for b in BATCHES}, rounds)
            rows.append(
                {
                    "network": name,
                    "engine": engine,
                    "faces_per_s": {batch: round(FACES / value, 1) for batch, value in times.items()},
                    "error": float(f"{worst:.1e}"),
                    "within_tolerance": worst <= engines.TOLERANCE,
                }
            )
    return rows


def large(sights: list, rounds: int) -> dict:
    """The architectures of the preset `paper`: all against the matrix product, VGG-16 against torch face by face."""
    rows = {}
    for slot, name in PRESETS["paper"].items():
        card = catalogue.find(name)
        net = random_network(card.base or name)
        crops = np.stack([warp(*sight, card.crop) for sight in sights[:8]])
        stage = engines.opened(net, card.crop.size, name=name, engine="auto", device=CPU)
        contenders = {"stage": partial(stage, crops), "product": product()}
        if slot == "EF-VGG":
            contenders["eager_batch_1"] = partial(one_by_one, net, crops[:2])
        times, work = in_turn(contenders, rounds), gflop(net, card.crop.size)
        reached, possible = 8 * work / times["stage"], rate(times["product"])
        rows[slot] = {
            "architecture": card.base or name,
            "gflop": round(work, 2),
            "ms": round(1e3 * times["stage"] / 8, 2),
            "gflop_per_s": {"stage": round(reached, 1), "matrix_product": round(possible, 1)},
            "share_of_matrix_rate": round(reached / possible, 3),
        }
        if slot == "EF-VGG":
            eager = times["eager_batch_1"] / 2
            rows[slot]["ratio"] = round(eager / (times["stage"] / 8), 2)
            rows[slot]["ratio_at_matrix_rate"] = round(eager / (work / possible), 2)
    return rows


def outside(javsed: Path, sights: list, preset: str, ms: float, rounds: int) -> dict:
    """Work of the stage apart from the networks, per frame: decoding, and a crop for each network."""
    crops = [catalogue.find(name).crop for name in PRESETS[preset].values()]
    count = sum(1 for _ in media.frames(clip_of(javsed)))
    times = in_turn(
        {
            "decode": lambda: sum(1 for _ in media.frames(clip_of(javsed))),
            "cut": lambda: [warp(*sight, crop) for sight in sights for crop in crops],
        },
        rounds,
    )
    decode, cut = 1e3 * times["decode"] / count, 1e3 * times["cut"] / len(sights)
    return {
        "decode_ms": round(decode, 2),
        "cut_ms": round(cut, 2),
        "networks_ms": round(ms, 2),
        "share": round((decode + cut) / (decode + cut + ms), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--javsed", type=Path, default=Path("../shared/data/javsed"))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    sights, figures = sighted(options.javsed), {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        figures[f"threads_{threads}"] = {
            "compact": compact(sights, options.rounds),
            "large": large(sights, max(2, options.rounds // 2)),
        }
    torch.set_num_threads(1)
    one = figures["threads_1"]
    together = {
        "compact": one["compact"]["all four"]["ms"]["stage"],
        "paper": sum(row["ms"] for row in one["large"].values()),
    }
    figures["batches_1_thread"] = by_batch(sights, max(2, options.rounds // 2))
    figures["outside_1_thread"] = {
        preset: outside(options.javsed, sights, preset, ms, options.rounds) for preset, ms in together.items()
    }
    ratios = {
        "networks_compact": one["compact"]["all four"]["ratio"],
        "networks_compact_at_matrix_rate": one["compact"]["all four"]["ratio_at_matrix_rate"],
        "networks_compact_2_threads": figures["threads_2"]["compact"]["all four"]["ratio"],
        "vgg16_fc6": one["large"]["EF-VGG"]["ratio"],
        "vgg16_fc6_at_matrix_rate": one["large"]["EF-VGG"]["ratio_at_matrix_rate"],
        "vgg16_fc6_2_threads": figures["threads_2"]["large"]["EF-VGG"]["ratio"],
        "share_of_matrix_rate": one["large"]["EF-VGG"]["share_of_matrix_rate"],
        "outside_large": figures["outside_1_thread"]["paper"]["share"],
    }
    publish(Path("docs/results/networks.json"), {"ratios": ratios, "goals": GOALS, **figures})


if __name__ == "__main__":
    main()
