"""Engines that compute a network: plain torch (the reference), or a faster one that gives the same features.

An engine is a function of crops, (N, S, S, 3) uint8 RGB -> (N, D) float32. When an engine other than the reference is
opened, it is compared with the reference on a photographed face, and refused if it differs by more than TOLERANCE.
Therefore the engine is not part of the cache key.
"""

import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from skimage import data
from torch import nn

from deepfusion.errors import UserError
from deepfusion.networks.inference import embed
from deepfusion.networks.optimize import folded, with_convolved_prelus

log = logging.getLogger(__name__)

Features = Callable[[np.ndarray], np.ndarray]
Engine = Literal["auto", "eager", "onnxruntime"]

TOLERANCE = 1e-3
"""Largest difference from the reference, as a share of a face's largest feature."""
BATCH = {"cpu": 8}
"""Crops per batch. Larger batches are slower on a CPU, whose caches no longer hold the maps; a GPU needs MANY."""
MANY = 128


def batch(device: torch.device) -> int:
    """Batch size for a device."""
    return BATCH.get(device.type, MANY)


def opened(module: nn.Module, size: int, *, name: str, engine: Engine, device: torch.device) -> Features:
    """Open the fastest engine for a network on this device, or the requested one.

    Args:
        module: a network of the catalogue.
        size: S of its crops, px.
        name: of the network, for messages.
        engine: "eager", "onnxruntime" (on a CPU), or "auto": the one for this device, or eager, with a warning, if that
            one cannot be opened or is not accurate.
        device: where to compute; a CPU engine uses as many threads as torch.

    Raises:
        UserError: the requested engine is not installed, is not for this device, fails, or gives other features.
    """
    reference = partial(embed, module, device=device, batch=batch(device))
    # On a GPU eager: half precision misses TOLERANCE (by a factor of 1.2 to 7 on an H200), and decoding is slower.
    wanted = {"cpu": "onnxruntime"}.get(device.type, "eager") if engine == "auto" else engine
    if wanted == "eager":
        return reference
    try:
        features = ENGINES[wanted](module, size, device)
        check(features, reference, size, what=f"{name} by {wanted}")
    except Exception as error:  # of an exporter or a session: of any kind
        refused = error if isinstance(error, UserError) else UserError(_failure(error, f"{name} by {wanted}"))
        if engine != "auto":
            raise refused from error
        log.warning("%s; torch's own, slower engine is used", refused)
        log.debug("%s by %s", name, wanted, exc_info=error)
        return reference
    return features


def _failure(error: Exception, what: str) -> str:
    """An engine's own error in one line."""
    return f"{what}: the engine fails here ({type(error).__name__}: {' '.join(str(error).split())[:200]})"


def check(features: Features, reference: Features, size: int, *, what: str) -> None:
    """Compare an engine with the reference on a photographed face.

    Raises:
        UserError: they differ by more than TOLERANCE, or a feature is not finite.
    """
    crops = faces(size)
    wanted, found = reference(crops), features(crops)
    error = np.inf
    if found.shape == wanted.shape:
        error = float((np.abs(found - wanted).max(1) / np.abs(wanted).max(1)).max())
    if not error <= TOLERANCE:  # also refuses NaN
        raise UserError(f"{what}: features differ from torch's in float32 by {error:.1e} of their scale: refused")
    log.info("%s: features differ from torch's in float32 by %.1e of their scale at most", what, error)


def faces(size: int) -> np.ndarray:
    """A public-domain portrait (NASA), cut in four ways, one mirrored and one dark: (4, size, size, 3) uint8."""
    portrait = data.astronaut()
    cuts = [portrait[y : y + side, x : x + side] for x, y, side in [(150, 40, 150), (160, 60, 130), (140, 20, 180)]]
    cuts = [cuts[0], cuts[1][:, ::-1], cuts[2], cuts[0] // 3]
    return np.stack([cv2.resize(np.ascontiguousarray(cut), (size, size), interpolation=cv2.INTER_AREA) for cut in cuts])


def onnx_runtime(module: nn.Module, size: int, device: torch.device) -> Features:
    """The network in ONNX Runtime, exported for each job, so that no file can be stale.

    Raises:
        UserError: the package is not installed, or the device is not a CPU.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise UserError("engine onnxruntime is not installed: pip install 'deepfusion[onnxruntime]'")
    if device.type != "cpu":
        raise UserError(f"engine onnxruntime runs on a CPU here, not on {device}: use engine auto or eager")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export(module, size, path)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda crops: session.run(None, {"crops": crops})[0]


def export(module: nn.Module, size: int, path: Path) -> None:
    """Export a network to ONNX: from uint8 crops, channels last, to features; any batch size.

    The exporter folds batch normalisation into the preceding convolutions. It is torch's older one: the newer one
    needs one more package, and its result is no faster.
    """
    net = with_convolved_prelus(folded(module))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the newer exporter, and about constant shapes, which are intended
        torch.onnx.export(
            net,
            (torch.from_numpy(faces(size)),),
            path,
            dynamo=False,
            input_names=["crops"],
            output_names=["features"],
            dynamic_axes={"crops": {0: "face"}, "features": {0: "face"}},
        )


ENGINES: dict[str, Callable[[nn.Module, int, torch.device], Features]] = {"onnxruntime": onnx_runtime}
"""Functions that open the engines other than the reference: module, S, device -> features."""
