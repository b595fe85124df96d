"""The network, from its parts: padding never matters, and modalities that are not its own are ignored."""

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from deepfusion.config import NetworkShape
from deepfusion.fusion.attention import EPSILON, scaled_softmax
from deepfusion.fusion.fusion_layers import FUSION_LAYERS
from deepfusion.fusion.network import Design, Network, Rows, Sizes

SHAPE = NetworkShape(reduced=4, k=2, o=3)
SIZES = {"audio": Sizes(5, 2), "video": Sizes(6, 3)}
LENGTHS = {"audio": [3, 1, 6, 2], "video": [2, 7, 1, 4]}
CLASSES = 3


def network(design, *, shape=SHAPE, sizes=SIZES):
    torch.manual_seed(0)
    return Network(sizes, CLASSES, design=design, shape=shape).requires_grad_(False)


def clips(seed=0):
    """Of each modality: rows of each clip, and vectors of whole clips."""
    generator = torch.Generator().manual_seed(seed)
    rows = {m: [torch.randn(n, SIZES[m].rows, generator=generator) for n in LENGTHS[m]] for m in SIZES}
    return rows, {m: torch.randn(4, SIZES[m].clip, generator=generator) for m in SIZES}


def batch_of(some, filler=0.0):
    rows, whole = clips()
    batch = {}
    for m in SIZES:
        values = pad_sequence([rows[m][i] for i in some], batch_first=True, padding_value=filler)
        lengths = torch.tensor([LENGTHS[m][i] for i in some])
        batch[m] = Rows(values, torch.arange(values.shape[1]) < lengths[:, None], whole[m][some])
    return batch


BOTH = ("audio", "video")
DESIGNS = {
    **{layer: Design(BOTH, layer) for layer in FUSION_LAYERS},
    **{f"fbp_{pooling}": Design(BOTH, "fbp", pooling) for pooling in ("mean", "max")},
    **{m: Design((m,)) for m in BOTH},
}


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
@pytest.mark.parametrize("filler", [0.0, 50.0])
def test_padding_never_matters(design, filler):
    made = network(design)
    together, weights = made(batch_of([0, 1, 2, 3], filler))
    for i in range(4):
        alone, own = made(batch_of([i]))
        torch.testing.assert_close(together[i], alone[0], atol=1e-6, rtol=1e-5)
        for m in design.modalities:
            length = LENGTHS[m][i]
            torch.testing.assert_close(weights[m][i, :length], own[m][0], atol=1e-6, rtol=1e-5)
            assert not weights[m][i, length:].any()
            assert float(own[m].sum()) == pytest.approx(1, abs=1e-6)


def test_the_network_is_attention_fusion_layer_and_classifier():
    """The whole forward pass from its parts, one clip at a time."""
    made, (rows, whole) = network(Design(BOTH, "fbp")), clips()
    audio, video = made.branches["audio"], made.branches["video"]
    found, _ = made(batch_of([0, 1, 2, 3]))
    for i in range(4):

        def pooled(x, e):
            alpha = (SHAPE.lam * e).softmax(0)[:, None]
            mean = (alpha * x).sum(0)
            return torch.cat([mean, ((alpha * (x - mean) ** 2).sum(0) + EPSILON).sqrt()])

        a, v = rows["audio"][i], video.attention.W(rows["video"][i])
        e_a = torch.tanh(audio.attention.W(a)) @ audio.attention.u.weight[0]
        e_v = torch.tanh(v) @ video.attention.u.weight[0]
        of_audio = torch.cat([pooled(a, e_a), whole["audio"][i]])
        of_video = torch.cat([pooled(v, e_v), video.of_clip(whole["video"][i])])
        logits = made.classifier(made.layer(of_audio[None], of_video[None]))[0]
        torch.testing.assert_close(found[i], logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("modality", BOTH)
def test_pooling_by_mean_and_maximum(modality):
    rows, _ = clips()
    for pooling in ("mean", "max"):
        branch = network(Design((modality,), pooling=pooling)).branches[modality]
        found, alpha = branch(batch_of([0, 1, 2, 3])[modality])
        for i, own in enumerate(rows[modality]):
            values = branch.attention.reduce(own)
            wanted = values.mean(0) if pooling == "mean" else values.amax(0)
            torch.testing.assert_close(found[i, : values.shape[1]], wanted, atol=1e-6, rtol=1e-5)
            if pooling == "mean":
                torch.testing.assert_close(alpha[i, : len(own)], torch.full((len(own),), 1 / len(own)))


def test_a_learned_lambda_is_a_parameter_per_modality():
    made = network(Design(BOTH, "fbp"), shape=SHAPE.model_copy(update={"lam": "learned"}))
    assert {n for n, _ in made.named_parameters() if n.endswith("lam")} == {f"branches.{m}.attention.lam" for m in BOTH}
    fixed, _ = network(Design(BOTH, "fbp"))(batch_of([0, 1]))
    torch.testing.assert_close(made(batch_of([0, 1]))[0], fixed)  # it starts where the fixed one is
    made.branches["audio"].attention.lam.fill_(1.0)
    assert not torch.allclose(made(batch_of([0, 1]))[0][0], fixed[0], atol=1e-5)


def test_a_modality_that_is_not_its_own_is_ignored():
    made = network(Design(("audio",)))
    batch = batch_of([0, 1, 2, 3])
    alone, weights = made({"audio": batch["audio"]})
    assert torch.equal(made(batch)[0], alone) and weights.keys() == {"audio"}


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_streams_per_clip_may_be_missing(design):
    sizes = {m: Sizes(of.rows, 0) for m, of in SIZES.items()}
    batch = {m: Rows(of.values, of.inside, of.clip[:, :0]) for m, of in batch_of([0, 1]).items()}
    logits, _ = network(design, sizes=sizes)(batch)
    assert logits.shape == (2, CLASSES) and logits.isfinite().all()


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_the_dropout_mask_has_the_declared_size(design):
    made, batch = network(design), batch_of([0, 1, 2])
    logits, _ = made(batch, torch.zeros(3, made.dropped))
    torch.testing.assert_close(logits, made.classifier.bias.expand(3, -1))  # all is dropped
    assert torch.equal(made(batch, torch.ones(3, made.dropped))[0], made(batch)[0])


def test_attention_weights_are_those_of_the_softmax():
    made = network(Design(("video",)))
    batch = batch_of([0, 1, 2, 3])
    _, weights = made(batch)
    attention = made.branches["video"].attention
    e = attention.score(attention.reduce(batch["video"].values))
    assert torch.equal(weights["video"], scaled_softmax(e, batch["video"].inside, SHAPE.lam))
