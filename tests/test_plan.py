"""What the workflow has to fetch and to make for a configuration."""

import pytest

from deepfusion.config import check
from deepfusion.errors import UserError
from deepfusion.plan import Plan


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({}, set()),
        ({"preset": "paper"}, {"vgg-face", "vggface2-resnet50", "facenet-vggface2"}),
        ({"networks": {"EF-A": {"network": "vgg-face"}, "EF-B": {"network": "sface"}}}, {"vgg-face"}),
        ({"networks": {"EF-A": {"network": "vgg-face", "weights": "mine.pth"}}}, set()),
        ({"networks": {"EF-A": {"network": "vgg-face"}, "EF-B": {"network": "vgg-face"}}}, {"vgg-face"}),
        ({"networks": {"EF-A": {"network": "vgg-face-fer2013"}}}, set()),
    ],
)
def test_what_is_fetched(values, names):
    assert Plan(check(values)).fetched == names


def test_an_unknown_network():
    with pytest.raises(UserError, match="did you mean 'sface'"):
        assert Plan(check({"networks": {"EF-A": {"network": "sfaec"}}})).fetched


def test_finetuning_makes_no_store_stale():
    plain, other = (Plan(check({"finetune": {"seed": seed}})).extraction_json for seed in (0, 1))
    assert plain == other
    assert plain != Plan(check({"preset": "paper"})).extraction_json
