"""Training speed: the ragged trainer against a padded DataLoader and a loop over clips; heads together or one by one.

python benchmarks/trainer.py [results/javsed/features.h5]

Everything on the same clips and weights, one thread unless said otherwise, all ways in turn within each round, medians
of the rounds.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from deepfusion.fusion.data import ClipDataset, collate
from deepfusion.fusion.heads import Design, Head
from deepfusion.fusion.together import Task, judge, train_together
from deepfusion.fusion.tokens import Tokens
from deepfusion.fusion.train import batches, new_model
from deepfusion.networks.alexnet_audio import output_length
from provenance import publish
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader

from deepfusion import FeatureStore
from deepfusion.config import FusionSettings, StudySettings
from deepfusion.corpora.folds import folds
from deepfusion.fusion.attention import VideoAttention
from deepfusion.fusion.study import part, read_corpus, tables
from deepfusion.heap import keep_freed_memory

# What no way to train can leave out: the products of the convolutions and of the linear layers.
ARITHMETIC = ("aten::mkldnn_convolution", "aten::convolution_backward", "aten::mm", "aten::addmm", "aten::bmm")
HEADS = 50
COMPARED = 10  # heads that are trained both ways without dropout


class Padded(nn.Module):
    """The same FBP model over padded batches with masks, as it is usually written; it shares the weights."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    @staticmethod
    def attend(attention: nn.Module, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, L, C) vectors, (B, L) bool -> (B, C')."""
        values = attention.W(x) if isinstance(attention, VideoAttention) else x
        e = attention.u(torch.tanh(values if isinstance(attention, VideoAttention) else attention.W(x)))[..., 0]
        alpha = (attention.lam * e).masked_fill(~mask, -torch.inf).softmax(1)
        return (alpha[..., None] * values).sum(1)

    def forward(self, spectrogram, length, faces, frames):
        """A padded batch -> logits."""
        audio, video = self.model.audio, self.model.video
        maps, row = audio.encoder(audio.standardise(spectrogram).mT, length)
        pieces = maps.split(torch.bincount(row, minlength=len(length)).tolist())
        padded = pad_sequence(pieces, batch_first=True)
        counts = torch.tensor([len(piece) for piece in pieces])
        a = self.attend(audio.attention, padded, torch.arange(padded.shape[1]) < counts[:, None])
        mask = torch.arange(faces.shape[1]) < frames[:, None]
        v = self.attend(video.attention, video.standardise(faces.flatten(0, 1)).unflatten(0, faces.shape[:2]), mask)
        return self.model.classifier(self.model.fbp(a, v))


def pad(clips):
    return (
        pad_sequence([clip.spectrogram for clip in clips], batch_first=True),
        torch.tensor([len(clip.spectrogram) for clip in clips]),
        pad_sequence([clip.faces for clip in clips], batch_first=True),
        torch.tensor([len(clip.faces) for clip in clips]),
        torch.tensor([clip.label for clip in clips]),
    )


class FromStore(torch.utils.data.Dataset):
    """A Dataset as one writes it first: every clip read from the store when it is asked for."""

    def __init__(self, path: Path, dataset: ClipDataset):
        self.path, self.dataset, self.store = path, dataset, None

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, i):
        if self.store is None:
            self.store = FeatureStore(self.path)
        clip = self.dataset[i]
        return self.dataset._read(self.store, clip.id, clip.label)


WAYS = ("ragged", "padded_dataloader", "padded_dataloader_workers", "loop_over_clips")


def epochs(path: Path) -> dict[str, Callable[[], None]]:
    """Each of `WAYS` to train one FBP model end to end for a further epoch, audio encoder included."""
    settings = FusionSettings()
    with FeatureStore(path) as store:
        dataset = ClipDataset(store, features=list(store.networks))
    everybody = range(len(dataset))
    model = new_model("fbp", dataset, everybody, settings, 0).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate)

    def epoch(judged):
        for logits, label in judged():
            loss = F.cross_entropy(logits, label)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()

    def ragged():
        for rows in batches(dataset, everybody, size=settings.batch, seed=0):
            batch = collate([dataset[i] for i in rows])
            yield model(batch), batch.label

    def loader(source, **options):
        def run():
            for *inputs, label in DataLoader(source, settings.batch, shuffle=True, collate_fn=pad, **options):
                yield Padded(model)(*inputs), label

        return run

    def per_clip():
        for rows in batches(dataset, everybody, size=settings.batch, seed=0):
            logits = torch.cat([model(collate([dataset[i]])) for i in rows])
            yield logits, torch.tensor([dataset[i].label for i in rows])

    ways = (ragged, loader(dataset), loader(FromStore(path, dataset), num_workers=1), per_clip)
    return {name: partial(epoch, way) for name, way in zip(WAYS, ways, strict=True)}


def epoch_seconds(path: Path, name: str) -> float:
    """Of the second epoch in this process, which must be a fresh one: ours keeps its memory, as the command does."""
    torch.set_num_threads(1)
    if name == "ragged":
        keep_freed_memory()
    epoch = epochs(path)[name]
    epoch()
    start = time.perf_counter()
    epoch()
    return time.perf_counter() - start


