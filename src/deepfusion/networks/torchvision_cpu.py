"""torchvision's models, also where torchvision is built for CUDA and torch for the CPU.

The default torchvision for Linux is built for CUDA, and its C extension cannot be loaded with a CPU torch.
Its import then fails, because it describes operators (`nms`) that the extension would have defined. Networks
need none of these operators: with their names defined, and no implementation, the import goes through.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch

SCHEMAS = [
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
]
_kept: list[torch.library.Library] = []  # the definitions live as long as this object


def models() -> ModuleType:
    """The module `torchvision.models`."""
    cpu_build = sys.platform == "linux" and torch.version.cuda is None and torch.version.hip is None
    if cpu_build and "torchvision" not in sys.modules and not _extension_loads():
        _kept.append(torch.library.Library("torchvision", "DEF"))
        for schema in SCHEMAS:
            _kept[0].define(schema)
    import torchvision.models

    return torchvision.models


def _extension_loads() -> bool:
    """Whether torchvision's own C extension works with this torch (if so, it is loaded now)."""
    folder = Path(importlib.util.find_spec("torchvision").origin).parent
    try:
        torch.ops.load_library(folder / "_C.so")
    except OSError:
        return False
    return True
