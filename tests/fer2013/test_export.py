"""What is shipped: a small file, and a card whose figures are those of that file."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from toy_fer2013 import CPU, NAME, prepared, run, toy

from deepfusion.errors import UserError
from deepfusion.fer2013 import augment, train
from deepfusion.fer2013.align import to_crop
from deepfusion.fer2013.data import VOTES
from deepfusion.fer2013.export import figures, ship
from deepfusion.fer2013.metrics import calibration_error
from deepfusion.networks import catalogue
from deepfusion.networks.models import compact_vgg


@pytest.fixture(scope="module", autouse=True)
def narrow():
    """The compact VGG with few filters, and a mean over few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compact_vgg, "GROUPS", [(8, 1)] * 4)
        patch.setattr(train, "AVERAGE", 0.9)
        yield


@pytest.fixture(scope="module")
def trained(narrow, tmp_path_factory):
    """Prepared images, and a folder with a network that has learnt a part of them."""
    folder = tmp_path_factory.mktemp("trained")
    data = prepared(folder / "fer2013.npz", *toy(240))
    return data, run(data, folder / "run", epochs=5)


def by_hand(file, usage):
    """Accuracy and calibration error of a shipped file; the second one tells files apart that say the same."""
    data, found = toy(240)
    rows = np.flatnonzero(data.usage == usage)
    card = catalogue.find(NAME)
    theta = augment.thetas(to_crop(found, card.crop)[rows], card.crop.size)
    net = catalogue.load(NAME, weights=file)
    with torch.no_grad():
        said = net.logits(augment.crops(torch.tensor(data.images[rows]), theta, card.crop.size)).softmax(1).numpy()
    return float(np.mean(said.argmax(1) == data.labels[rows])), calibration_error(said, data.labels[rows])


@pytest.mark.parametrize("storage", ["int8", "float16", "float32"])
def test_the_card_has_the_figures_of_the_file(tmp_path, trained, storage):
    data, run = trained
    ship(data, run, tmp_path / "weights", storage=storage, usages=("PublicTest", "PrivateTest"), device=CPU)
    assert sorted(path.name for path in (tmp_path / "weights").iterdir()) == [f"{NAME}.json", f"{NAME}.safetensors"]
    file = tmp_path / "weights" / f"{NAME}.safetensors"
    card = json.loads(file.with_suffix(".json").read_text())
    for name, usage in (("public", "PublicTest"), ("private", "PrivateTest")):
        accuracy, error = by_hand(file, usage)
        assert card["fer2013"][f"{name}_test"] == card["fer2013"][name]["accuracy"] == pytest.approx(accuracy)
        assert card["fer2013"][name]["ece"] == pytest.approx(error, abs=1e-5)
    assert 0.2 < card["fer2013"]["public_test"] < 1  # a figure that could be another
    assert card["storage"] == {
        "type": storage,
        "bytes": file.stat().st_size,
        "public_test_as_trained": pytest.approx(by_hand(run / "model.safetensors", "PublicTest")[0]),
    }
    assert card["name"] == NAME and card["base"] == "compact-vgg"
    assert card["feature"]["dimension"] == 4096 and card["feature"]["crop"]["template"] == "dlib"
    assert card["training"]["recipe"]["epochs"] == 5
    tensors = load_file(file)
    wanted = {"int8": torch.int8, "float16": torch.float16, "float32": torch.float32}[storage]
    assert tensors["trunk.fc6.weight"].dtype == wanted


def test_figures_of_each_part():
    data, _ = toy(42)
    public, private = (np.flatnonzero(data.usage == usage) for usage in ("PublicTest", "PrivateTest"))
    images, ambiguous = data.images.copy(), np.zeros(42, bool)
    images[public[3]] = images[public[2]]  # counted once among the clean
    ambiguous[public[4]] = True
    votes = np.zeros((42, 10), np.int64)
    votes[:, VOTES.index("happiness")] = 6
    votes[:, VOTES.index("contempt")] = 4
    votes[private[0]] = 0
    votes[private[0], [VOTES.index("anger"), VOTES.index("fear")]] = 5  # no emotion has more than half
    votes[private[1]] = 0
    votes[private[1], [VOTES.index("contempt"), VOTES.index("sadness")]] = 7, 3  # the most votes are for none of them
    data = replace(data, images=images, ambiguous=ambiguous, votes=votes)
    happy = np.tile(np.eye(7)[3], (7, 1))
    made = figures(data, {"PublicTest": np.eye(7)[data.labels[public]], "PrivateTest": happy})
    assert made["public_test"] == 1 and made["private_test"] == pytest.approx((data.labels[private] == 3).mean())
    assert [made[name]["n"] for name in ("public", "public_clean", "private", "private_clean")] == [7, 5, 7, 7]
    assert made["private"]["accuracy"] == made["private_test"]
    assert made["public_ferplus"]["n"] == 7 and made["private_ferplus"]["n"] == 5
    assert made["private_ferplus"]["accuracy"] == 1
    assert made["public_ferplus"]["accuracy"] == pytest.approx((data.labels[public] == 3).mean())
    assert set(figures(replace(data, votes=None), {"PublicTest": happy})) == {"public_test", "public", "public_clean"}


@pytest.mark.parametrize("content", [None, "no json", "[]", "{}", '{"model": "fbp"}'])
def test_a_folder_of_something_else(tmp_path, trained, content):
    folder = tmp_path / "other"
    folder.mkdir()
    if content is not None:
        (folder / "model.json").write_text(content)
    with pytest.raises(UserError, match="other: not a folder of `snakemake finetune`") as error:
        ship(trained[0], folder, tmp_path / "weights", storage="int8", usages=("PublicTest",), device=CPU)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "weights").exists()


def test_weights_that_are_missing(tmp_path, trained):
    (tmp_path / "model.json").write_text((trained[1] / "model.json").read_text())
    with pytest.raises(UserError, match=r"model\.safetensors"):
        ship(trained[0], tmp_path, tmp_path / "weights", storage="int8", usages=("PublicTest",), device=CPU)
