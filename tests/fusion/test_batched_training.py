"""Training many networks in one computation: each is what it would be alone."""

import copy
from dataclasses import replace

import pytest
import torch

from deepfusion.config import NetworkShape, TrainingSettings
from deepfusion.errors import UserError
from deepfusion.fusion import batched_training as module
from deepfusion.fusion.batched_training import (
    LARGEST_GRADIENT,
    Columns,
    Reduced,
    Task,
    additive_effects,
    class_weights,
    clip_grad_norms,
    draw,
    padded,
    predict,
    speaker_effects,
    stacked,
    step_count,
    train_together,
)
from deepfusion.fusion.fusion_layers import FUSION_LAYERS
from deepfusion.fusion.network import Design, Network, Sizes

CPU = torch.device("cpu")
BOTH = ("audio", "video")
SHAPE = NetworkShape(reduced=4, k=2, o=3)
SETTINGS = TrainingSettings(epochs=6, batch=6, vectors=3, dropout=0.3, transposed=0.5)
CLIPS = 24
LABELS = torch.arange(CLIPS) % 3
SPEAKERS = [f"s{i // 6}" for i in range(CLIPS)]
ABSENT = (4, 17)  # clips without audio


def reduced(seed, width, whole, *, absent=()):
    """A modality of all clips, which carries the label a little."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 6, (CLIPS,), generator=generator)
    lengths[list(absent)] = 1
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    owner = torch.repeat_interleave(torch.arange(CLIPS), lengths)
    rows = torch.randn(len(owner), width, generator=generator)
    rows[:, 0] += LABELS[owner]
    rows += torch.tensor([int(name[1:]) for name in SPEAKERS])[owner, None]
    clip = torch.randn(CLIPS, whole, generator=generator)
    for i in absent:
        rows[offsets[i]], clip[i] = 0, 0
    return Reduced(Columns((rows,), (1.0,)), offsets, clip)


DATA = {"audio": reduced(0, 5, 2, absent=ABSENT), "video": reduced(1, 6, 0)}
TRAINS = [[i for i in range(CLIPS) if SPEAKERS[i] != f"s{held}"] for held in range(4)]
DESIGNS = {
    **{layer: Design(BOTH, layer) for layer in FUSION_LAYERS},
    "fbp_max": Design(BOTH, "fbp", "max"),
    "audio": Design(("audio",)),
}


def tasks_of(data=DATA, seeds=(0, 1)):
    return [Task(data, train, SPEAKERS, seed) for train in TRAINS for seed in seeds]


def train(tasks, *, design=DESIGNS["fbp"], settings=SETTINGS, shape=SHAPE, learning_rate=1e-2, labels=LABELS):
    sizes = {m: Sizes(of.rows.shape[1], of.clip.shape[1]) for m, of in tasks[0].data.items()}
    return train_together(
        lambda: Network(sizes, 3, design=design, shape=shape),
        tasks,
        labels,
        settings=settings,
        learning_rates=[learning_rate] * len(tasks),
        device=CPU,
    )


def predictions(networks, data=DATA):
    """(networks, clips, classes) probabilities."""
    return torch.stack([predict(network, data, range(CLIPS))[0].softmax(1) for network in networks])


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_a_network_is_the_same_alone_and_among_others(design):
    """Also its dropout and its transpositions; the order of the others does not matter."""
    # Rounding errors grow most in full bilinear pooling, whose weights are the most by far.
    equal = {"atol": 1e-3, "rtol": 1e-3} if design.layer == "bilinear" else {"atol": 1e-4, "rtol": 1e-4}
    data = {m: DATA[m] for m in design.modalities}
    tasks = tasks_of(data)
    shape = SHAPE.model_copy(update={"lam": "learned"})
    together = predictions(train(tasks, design=design, shape=shape), data)
    backwards = predictions(train(tasks[::-1], design=design, shape=shape), data).flip(0)
    torch.testing.assert_close(together, backwards, **equal)
    for i in (0, 5):
        alone = predictions(train(tasks[i : i + 1], design=design, shape=shape), data)
        torch.testing.assert_close(together[i], alone[0], **equal)
    assert (together[0] - together[1]).abs().max() > 1e-2  # seeds differ
    assert (together[0] - together[2]).abs().max() > 1e-2  # and folds


def test_a_seed_fixes_the_result_whatever_was_drawn_before():
    first = predictions(train(tasks_of()))
    torch.rand(7)
    assert torch.equal(predictions(train(tasks_of())), first)


@pytest.mark.parametrize("change", [{"dropout": 0.0}, {"transposed": 0.0}, {"smoothing": 0.0}, {"weight_decay": 1.0}])
def test_every_setting_of_the_training_matters(change):
    changed = train(tasks_of()[:1], settings=SETTINGS.model_copy(update=change))
    assert (predictions(changed) - predictions(train(tasks_of()[:1]))).abs().max() > 1e-4


@pytest.mark.parametrize("layer", ["concat_mlp", "fbp"])
def test_training_learns(layer):
    settings = SETTINGS.model_copy(update={"epochs": 60, "dropout": 0.0, "transposed": 0.0})
    networks = train(tasks_of(), design=DESIGNS[layer], settings=settings)
    assert not any(network.training for network in networks)
    for task, p in zip(tasks_of(), predictions(networks), strict=True):
        assert (p.argmax(1) == LABELS)[task.train].float().mean() > 0.8


def test_clips_that_are_not_trained_on_change_nothing():
    """Neither their features nor their labels."""
    data = {m: copy.deepcopy(of) for m, of in DATA.items()}
    labels, held = LABELS.clone(), [i for i in range(CLIPS) if SPEAKERS[i] == "s0"]
    for i in held:
        labels[i] = (labels[i] + 1) % 3
        for of in data.values():
            of.rows.parts[0][of.offsets[i] : of.offsets[i + 1]] += 10
            of.clip[i] -= 10
    same = train([Task(data, TRAINS[0], SPEAKERS, 0)], labels=labels)
    assert torch.equal(predictions(same), predictions(train(tasks_of()[:1])))


def test_one_step_of_one_network_is_plain_torch():
    """Without dropout and transposition: the weights after a step, by a loop with AdamW and gradient clipping."""
    settings = TrainingSettings(epochs=1, batch=18, vectors=3, dropout=0, transposed=0, weight_decay=0.1)
    task = tasks_of()[0]
    assert step_count(len(task.train), settings)[0] == 1
    (found,) = train([task], settings=settings)
    torch.manual_seed(task.seed)
    sizes = {m: Sizes(of.rows.shape[1], of.clip.shape[1]) for m, of in DATA.items()}
    plain = Network(sizes, 3, design=DESIGNS["fbp"], shape=SHAPE)
    steps, batch = step_count(len(task.train), settings)
    drawn = draw(task, LABELS, settings, steps=steps, batch=batch)
    optimiser = torch.optim.AdamW(plain.parameters(), lr=1e-2, weight_decay=0.1)
    inside = torch.ones(batch, 3, dtype=torch.bool)
    seen = {
        m: type(padded(of, [0]))(of.rows[drawn.rows[m][0]], inside, of.clip[drawn.clips[0]]) for m, of in DATA.items()
    }
    logits, _ = plain(seen)
    loss = torch.nn.functional.cross_entropy(logits, LABELS[drawn.clips[0]], label_smoothing=settings.smoothing)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(plain.parameters(), LARGEST_GRADIENT)
    optimiser.step()
    for (name, a), b in zip(found.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3, msg=name)  # half precision


def test_gradients_are_clipped_per_network():
    parameters = [torch.zeros(3, 4, 2, requires_grad=True), torch.zeros(3, requires_grad=True)]
    gradients = [torch.randn_like(p) for p in parameters]
    for p, g in zip(parameters, gradients, strict=True):
        g[0] *= 0.01
        g[2] *= 100
        p.grad = g.clone()
    clip_grad_norms([*parameters, torch.zeros(3, requires_grad=True)])  # the last one is not used
    for i in range(3):
        of = torch.cat([g[i].flatten() for g in gradients])
        wanted = of * min(1, LARGEST_GRADIENT / float(of.norm()))
        torch.testing.assert_close(torch.cat([p.grad[i].flatten() for p in parameters]), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("clips", "batch"), [(24, 24), (240, 24), (960, 48), (24000, 240)])
def test_steps_and_batch_grow_with_the_corpus(clips, batch):
    settings = TrainingSettings()
    steps, found = step_count(clips, settings)
    assert found == pytest.approx(batch, rel=0.06)
    assert steps == pytest.approx(settings.epochs * clips / batch, rel=0.06)


def test_step_count_never_falls_and_is_equal_for_folds_of_about_equal_size():
    counts = [step_count(clips, TrainingSettings()) for clips in range(1, 3000)]
    products = [steps * batch for steps, batch in counts]
    assert products == sorted(products)
    assert all(batch <= 1.1 * clips for clips, (_, batch) in enumerate(counts, start=1))
    assert len({step_count(clips, TrainingSettings()) for clips in range(200, 218)}) == 1
    assert len(set(counts)) < 90  # of 3,000 different sizes


def test_networks_of_other_lengths_are_not_trained_together():
    with pytest.raises(ValueError, match="too many values"):
        train([Task(DATA, TRAINS[0], SPEAKERS, 0), Task(DATA, TRAINS[0][:6], SPEAKERS, 0)])


def test_every_clip_is_drawn_once_before_any_comes_again():
    task = Task(DATA, TRAINS[1], SPEAKERS, 3)
    drawn = draw(task, LABELS, SETTINGS, steps=9, batch=6).clips.flatten().tolist()
    for start in range(0, 54, 18):
        assert sorted(drawn[start : start + 18]) == sorted(task.train)
    assert drawn[:18] != drawn[18:36]


def test_rows_are_of_their_clip_and_spread_over_its_length():
    drawn = draw(Task(DATA, TRAINS[1], SPEAKERS, 3), LABELS, SETTINGS, steps=9, batch=6)
    for m, of in DATA.items():
        rows, first = drawn.rows[m], of.offsets[drawn.clips][..., None]
        length = of.lengths[drawn.clips][..., None]
        assert ((rows >= first) & (rows < first + length)).all()
        third = torch.arange(3) * length / 3  # each row is from its own third of the clip
        assert ((rows - first >= third.floor()) & (rows - first < third + length / 3)).all()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_transposition_is_to_the_speaker_of_another_training_clip_of_the_class(share):
    settings = SETTINGS.model_copy(update={"transposed": share})
    drawn = draw(Task(DATA, TRAINS[1], SPEAKERS, 3), LABELS, settings, steps=300, batch=6)
    moved = (drawn.like != drawn.clips).float().mean()
    assert float(moved) == pytest.approx(share * 5 / 6, abs=0.04)  # 1 of 6 draws is the clip itself
    assert set(drawn.like.flatten().tolist()) == set(TRAINS[1])
    assert torch.equal(LABELS[drawn.like], LABELS[drawn.clips])


def regression(x, owner, labels):
    """Coefficients of the speakers in a least-squares regression on speaker and class."""
    design = torch.cat([torch.nn.functional.one_hot(owner), torch.nn.functional.one_hot(labels)], 1).double()
    return torch.linalg.lstsq(design, x.double(), driver="gelsd").solution[: int(owner.max()) + 1]


def test_speaker_effects_are_those_of_a_regression_on_speaker_and_class():
    of = DATA["audio"]
    assert of.present.tolist() == [i not in ABSENT for i in range(CLIPS)]
    train = [i for i in TRAINS[3] if i not in (0, 1, 8)]  # so that the speakers' classes differ
    effects = speaker_effects(of, train, SPEAKERS, LABELS)
    some = [i for i in train if i not in ABSENT]
    owner, labels = torch.tensor([int(SPEAKERS[i][1:]) for i in some]), LABELS[some]
    means = torch.stack([of.rows[of.offsets[i] : of.offsets[i + 1]].mean(0) for i in some])
    for found, x in ((effects.rows, means), (effects.clip, of.clip[some])):
        expected = regression(x, owner, labels)
        torch.testing.assert_close(found[1:3] - found[:1], (expected[1:] - expected[:1]).float(), atol=1e-4, rtol=1e-4)
    for i in range(CLIPS):
        row = effects.rows[effects.owner[i]]
        assert torch.equal(row, effects.rows[int(SPEAKERS[i][1:])]) if i in train else not row.any()


def test_with_equal_classes_the_effects_are_the_speakers_means():
    of, train = DATA["video"], TRAINS[3]
    effects = speaker_effects(of, train, SPEAKERS, LABELS).rows
    means = torch.stack([of.means[[i for i in train if SPEAKERS[i] == name]].mean(0) for name in ("s0", "s1", "s2")])
    torch.testing.assert_close(effects[:3], means - means.mean(0), atol=1e-5, rtol=1e-5)


def test_speakers_of_one_class_each_keep_their_class():
    """What speaker and class could both explain is not moved: transposing must not remove the class."""
    owner, labels = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 0, 0, 0, 1, 1])
    x = torch.tensor([1.0, 1.0, 3.0, 3.0, 9.0, 9.0])[:, None]
    found = additive_effects(x, owner, labels, speakers=4)[:, 0]
    torch.testing.assert_close(found, torch.tensor([-1.0, 1.0, 0.0, 0.0]))


def test_a_speaker_without_the_modality_has_an_effect_of_0():
    of = reduced(0, 5, 2, absent=range(6))
    effects = speaker_effects(of, TRAINS[3], SPEAKERS, LABELS)
    rows, clip = effects.rows[effects.owner], effects.clip[effects.owner]
    assert rows.isfinite().all() and clip.isfinite().all()
    assert not rows[:6].any() and rows[6:12].any()


def test_transposition_moves_a_clip_by_the_difference_of_the_effects():
    from deepfusion.fusion.batched_training import _Steps

    settings = SETTINGS.model_copy(update={"transposed": 1.0})
    task = Task(DATA, TRAINS[1], SPEAKERS, 3)
    drawn = draw(task, LABELS, settings, steps=4, batch=6)
    work = _Steps([task, Task(DATA, TRAINS[2], SPEAKERS, 4)], LABELS, settings, 4, 6, CPU)
    some = 0
    for step in range(4):
        for m, (values, whole) in work.batch(step).items():
            of, effects = DATA[m], speaker_effects(DATA[m], task.train, SPEAKERS, LABELS)
            rows, clips = effects.rows[effects.owner], effects.clip[effects.owner]
            for b in range(6):
                i, like = int(drawn.clips[step, b]), int(drawn.like[step, b])
                if m == "audio" and i in ABSENT:  # what stands in for its voice belongs to nobody
                    like, some = i, some + 1
                moved = rows[like] - rows[i]
                torch.testing.assert_close(values[0, b], of.rows[drawn.rows[m][step, b]] + moved)
                torch.testing.assert_close(whole[0, b], of.clip[i] + clips[like] - clips[i])
    assert some


def test_class_weights_make_all_classes_count_alike():
    labels, train = torch.tensor([0, 0, 0, 1, 2, 2, 3]), [0, 1, 2, 3, 4, 5]
    weights = class_weights(labels, train, TrainingSettings(balance="weighted"))
    per_class = [float(weights[c]) * n for c, n in enumerate([3, 1, 2])]
    assert per_class == pytest.approx([2, 2, 2])  # 6 clips of 3 classes
    assert class_weights(labels, train, TrainingSettings(balance="none")).tolist() == [1, 1, 1, 1]


def test_balance_reaches_the_loss():
    labels = (torch.arange(CLIPS) % 6 == 0).long()
    share = {}
    for balance in ("none", "weighted"):
        settings = SETTINGS.model_copy(update={"balance": balance, "epochs": 12})
        share[balance] = float(predictions(train(tasks_of(), settings=settings, labels=labels))[..., 1].mean())
    assert share["weighted"] > share["none"] + 0.1


@pytest.mark.parametrize("learning_rate", [1e30, float("inf")])
def test_a_training_that_diverges_ends_with_a_line(learning_rate):
    with pytest.raises(UserError, match=r"training diverged in step \d+: .*lower fusion\.learning_rates") as caught:
        train(tasks_of()[:2], learning_rate=learning_rate)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("at_once", [1, 5, 256])
def test_a_prediction_does_not_depend_on_the_batch(at_once):
    (network,) = train(tasks_of()[:1])
    wanted, weights = predict(network, DATA, range(CLIPS), at_once=256)
    order = torch.randperm(CLIPS).tolist()
    found, other = predict(network, DATA, order, at_once=at_once)
    torch.testing.assert_close(found, wanted[order], atol=1e-6, rtol=1e-6)
    for m, of in DATA.items():
        for place, i in enumerate(order):
            assert len(other[m][place]) == of.lengths[i]
            torch.testing.assert_close(other[m][place], weights[m][i], atol=1e-6, rtol=1e-6)
            assert float(other[m][place].sum()) == pytest.approx(1, abs=1e-5)


def test_padded_rows_are_those_of_the_clips():
    of = DATA["audio"]
    batch = padded(of, [3, 0])
    for place, i in enumerate([3, 0]):
        length = int(of.lengths[i])
        assert torch.equal(batch.values[place, :length], of.rows[of.offsets[i] : of.offsets[i + 1]])
        assert batch.inside[place].tolist() == [t < length for t in range(batch.values.shape[1])]
        assert torch.equal(batch.clip[place], of.clip[i])


def test_columns_are_the_first_of_several_matrices_times_their_factors():
    a, b = torch.randn(7, 4), torch.randn(7, 6)
    columns = Columns((a[:, :2], b[:, :3].half()), (2.0, 0.5))
    wanted = torch.cat([2 * a[:, :2], 0.5 * b[:, :3].half().float()], 1)
    assert columns.shape == wanted.shape and len(columns) == 7
    for rows in (slice(None), slice(2, 5), torch.tensor([6, 0, 0]), torch.tensor([[1, 2], [3, 4]])):
        assert columns[rows].dtype == torch.float32
        torch.testing.assert_close(columns[rows], wanted[rows])


@pytest.mark.parametrize("at_once", [1, 4, 10_000])
def test_the_mean_row_of_each_clip_does_not_depend_on_how_many_are_held(at_once, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    of = reduced(5, 3, 0)
    wanted = torch.stack([of.rows[of.offsets[i] : of.offsets[i + 1]].mean(0) for i in range(CLIPS)])
    torch.testing.assert_close(of.means, wanted)


def test_slices_of_one_tensor_are_stacked_without_a_copy():
    whole = torch.randn(3, 5, 4)
    tables = [whole[2, :, :3], whole[0, :, :3], whole[2, :, :3]]
    values, begin = stacked(tables)
    assert values.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()
    for start, table in zip(begin.tolist(), tables, strict=True):
        assert torch.equal(values[start : start + 5], table)


def test_other_tables_are_stacked_each_once():
    a, b = torch.randn(5, 3), torch.randn(2, 3)
    values, begin = stacked([a, b, a])
    assert begin.tolist() == [0, 5, 0] and torch.equal(values, torch.cat([a, b]))


def test_networks_of_several_folds_learn_from_slices_of_one_tensor_as_from_tables_of_their_own():
    whole = torch.randn(2, len(DATA["audio"].rows), 9, generator=torch.Generator().manual_seed(0))
    folds = [replace(DATA["audio"], rows=Columns((of[:, :2], of[:, 4:7]), (1.0, 3.0))) for of in whole]
    own = [replace(of, rows=Columns((of.rows[:],), (1.0,))) for of in folds]
    design = DESIGNS["audio"]

    def trained(data):
        tasks = [Task({"audio": of}, TRAINS[i], SPEAKERS, 0) for i, of in enumerate(data)]
        return [predict(n, t.data, range(CLIPS))[0] for n, t in zip(train(tasks, design=design), tasks, strict=True)]

    for a, b in zip(trained(folds), trained(own), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
