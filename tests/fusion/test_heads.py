"""Heads against loops over clips, and heads trained together against heads trained one by one."""

import numpy as np
import pytest
import torch

from deepfusion.config import HeadSettings
from deepfusion.fusion.heads import EPSILON, JOINS, Design, Head, maximum, statistics
from deepfusion.fusion.together import Task, draw, judge, shorten, speaker_means, train_together
from deepfusion.fusion.tokens import joined

SETTINGS = HeadSettings(reduced=4, k=2, o=3, dropout=0, batch=4, steps=6, tokens=3, learning_rate=0.01)
DESIGNS = {
    "audio": Design("sound"),
    "video": Design("faces"),
    "video_max": Design("faces", pooling="max"),
    **{join: Design("both", join) for join in JOINS},
    "fbp_mean": Design("both", "fbp", "mean"),
}
M, N, CLASSES = 5, 6, 3
SPEAKERS = ["a"] * 3 + ["b"] * 3 + ["c"] * 2 + ["d"] * 4


def new_head(design, settings=SETTINGS):
    return Head(M, N, CLASSES, design=design, settings=settings)


@pytest.fixture
def tasks():
    rng = np.random.default_rng(0)

    def tokens(size):
        return joined([rng.normal(size=(rng.integers(1, 9), size)).astype(np.float32) for _ in range(12)])

    first, second = ((tokens(M), tokens(N)) for _ in range(2))
    return [
        Task(*first, train=range(8), speakers=SPEAKERS, seed=0),
        Task(*first, train=range(8), speakers=SPEAKERS, seed=1),
        Task(*second, train=range(3, 12), speakers=SPEAKERS, seed=0),  # another fold: other tokens, more training clips
    ]


LABEL = torch.tensor([0, 1, 2] * 4)


def test_statistics_are_the_weighted_mean_and_deviation():
    x, alpha = torch.randn(3, 4, 5), torch.rand(3, 4).softmax(1)
    alpha[1] = torch.tensor([0.0, 1.0, 0.0, 0.0])  # one token: no deviation
    found = statistics(alpha, x)
    for i in range(3):
        weight, rows = alpha[i].double(), x[i].double()
        mean = (weight[:, None] * rows).sum(0)
        deviation = ((weight[:, None] * (rows - mean) ** 2).sum(0) + EPSILON).sqrt()
        torch.testing.assert_close(found[i].double(), torch.cat([mean, deviation]), atol=1e-5, rtol=1e-4)


def test_maximum_is_taken_within_each_clip():
    x, inside = torch.randn(3, 4, 5) - 5, torch.arange(4) < torch.tensor([2, 4, 1])[:, None]
    x[~inside] = 0  # more than any that counts
    want = torch.stack([rows[own].amax(0) for rows, own in zip(x, inside, strict=True)])
    assert torch.equal(maximum(x, inside), want)


@pytest.mark.parametrize("name", DESIGNS)
def test_a_clip_is_judged_alone_as_in_company(name, tasks):
    torch.manual_seed(0)
    head = new_head(DESIGNS[name]).eval()
    together, weights = judge(head, tasks[0], range(12))
    for i in range(12):
        alone, own = judge(head, tasks[0], [i])
        torch.testing.assert_close(together[i], alone[0], atol=1e-6, rtol=1e-5)
        for alpha in own.values():
            assert alpha.sum().item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(together.sum(1), torch.ones(12, dtype=torch.float64))
    assert set(weights) == {"audio": {"sound"}, "video": {"faces"}, "video_max": {"faces"}}.get(
        name, {"sound", "faces"}
    )


@pytest.mark.parametrize("name", DESIGNS)
def test_heads_trained_together_equal_heads_trained_one_by_one(name, tasks):
    def train(some):
        return train_together(
            lambda: new_head(DESIGNS[name]), some, LABEL, settings=SETTINGS, device=torch.device("cpu")
        )

    for head, task in zip(train(tasks), tasks, strict=True):
        (alone,) = train([task])
        torch.testing.assert_close(judge(head, task, range(12))[0], judge(alone, task, range(12))[0], atol=1e-4, rtol=0)
        torch.manual_seed(task.seed)
        untrained = judge(new_head(DESIGNS[name]).eval(), task, range(12))[0]
        assert (judge(head, task, range(12))[0] - untrained).abs().max() > 1e-3


@pytest.mark.parametrize("join", JOINS)
def test_the_number_of_threads_changes_nothing(join):
    """Heads of the usual size: smaller ones are not shared out."""
    settings = HeadSettings(steps=3)
    rng = np.random.default_rng(0)
    sound, faces = (joined(rng.normal(size=(12, 5, size)).astype(np.float32)) for size in (128, 400))
    some = [Task(sound, faces, train=range(8), speakers=SPEAKERS, seed=seed) for seed in range(6)]

    def trained(threads):
        torch.set_num_threads(threads)
        new = lambda: Head(128, 400, CLASSES, design=Design("both", join), settings=settings)  # noqa: E731
        heads = train_together(new, some, LABEL, settings=settings, device=torch.device("cpu"))
        return [value for head in heads for value in head.state_dict().values()]

    before = torch.get_num_threads()
    try:
        one, two = trained(1), trained(2)
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, one, two))