def one_model(path: Path, rounds: int) -> dict:
    """Seconds of an epoch of FBP by each way, and the arithmetic's share of ours."""
    assert int(output_length(torch.tensor(300))) == 8  # the encoder is the paper's
    seconds = {name: [] for name in WAYS}
    for name in WAYS * rounds:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            seconds[name].append(process.submit(epoch_seconds, path, name).result())
    return {
        **{name: statistics.median(values) for name, values in seconds.items()},
        "arithmetic_share": arithmetic_share(epochs(path)["ragged"]),
    }


def arithmetic_share(work: Callable[[], object]) -> float:
    """Share of the time of all operations that the products take."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        work()
    spent = {event.key: event.self_cpu_time_total for event in seen.key_averages()}
    return sum(spent.get(name, 0) for name in ARITHMETIC) / sum(spent.values())


def many_heads(path: Path, rounds: int) -> dict:
    """Seconds of 50 FBP heads (10 folds x 5 seeds), and how far their predictions are apart."""
    settings = StudySettings()
    corpus = read_corpus(path, settings)
    made = [part(corpus, fold, inner_folds=3) for fold in folds(corpus.speakers, protocol="loso")]
    tasks = []
    for fold in made:
        tokens = tables(corpus, fold, settings, by="training")
        tasks += [Task(tokens.sound[1.0], tokens.faces["all"], fold.train, corpus.speakers, seed) for seed in range(5)]
    tasks = tasks[:HEADS]
    tests = [fold.test for fold in made for _ in range(5)][:HEADS]
    m, n = tasks[0].sound.vectors.shape[1], tasks[0].faces.vectors.shape[1]

    def train(some, head, dtype=torch.float32, join="fbp"):
        def new_head():
            return Head(m, n, len(corpus.labels), design=Design("both", join), settings=head).to(dtype)

        return train_together(new_head, some, corpus.label, settings=head, device=torch.device("cpu"))

    ways = {
        "together": (1, [tasks]),
        "together_on_all_cores": (os.cpu_count(), [tasks]),
        "one_by_one": (1, [[task] for task in tasks]),
        "one_by_one_on_all_cores": (os.cpu_count(), [[task] for task in tasks]),
    }
    seconds = {name: [] for name in ("together_memory_given_back", *ways)}

    def measure(name, threads, groups):
        torch.set_num_threads(threads)
        start = time.perf_counter()
        for group in groups:
            train(group, settings.head)
        seconds[name].append(time.perf_counter() - start)

    for _ in range(rounds):
        measure("together_memory_given_back", *ways["together"])
    assert keep_freed_memory()  # as the commands do
    for _ in range(rounds):
        for name, way in ways.items():
            measure(name, *way)
    torch.set_num_threads(1)
    # Dropout draws for all heads at once: without it both ways are the same computation. In double precision, for
    # what rounding makes of so many steps is no property of the way.
    exact = settings.head.model_copy(update={"dropout": 0.0})
    some = [cast(task, torch.float64) for task in tasks[:COMPARED]]
    apart = {}
    for join in ("sum", "fbp"):
        together = train(some, exact, torch.float64, join)
        apart[join] = max(
            difference(head, train([task], exact, torch.float64, join)[0], task, test)
            for head, task, test in zip(together, some, tests, strict=False)
        )
    return {
        **{name: statistics.median(values) for name, values in seconds.items()},
        "arithmetic_share": arithmetic_share(lambda: train(tasks, settings.head)),
        "heads": len(tasks),
        "compared_heads": COMPARED,
        "largest_difference_of_a_probability": apart,
    }


def difference(a: Head, b: Head, task: Task, clips: list[int]) -> float:
    """Largest difference of a probability."""
    return (judge(a, task, clips)[0] - judge(b, task, clips)[0]).abs().max().item()


def cast(task: Task, dtype: torch.dtype) -> Task:
    """The same task in another precision."""
    sound, faces = (Tokens(each.vectors.to(dtype), each.offsets) for each in (task.sound, task.faces))
    return Task(sound, faces, task.train, task.speakers, task.seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path, nargs="?", default=Path("results/javsed/features.h5"))
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    heads = many_heads(args.store, args.rounds)
    print(heads, flush=True)
    epoch = one_model(args.store, args.rounds)
    one_by_one = min(heads["one_by_one"], heads["one_by_one_on_all_cores"])
    figures = {
        "seconds_of_an_epoch": epoch,
        "seconds_of_heads": heads,
        "ratios": {
            "trainer_vs_dataloader": epoch["padded_dataloader"] / epoch["ragged"],
            "trainer_vs_dataloader_from_store": epoch["padded_dataloader_workers"] / epoch["ragged"],
            "trainer_vs_loop": epoch["loop_over_clips"] / epoch["ragged"],
            # If nothing but the arithmetic took any time.
            "trainer_vs_dataloader_at_most": epoch["padded_dataloader"] / epoch["ragged"] / epoch["arithmetic_share"],
            "trainer_vs_loop_at_most": epoch["loop_over_clips"] / epoch["ragged"] / epoch["arithmetic_share"],
            "heads_batched_50": heads["one_by_one"] / heads["together"],
            # One by one, a head is too small to gain much by a second core.
            "heads_batched_50_all_cores": one_by_one / heads["together_on_all_cores"],
            "heads_kept_memory": heads["together_memory_given_back"] / heads["together"],
            "heads_batched_50_at_most": heads["one_by_one"] / heads["together"] / heads["arithmetic_share"],
        },
    }
    print(figures)
    publish(Path("docs/results/trainer.json"), figures)


if __name__ == "__main__":
    main()