def test_training_equals_a_plain_loop(tasks):
    """A loop with torch's own parts: AdamW, gradient clipping, cosine."""
    task, design = tasks[2], DESIGNS["fbp"]
    (found,) = train_together(lambda: new_head(design), [task], LABEL, settings=SETTINGS, device=torch.device("cpu"))
    torch.manual_seed(task.seed)
    head, draws = new_head(design), draw(task, SETTINGS)
    optimiser = torch.optim.AdamW(head.parameters(), lr=0.01, weight_decay=SETTINGS.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, SETTINGS.steps)
    inside = torch.ones(4, 3, dtype=torch.bool)

    def transposed(tokens, rows, clips, like):
        values = tokens.vectors[rows]
        for place, (clip, other) in enumerate(zip(clips.tolist(), like.tolist(), strict=True)):
            for i, sign in ((clip, -1), (other, 1)):
                same = [j for j in task.train if SPEAKERS[j] == SPEAKERS[i]]
                means = [tokens.vectors[tokens.offsets[j] : tokens.offsets[j + 1]].mean(0) for j in same]
                values[place] += sign * sum(means) / len(means)
        return values

    for clips, like, sound, faces in zip(draws.clips, draws.like, draws.sound, draws.faces, strict=True):
        seen = [transposed(*pair, clips, like) for pair in ((task.sound, sound), (task.faces, faces))]
        logits, _ = head(seen[0], inside, seen[1], inside)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(logits, LABEL[clips], label_smoothing=SETTINGS.smoothing).backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    head.eval()
    torch.testing.assert_close(judge(found, task, range(12))[0], judge(head, task, range(12))[0], atol=1e-4, rtol=0)


def test_a_step_draws_training_clips_and_their_own_tokens(tasks):
    task = tasks[2]
    draws = draw(task, SETTINGS)
    first = draws.clips.flatten()[: len(task.train)]
    assert sorted(first.tolist()) == list(task.train)  # each once before any comes again
    for tokens, rows in ((task.sound, draws.sound), (task.faces, draws.faces)):
        rows = rows.flatten(0, 1)
        clips = draws.clips.flatten()
        assert (rows >= tokens.offsets[clips, None]).all()
        assert (rows < tokens.offsets[clips + 1, None]).all()
        assert (rows.diff(dim=1) >= 0).all()  # spread over the clip in its order


def test_no_other_clip_than_the_training_clips_is_looked_at(tasks):
    task = tasks[0]
    spoilt = task.sound.vectors.clone()
    spoilt[task.sound.offsets[8] :] = torch.nan
    other = Task(type(task.sound)(spoilt, task.sound.offsets), task.faces, task.train, task.speakers, task.seed)
    label = LABEL.clone()
    label[8:] = 0

    def train(task, label):
        (head,) = train_together(
            lambda: new_head(DESIGNS["fbp"]), [task], label, settings=SETTINGS, device=torch.device("cpu")
        )
        return head.state_dict()

    for before, after in zip(train(task, LABEL).values(), train(other, label).values(), strict=True):
        assert torch.equal(before, after)


def test_gradients_are_shortened_head_by_head():
    parameters = [torch.zeros(2, 3, requires_grad=True), torch.zeros(2, 4, 2, requires_grad=True), torch.zeros(2)]
    for p in parameters[:2]:
        p.grad = torch.ones_like(p)
        p.grad[0] *= 0.01
    shorten(parameters)
    length = sum(p.grad.flatten(1).square().sum(1) for p in parameters[:2]).sqrt()
    torch.testing.assert_close(length, torch.tensor([0.01 * 11**0.5, 1.0]), atol=1e-5, rtol=0)


def test_lambda_can_be_learned(tasks):
    settings = SETTINGS.model_copy(update={"lam": "learned"})
    (head,) = train_together(
        lambda: new_head(DESIGNS["fbp"], settings), tasks[:1], LABEL, settings=settings, device=torch.device("cpu")
    )
    assert head.sound.attention.lam.item() != pytest.approx(0.3, abs=1e-6)


def test_the_mean_of_a_speaker_is_that_of_the_training_clips(tasks):
    tokens, train = tasks[0].sound, [0, 1, 3, 6]
    means = speaker_means(tokens, train, SPEAKERS)
    clips = [tokens.vectors[first:last].mean(0) for first, last in zip(tokens.offsets, tokens.offsets[1:])]  # noqa: B905
    for i, like in ((0, [0, 1]), (1, [0, 1]), (3, [3]), (6, [6])):
        torch.testing.assert_close(means[i], torch.stack([clips[j] for j in like]).mean(0))
    assert not means[[2, 4, 5, 7, 8, 9, 10, 11]].any()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_clips_is_transposed_to_training_speakers(share, tasks):
    drawn = draw(tasks[2], SETTINGS.model_copy(update={"transposed": share, "steps": 200}))
    assert {SPEAKERS[i] for i in drawn.like.flatten().tolist()} == {"b", "c", "d"}
    moved = (drawn.like != drawn.clips).float().mean().item()
    assert moved == pytest.approx(share * 8 / 9, abs=0.08)


def test_whose_clips_they_are_is_nothing_that_a_transposed_head_can_learn(tasks):
    """Labels that the speaker's mean alone tells: seen as they are they are learned, transposed they are not."""
    rng = np.random.default_rng(0)
    speakers = [name for name in "abc" for _ in range(4)]
    label = torch.tensor([0] * 4 + [1] * 4 + [2] * 4)
    clips = [rng.normal(size=(5, N)).astype(np.float32) * 0.3 + 3 * np.eye(N)[int(i)] for i in label]
    clips = joined([clip.astype(np.float32) for clip in clips])
    said = {}
    for share in (0.0, 1.0):
        settings = SETTINGS.model_copy(update={"transposed": share, "steps": 80})
        task = Task(clips, clips, range(12), speakers, seed=0)
        (head,) = train_together(
            lambda settings=settings: Head(N, N, 3, design=Design("faces"), settings=settings),
            [task],
            label,
            settings=settings,
            device=torch.device("cpu"),
        )
        said[share] = judge(head, task, range(12))[0][range(12), label].mean().item()
    assert said[0.0] > 0.8
    assert said[1.0] < 0.55
