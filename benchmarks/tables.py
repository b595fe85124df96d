"""Fill the tables of the documents from docs/results/*.json: python benchmarks/tables.py [--check].

A document marks the place: <!-- figures: NAME --> ... <!-- end of figures -->. With --check nothing is written, and the
exit status is 1 if a document differs from the measured figures.
"""

import json
import re
import sys
from pathlib import Path

from deepfusion.evaluation.summary import cells_of, summary_markdown

ROOT = Path(__file__).resolve().parents[1]
CARD = ROOT / "src/deepfusion/weights/model/model.json"
MARK = re.compile(r"(<!-- figures: (\S+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


# The models of the README's table.
FRONT_PAGE = {
    "audio": "audio alone",
    "video": "video alone",
    "concat": "both, concatenated",
    "late_product": "both, late fusion",
    "fbp": "FBP",
    "fbp_paper": "FBP in the paper's form, on faces and encoder alone",
}


def source(figures: dict, file: str, part: slice) -> str:
    """Provenance of the figures, as a line of text; `part`: which of the commands made this table."""
    made = figures["provenance"]
    machine = made["machine"]
    # The last command repeats those before it as options.
    commands = ", then ".join(f"`{command.partition(' --made-by ')[0]}`" for command in made["commands"][part])
    return (
        f"Measured by {commands} on {machine['cores']} cores of {machine['processor']}, {made['date']}, "
        f"commit {made['commit'][:7]} ([docs/results/{file}](/docs/results/{file}))."
    )


def train_fbp(figures: dict) -> str:
    """Models of `snakemake train_fbp`."""
    return _summary(figures["train_fbp"])


def train_fbp_by_speaker(figures: dict) -> str:
    """The same, features normalised by each speaker's own clips."""
    return _summary(figures["train_fbp_by_speaker"])


def front_page(figures: dict) -> str:
    """The README's table: six models of the study, and what FBP gains over concatenation and late fusion."""
    found = figures["study"]
    lines = ["| model | | accuracy, % | UAR, % |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {of} | {' | '.join(cells_of(found['models'][name])[:2])} |" for name, of in FRONT_PAGE.items()
    ]
    gains = {of["than"]: of for of in found["comparisons"] if of["model"] == "fbp"}

    def gain(than: str) -> str:
        of = gains[than]
        low, high = of["interval"]
        return (
            f"{100 * of['difference']:+.1f} points to `{than}` (95 % interval {100 * low:.1f} to {100 * high:.1f}, "
            f"p = {of['sign_flip_p_holm']:.2f})"
        )

    chance = 100 / len(found["models"]["fbp"]["labels"])
    return "\n".join(
        [
            *lines,
            "",
            f"Mean ± standard deviation over speakers; chance {chance:.1f}. Difference of `fbp`: {gain('concat')} and "
            f"{gain('late_product')}; sign-flip test over speakers, corrected for all {gains['concat']['comparisons']} "
            "comparisons of the study ([all models, and normalised by speaker](docs/fusion.md#java-sed)).",
        ]
    )


def recall(figures: dict) -> str:
    """Recall of each emotion: of FBP on Java-SED, and the range over speakers."""
    of = figures["train_fbp"]["models"]["fbp"]
    speakers = json.loads(CARD.read_text())["metrics"]["by_speaker"]
    return "\n".join(
        [
            f"| {' | '.join(of['recall'])} |",
            "|---" * len(of["recall"]) + "|",
            f"| {' | '.join(percent(share) for share in of['recall'].values())} |",
            "",
            f"recall in per cent; accuracy by speaker from {percent(min(speakers))} to {percent(max(speakers))} %",
        ]
    )


def recall_of_faces(figures: dict) -> str:
    """Recall of each emotion: of the mean of the four face networks on FER2013's PrivateTest."""
    names, counts = figures["emotions"], figures["mean"]["private"]["confusion"]
    shares = [row[i] / sum(row) for i, row in enumerate(counts)]
    return "\n".join(
        [
            f"| {' | '.join(names)} |",
            "|---" * len(names) + "|",
            f"| {' | '.join(percent(share) for share in shares)} |",
        ]
    )


def study(figures: dict) -> str:
    """All models of the study, and the claims in words."""
    return _summary(figures["study"])


def study_by_speaker(figures: dict) -> str:
    """The same, features normalised by each speaker's own clips."""
    return _summary(figures["study_by_speaker"])


def _summary(found: dict) -> str:
    attended = [
        f"attention of `{found['attention']['model']}` over the {modality}: spread as if "
        f"{100 * of['effective_share']:.1f} % of a clip's rows had equal weight (100 %: the plain mean)"
        for modality, of in found["attention"].items()
        if modality != "model"
    ]
    return summary_markdown(found, [*found["notes"], *attended])


def fusion_scale(figures: dict) -> str:
    """Memory and CPU time of training by corpus size."""
    lines = ["| clips | store, GB | peak memory, GB | CPU time, s |", "|---|---|---|---|"]
    for of in figures["corpora"]:
        lines.append(f"| {of['clips']:,} | {of['store_gb']:.1f} | {of['peak_gb']:.1f} | {of['cpu_s']:.0f} |")
    return "\n".join(lines)


def networks_together(figures: dict) -> str:
    """Networks trained in one computation against one by one."""
    of = figures["networks"]
    apart_by_root = of["largest_difference_of_a_probability"]
    lines = [f"| {of['networks']} FBP networks | CPU time, s |", "|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {seconds:.1f} |" for name, seconds in of["cpu_s"].items()]
    return "\n".join(
        [
            *lines,
            "",
            f"one thread; largest difference of a probability between both, {of['compared']} networks: "
            + ", ".join(f"{apart:.0e} with the root `{root}`" for root, apart in apart_by_root.items()),
        ]
    )


def extraction(figures: dict) -> str:
    """Results and cost of the extraction."""
    found, stages = figures["extraction"], figures["stages"]
    seconds = found["seconds_of_video"]
    lines = [
        "| figure | value |",
        "|---|---|",
        f"| clips, speakers | {found['clips']}, {found['speakers']} ({seconds / 60:.1f} min of video) |",
        f"| frames, with the followed person's face | {found['frames']}, {found['share_with_face']:.1%}"
        f" (lowest speaker {found['lowest_share_of_a_speaker']:.1%}) |",
        f"| clips without any face | {found['clips_without_any_face']} |",
        f"| store | {found['store_bytes'] / 1e6:.1f} MB |",
    ]
    for stage, cost in stages.items():
        lines.append(
            f"| {stage}: CPU time, largest memory of a job | {cost['cpu_seconds_sum']:.0f} s in {cost['jobs']} jobs, "
            f"{cost['peak_memory_mb']} MB |"
        )
    return "\n".join(lines)


def float16(figures: dict) -> str:
    """Loss of float16."""
    lines = ["| feature | relative error, median | largest | 1 - cosine, largest |", "|---|---|---|---|"]
    for name, loss in figures["features"].items():
        lines.append(
            f"| {name} | {loss['relative_error_median']:.1e} | {loss['relative_error_max']:.1e} "
            f"| {loss['one_minus_cosine_max']:.1e} |"
        )
    return "\n".join(lines)


def attention(figures: dict) -> str:
    """Evenness of attention, and whether it finds the segment, where that is known."""
    known = "auc" in figures["attention"][0]
    head = ["streams", "network", "lambda", "accuracy", "attention over", "effective share"]
    head += ["AUC of the segment", "weight in it", "rows in it"] if known else []
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in figures["attention"]:
        cells = [row["streams"], row["network"], row["lambda"], percent(row["accuracy"]), row["modality"]]
        cells.append(f"{row['effective_share']:.3f}")
        if known:
            cells += [f"{row['auc']:.2f}", percent(row["weight_inside"]), percent(row["rows_inside"])]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def percent(value: float) -> str:
    """A share as percent, one decimal."""
    return f"{100 * value:.1f}"


def audio_pretraining(figures: dict) -> str:
    """UAR of the pre-trained encoders on speakers and corpora that they have not seen."""
    lines = ["| weights | corpus | speakers | zero-shot | linear probe | chance |", "|---|---|---|---|---|---|"]
    for name, entry in figures["encoders"].items():
        for corpus, value in entry["uar"]["held_out_speakers"].items():
            lines.append(f"| {name} | {corpus} | held out | {percent(value)} | | |")
        for corpus, found in entry["uar"]["unseen_corpora"].items():
            values = " | ".join(percent(found[key]) for key in ("zero_shot", "linear_probe", "chance"))
            lines.append(f"| {name} | {corpus} | unseen corpus | {values} |")
    return "\n".join(lines)


def audio_pretraining_javsed(figures: dict) -> str:
    """The pre-trained encoders on Java-SED."""
    lines = ["| linear probe on | plain | by speaker | zero-shot |", "|---|---|---|---|"]

    def row(name: str, found: dict, zero_shot: str = "") -> None:
        lines.append(f"| {name} | {percent(found['plain'])} | {percent(found['by_speaker'])} | {zero_shot} |")

    row("speech features", figures["speech_features"])
    for name, entry in figures["encoders"].items():
        row(name, entry["probe"], percent(entry["zero_shot"]))
        row(f"speech features and {name}", entry["probe_with_speech_features"])
    return "\n".join(lines)


def media_memory(figures: dict) -> str:
    """Memory of streaming a long clip."""
    found = figures["figures"]
    rows = [
        ("start", found["peak_before_mb"], ""),
        (f"{found['frames']} frames", found["peak_after_frames_mb"], found["frames_s"]),
        ("the audio", found["peak_after_sound_mb"], found["sound_s"]),
        (f"the spectrogram, {found['windows']} windows", found["peak_mb"], found["spectrogram_s"]),
    ]
    lines = ["| after | peak memory, MB | time, s |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {what} | {memory:.0f} | {time} |" for what, memory, time in rows)])


# Names of face_networks.py's stores in the documents.
STORES = {"javsed-untuned": "un-tuned", "javsed": "fine-tuned"}


def face_networks(figures: dict) -> str:
    """Accuracy of every face network and of all joined, video alone."""
    stores = figures["stores"]
    columns = [(method, name) for method in ("pooled", "attention") for name in stores]
    heads = [f"{method}, {STORES.get(name, name)}" for method, name in columns]
    lines = [f"| features | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    found = dict.fromkeys(slots for store in stores.values() for slots in store["slots"])
    for slots in sorted(found, key=lambda slots: "+" in slots):
        names = [store["networks"][slots]["network"] for store in stores.values() if slots in store["networks"]]
        what = f"{slots}: {' / '.join(dict.fromkeys(names))}" if names else f"{slots.replace('+', ' + ')}, joined"
        cells = []
        for method, name in columns:
            of = stores[name]["slots"].get(slots, {}).get(method)
            cells.append(f"{100 * of['accuracy_mean']:.1f} ± {100 * of['accuracy_std']:.1f}" if of else "")
        lines.append(f"| {what} | {' | '.join(cells)} |")
    store = next(iter(stores.values()))
    return "\n".join(
        [
            *lines,
            "",
            f"accuracy in per cent, mean ± standard deviation over the speakers, {store['clips']} clips, of which "
            f"{store['clips_without_face']} without any face; chance {100 / len(figures['labels']):.1f}",
        ]
    )


def fer2013(figures: dict) -> str:
    """The shipped face networks on FER2013's two test splits."""
    lines = [
        "| network | PublicTest | PrivateTest | PrivateTest without ambiguous and repeated images | macro-F1 | ECE "
        "| un-tuned, linear classifier | stored as |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in figures["networks"].items():
        before = f"{100 * entry['untuned_linear']['private_test']:.2f}" if "untuned_linear" in entry else ""
        stored = f"{entry['storage']['type']}, {entry['storage']['bytes'] / 1e6:.1f} MB"
        lines.append(_fer2013_row(f"{entry['slot']}: {name}", entry["shipped"], before, stored))
    lines.append(_fer2013_row("mean of the four", figures["mean"], "", ""))
    lines.append(_fer2013_row("the same, each face and its mirror image", figures["mean_with_mirrored"], "", ""))
    # The last row was added after PrivateTest had been seen, and PublicTest does not confirm it: keep its caveat.
    return "\n".join(
        [
            *lines,
            "",
            "accuracy in per cent; macro-F1, ECE and the last but one column: PrivateTest. The row with mirror images "
            "was added after PrivateTest had been seen: only PublicTest measures its gain",
        ]
    )


def _fer2013_row(name: str, shipped: dict, *others: str) -> str:
    private = shipped["private"]
    shares = (shipped["public_test"], shipped["private_test"], shipped["private_clean"]["accuracy"])
    cells = [
        *(f"{100 * share:.2f}" for share in shares),
        f"{private['macro_f1']:.3f}",
        f"{private['ece']:.3f}",
        *others,
    ]
    return f"| {name} | {' | '.join(cells)} |"


def confusion(figures: dict) -> str:
    """Confusion matrix of the mean of the four on PrivateTest."""
    names = figures["emotions"]
    lines = [f"| label | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for name, row in zip(names, figures["mean"]["private"]["confusion"], strict=True):
        lines.append(f"| {name} | {' | '.join(f'{100 * count / sum(row):.0f}' for count in row)} |")
    return "\n".join([*lines, "", "per cent of the label's images, PrivateTest, mean of the four"])


def performance(figures: dict) -> str:
    """Every ratio next to its goal."""
    lines = ["| figure | measured | goal | by |", "|---|---|---|---|"]
    for name, value in figures["ratios"].items():
        goal = figures["goals"].get(name)
        sign = "at most" if name in figures["at_most"] else "at least"
        by = figures["sources"][name]
        wanted = "" if goal is None else f"{sign} {goal:g}"
        lines.append(f"| `{name}` | {value:.3g} | {wanted} | [{by}](/docs/results/{by}) |")
    machines = dict.fromkeys(
        f"{made['machine']['cores']} cores of {made['machine']['processor']}" for made in figures["provenance"].values()
    )
    return "\n".join([*lines, "", f"Machine: {'; '.join(machines)}. Each file names its command, commit and date."])


def front_end(figures: dict) -> str:
    """The near search against the usual script, and against the exact search."""
    lines = ["| clip, upsample | script, CPU ms per frame | ours | factor |", "|---|---|---|---|"]
    for name, entry in figures["speed"].items():
        cells = [entry["script_cpu_ms_a_frame"], entry["ours_cpu_ms_a_frame"], entry["ratio_one_core"]]
        lines.append(f"| {name} | {cells[0]:.1f} | {cells[1]:.1f} | {cells[2]:.1f} |")
    lines += [
        "",
        "| clips, upsample | frames | faces lost | same person | same box | landmarks: median / 99 % / most |",
        "|---|---|---|---|---|---|",
    ]
    for name, entry in figures["agreement_with_exact"].items():
        away = " / ".join(f"{value:.2f}" for value in entry["landmarks_percent_of_eye_distance"].values())
        shares = [f"{entry[f'{what}_percent']:.2f}" for what in ("lost", "same_person", "same_box")]
        lines.append(f"| {name} | {entry['frames']:,} | {' | '.join(shares)} | {away} |")
    cores = figures["all_cores"]
    least = {
        name: figures["speed"][name]["script_cpu_ms_a_frame"]
        / sum(parts[part] for part in ("decode", "landmarks", "search_whole_frame"))
        for name, parts in figures["cpu_ms_a_frame_by_part"].items()
    }
    lines += [
        "",
        "If the search near the face and everything else took no time, decoding, landmarks and searches of whole "
        f"frames would allow at most {', '.join(f'{times:.1f} ({name})' for name, times in least.items())} times.",
        "",
        "One core against one core. Agreement of the near search with the exact one, per cent; landmarks in per cent "
        f"of the distance between the eyes. Two workers process {cores['scaling']} times the frames of one.",
    ]
    return "\n".join(lines)


# Way in front_end.json -> in words.
WAYS = {
    "dlib": "dlib, every frame whole (`search: exact`)",
    "dlib near": "dlib near the last face (`detector: dlib`, `weak_threshold: 0`)",
    "dlib+yunet": "front end",
    "yunet": "YuNet alone, every frame",
    "yunet reduced": "YuNet alone, every frame, reduced as by the front end",
}


def _way(name: str) -> str:
    of, _, score = name.rpartition(" ")
    return WAYS.get(name) or f"{WAYS[of]}, score {score}"


def hard_clips(figures: dict) -> str:
    """Recall, false faces and cost on generated hard clips."""
    found = figures["hard_clips"]
    kinds = {"rendered": "rendered heads", "fer2013": "faces of FER2013"}
    kinds = {kind: words for kind, words in kinds.items() if kind in found["ways"]["dlib"]["recall_by_kind"]}
    head = ["front end", *kinds.values(), "of frames that YuNet sees", "the same, also misaligned"]
    head += ["false faces in 1,000 frames", "CPU ms per frame"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, way in found["ways"].items():
        shares = [way["recall_by_kind"][kind] for kind in kinds]
        shares += [way[f"of_frames_that_yunet_sees{what}"] for what in ("", "_with_misaligned")]
        cells = list(map(percent, shares))
        cells += [f"{1000 * way['false_faces_per_frame']:.1f}", f"{way['cpu_ms_a_frame']:.1f}"]
        lines.append(f"| {_way(name)} | {' | '.join(cells)} |")
    score = next(name for name in found["ways"] if name.startswith("yunet ")).rpartition(" ")[2]
    return "\n".join(
        [
            *lines,
            "",
            f"Recall in per cent of {found['visible_frames']:,} visible frames; {found['clips']} clips, "
            f"{found['frames']:,} frames. YuNet sees a frame's face: score {score} or more, at full resolution.",
        ]
    )


def hard_clips_by_difficulty(figures: dict) -> str:
    """Recall on each difficulty."""
    ways = figures["hard_clips"]["ways"]
    shown = [name for name in ways if name in WAYS or name == next(of for of in ways if of.startswith("yunet "))]
    lines = [f"| difficulty | {' | '.join(map(_way, shown))} |", "|---" * (len(shown) + 1) + "|"]
    for what in ways["dlib"]["recall_by_difficulty"]:
        lines.append(f"| {what} | {' | '.join(percent(ways[name]['recall_by_difficulty'][what]) for name in shown)} |")
    return "\n".join(lines)


def laboratory(figures: dict) -> str:
    """Coverage of laboratory clips."""
    found = figures["laboratory"]
    lines = [
        "| on Java-SED | frames with a face | of frames that YuNet sees | clips without a face | CPU ms per frame |",
        "|---|---|---|---|---|",
    ]
    for name, way in found["ways"].items():
        cells = [percent(way["coverage"]), percent(way["of_frames_that_yunet_sees"]), way["clips_without_a_face"]]
        lines.append(f"| {WAYS[name]} | {' | '.join(map(str, cells))} | {way['cpu_ms_a_frame']:.1f} |")
    return "\n".join(
        [
            *lines,
            "",
            f"Per cent of {found['frames']:,} frames of {found['clips']} clips; {percent(found['black_frames'])} % of "
            "the frames are black.",
        ]
    )


def _inner(found: dict) -> str:
    """Accuracy on inner folds, mean over seeds, and cross-entropy."""
    mean = {name: sum(of) / len(of) for name, of in found.items()}
    return f"{percent(mean['accuracy'])} ({mean['cross_entropy']:.3f})"


def rate(figures: dict) -> str:
    """Accuracy at lower frame rates."""
    lines = ["| `faces.rate` | frames kept | video alone | FBP |", "|---|---|---|---|"]
    for name, found in figures["inner_folds"].items():
        cells = [f"{100 * found['share_of_frames']:.0f} %", _inner(found["video"]), _inner(found["fbp"])]
        lines.append(f"| {'null: all' if name == 'all' else name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", INNER.format(**figures["settings"])])


def rate_time(figures: dict) -> str:
    """CPU time of the networks' stage at lower frame rates."""
    lines = ["| stage, `faces.rate` | frames | CPU s per s of video |", "|---|---|---|"]
    for name, of in figures["stages"].items():
        stage = "faces" if name == "faces" else f"networks, {'null: all' if name == 'all' else name}"
        lines.append(f"| {stage} | {of['frames']} | {of['cpu_s_per_s']:.2f} |")
    return "\n".join([*lines, "", f"{figures['clips']} clips, {figures['seconds']:.1f} s of video in all, one thread"])


INNER = (
    "accuracy in per cent and, in brackets, cross-entropy in nats, on the inner folds of {folds} outer folds by "
    "speaker, mean of {seeds} seeds; test clips were not used"
)


def emotion_stream(figures: dict) -> str:
    """The stream `emotion` next to the others."""
    lines = ["| streams of the video | video alone | FBP |", "|---|---|---|"]
    of = figures["streams"]
    lines.append(f"| all networks, landmarks | {_inner(of['video'])} | {_inner(of['fbp'])} |")
    if "emotion" in of:
        lines.append(f"| the same and `emotion` | {_inner(of['video_emotion'])} | {_inner(of['fbp_emotion'])} |")
        lines.append(f"| `emotion` alone | {_inner(of['emotion'])} | |")
    return "\n".join([*lines, "", INNER.format(**figures["settings"])])


def zero_shot(figures: dict) -> str:
    """Poolings of `video/emotion` over a clip."""
    of, chosen = figures["poolings"], figures["chosen"]
    lines = ["| pooling | plain | `prior` | `speaker` |", "|---|---|---|---|"]
    for name in (name for name in of if not name.endswith(("_prior", "_speaker"))):
        cells = [percent(of[f"{name}{kind}"]["accuracy"]) for kind in ("", "_prior", "_speaker")]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    low, high = chosen["by_speaker"][0], chosen["by_speaker"][-1]
    recalls = ", ".join(f"{name} {percent(value)}" for name, value in chosen["recall"].items())
    return "\n".join(
        [
            *lines,
            "",
            f"accuracy in per cent on {figures['clips']} clips of {len(chosen['by_speaker'])} speakers, chance "
            f"{percent(figures['chance'])}. Plain or `prior`, chosen for each speaker by all others: "
            f"{percent(chosen['accuracy'])} (speakers {percent(low)} to {percent(high)}; recall: {recalls})",
        ]
    )


def emotion(figures: dict) -> str:
    """Calibration of the mean of the four networks."""
    lines = ["| FER2013 | mean of the four | accuracy | ECE | cross-entropy, nats |", "|---|---|---|---|---|"]
    for usage in ("PublicTest", "PrivateTest"):
        for how, of in figures[usage].items():
            cells = f"{percent(of['accuracy'])} | {of['ece']:.3f} | {of['cross_entropy']:.3f}"
            lines.append(f"| {usage} | {how.replace('_', ' ')} | {cells} |")
    temperatures = ", ".join(f"{name} {value:.2f}" for name, value in figures["temperatures"].items())
    return "\n".join([*lines, "", f"temperatures, fitted on PublicTest: {temperatures}"])


def face_parts(figures: dict) -> str:
    """Our parts of dlib against its own."""
    lines = ["| part | by | CPU ms | differs from dlib |", "|---|---|---|---|"]
    for part, ways in figures["parts"].items():
        for way, entry in ways.items():
            lines.append(f"| {part} | {way} | {entry['cpu_ms']:.2f} | {entry['other_than_dlibs']:.2g} |")
    return "\n".join(lines)


def yunet(figures: dict) -> str:
    """Distance of YuNet's faces from dlib's, and its false ones."""
    easy, nobody = figures["easy_faces"], figures["nobody"]
    lines = ["| | median | 90 % | 99 % | most |", "|---|---|---|---|---|"]
    rows = {
        "landmarks moved by YuNet's box, % of the distance between the eyes": "landmarks_moved_percent_of_eye_distance",
        "`alignment`": "misalignment",
    }
    for name, key in rows.items():
        cells = (easy[key][column] for column in ("median", "percentile_90", "percentile_99", "most"))
        lines.append(f"| {name} | {' | '.join(f'{cell:.3g}' for cell in cells)} |")
    return "\n".join(
        [
            *lines,
            "",
            f"{easy['seen_by_both']} of {easy['frames']} frames of Java-SED, which both detectors see. In "
            f"{nobody['pictures']} pictures without people, YuNet's highest score is {nobody['highest_score_whole']} "
            f"in the whole picture and {nobody['highest_score_near']} in a part of it; the front end chooses a "
            f"person in {nobody['persons_chosen']} of them (false faces in hard clips: "
            "[performance](performance.md#hard-clips)).",
        ]
    )


def dag(figures: dict) -> str:
    """Overhead of Snakemake."""
    lines = ["| clips | shards | jobs | DAG, s | CPU, s | CPU ms per job |", "|---|---|---|---|---|---|"]
    for entry in figures["dag"].values():
        cells = f"{entry['clips']:,} | {entry['shards']:,} | {entry['jobs']:,}"
        job = f"{1e3 * entry['cpu_s_a_job']:.0f}" if "cpu_s_a_job" in entry else ""
        lines.append(f"| {cells} | {entry['wall_s']:.1f} | {entry['cpu_s']:.1f} | {job} |")
    job, run = figures["job"], figures["run_of_10000_clips"]
    return "\n".join(
        [
            *lines,
            "",
            f"In a small corpus Snakemake needs {1e3 * job['snakemake_s_a_job']:.0f} ms per job (below 0: noise); a "
            f"command that finds its shard up to date takes {job['start_of_a_command_s']:.1f} s. Extrapolated from "
            f"{job['clips']} real clips at {job['extraction_s_a_clip']:.2f} s per clip, 10,000 clips take "
            f"{run['run_s'] / 60:.0f} min on {run['cores']} cores, of which Snakemake takes {run['snakemake_s']:.0f} s "
            f"({figures['ratios']['snakemake_share_10000']:.1%}) and the start of the commands "
            f"{run['start_of_commands_s']:.0f} s.",
        ]
    )


# Layout in store.json -> in words.
LAYOUTS = {
    "store": "store, by its reader",
    "store_by_h5py": "store, by h5py alone",
    "contiguous_by_h5py": "the same contiguous and without checksums, by h5py alone",
    "dataset_a_clip": "HDF5, one dataset per clip",
    "npy_files": ".npy files",
    "copy_in_memory": "a copy in memory, for comparison",
}


def store(figures: dict) -> str:
    """The store against other layouts."""
    sizes = list(figures["corpora"])
    heads = [f"{int(size):,} clips" for size in sizes]
    lines = [f"| ms per clip, warm, random order | {' | '.join(heads)} | writing, s |", "|---" * (len(sizes) + 2) + "|"]
    last = figures["corpora"][sizes[-1]]["write_s"]
    for layout, words in LAYOUTS.items():
        cells = [f"{figures['corpora'][size]['read_ms_a_clip'][f'{layout}/both']:.3f}" for size in sizes]
        wrote = f"{last[layout]:.0f}" if layout in last else ""
        lines.append(f"| {words} | {' | '.join(cells)} | {wrote} |")
    whole = [f"{figures['corpora'][size]['read_ms_a_clip']['store/all']:.3f}" for size in sizes]
    peaks = [f"{figures['corpora'][size]['build_peak_mb']:.0f}" for size in sizes]
    lines += [
        f"| store, all that a clip has | {' | '.join(whole)} | |",
        f"| memory of building the store, MB | {' | '.join(peaks)} | |",
    ]
    growth = ["| frames per clip | kB | ms | a copy in memory, ms | memory of building, MB |", "|---|---|---|---|---|"]
    for entry in figures["clip_length"]:
        growth.append(
            f"| {entry['frames']:,} | {entry['kB']:,.0f} | {entry['store_ms']:.3f} | {entry['copy_in_memory_ms']:.3f} "
            f"| {entry['build_peak_mb']:.0f} |"
        )
    return "\n".join(
        [
            *lines,
            "",
            "EF-B and spectrogram of a clip of 20 frames, float16. Writing times are for 10,000 clips. Writing the "
            "store is crash-proof (shards and store, each file flushed to the disk), the other layouts are not; "
            f"checksums take {100 * figures['ratios']['checksums_share_of_writing']:.0f} % of it. EF-B by the length "
            "of the clip:",
            "",
            *growth,
        ]
    )


# Name in the mark -> file and table.
def speaker_groups(figures: dict) -> str:
    """Groups of similar faces against the speakers of a corpus."""
    lines = [
        "| distance | groups | clips whose group has one speaker | speakers in several groups "
        "| pairs of clips of one speaker in different groups | adjusted Rand index |",
        "|---|---|---|---|---|---|",
    ]
    for at, of in figures["distances"].items():
        default = " (default)" if float(at) == figures["default"] else ""
        lines.append(
            f"| {at}{default} | {of['groups']} | {100 * of['of_one_speaker']:.0f} % | {of['split']} | "
            f"{100 * of['leaked']:.1f} % | {of['adjusted_rand']:.2f} |"
        )
    clips, speakers, frames = (figures[name] for name in ("clips", "speakers", "frames_per_clip"))
    about = (
        f"{figures['corpus']}: {clips} clips of {speakers} speakers, {frames} frames each, {figures['network']}; "
        f"{figures['without_a_face']} clips without a face"
    )
    return "\n".join([*lines, "", about])


def skewed_classes(figures: dict) -> str:
    """Accuracy and cross-entropy by the way of transposing, mean of the draws."""
    trials = figures["trials"]
    models, ways = (list(dict.fromkeys(trial[key] for trial in trials)) for key in ("model", "way"))
    lines = [f"| transposition | {' | '.join(models)} |", "|---" * (len(models) + 1) + "|"]
    for way in ways:
        cells = []
        for model in models:
            own = [trial for trial in trials if trial["way"] == way and trial["model"] == model]
            accuracy, loss = (sum(trial[key] for trial in own) / len(own) for key in ("accuracy", "loss"))
            cells.append(f"{percent(accuracy)} ({loss:.3f})")
        lines.append(f"| {way} | {' | '.join(cells)} |")
    draws = len({trial["draw"] for trial in trials})
    about = (
        f"accuracy in per cent and, in brackets, cross-entropy in nats, leave one speaker out, mean of {draws} draws"
        if draws > 1
        else "accuracy in per cent and, in brackets, cross-entropy in nats, five folds by speaker"
    )
    return "\n".join([*lines, "", about])


def speech_corpora(figures: dict) -> str:
    """Accuracy and cross-entropy of the audio models by corpus."""
    names = list(figures["corpora"][0]["models"])
    lines = [f"| corpus | clips | speakers | classes | {' | '.join(names)} |", "|---" * (len(names) + 4) + "|"]
    for corpus in figures["corpora"]:
        cells = [f"{percent(of['accuracy'])} ({of['loss']:.3f})" for of in corpus["models"].values()]
        about = [corpus["corpus"], *(str(corpus[key]) for key in ("clips", "speakers", "classes"))]
        lines.append(f"| {' | '.join([*about, *cells])} |")
    return "\n".join([*lines, "", "accuracy in per cent and, in brackets, cross-entropy in nats, mean over the seeds"])


# Which of the commands of javsed.json made a table.
TRAINED, TRAINED_BY_SPEAKER, STUDIED = slice(0, 1), slice(1, 2), slice(2, 3)

TABLES = {
    "speech-corpora": ("speech_corpora.json", speech_corpora),
    "skewed-classes": ("skewed_classes.json", skewed_classes),
    "urdu": ("urdu.json", skewed_classes),
    "front-page": ("javsed.json", front_page, STUDIED),
    "recall": ("javsed.json", recall, TRAINED),
    "recall-of-faces": ("fer2013.json", recall_of_faces),
    "javsed": ("javsed.json", study, STUDIED),
    "javsed-by-speaker": ("javsed.json", study_by_speaker),
    "javsed-fbp": ("javsed.json", train_fbp, TRAINED),
    "javsed-fbp-by-speaker": ("javsed.json", train_fbp_by_speaker, TRAINED_BY_SPEAKER),
    "javsed-extraction": ("javsed.json", extraction),
    "demo": ("demo.json", study),
    "demo-fbp": ("demo.json", train_fbp),
    "fusion-scale": ("fusion_scale.json", fusion_scale),
    "networks-together": ("fusion_scale.json", networks_together),
    "float16": ("float16.json", float16),
    "attention-demo": ("attention_demo.json", attention),
    "performance": ("../performance.json", performance),
    "front-end": ("front_end.json", front_end),
    "hard-clips": ("front_end.json", hard_clips),
    "hard-clips-by-difficulty": ("front_end.json", hard_clips_by_difficulty),
    "laboratory": ("front_end.json", laboratory),
    "rate": ("rate.json", rate),
    "rate-time": ("rate_time.json", rate_time),
    "emotion-stream": ("emotion_stream.json", emotion_stream),
    "zero-shot": ("zero_shot.json", zero_shot),
    "emotion": ("emotion.json", emotion),
    "face-parts": ("face_parts.json", face_parts),
    "yunet": ("yunet.json", yunet),
    "dag": ("dag.json", dag),
    "store": ("store.json", store),
    "audio-pretraining": ("audio_pretraining.json", audio_pretraining),
    "audio-pretraining-javsed": ("audio_pretraining.json", audio_pretraining_javsed),
    "media-memory": ("media_memory.json", media_memory),
    "fer2013": ("fer2013.json", fer2013),
    "fer2013-confusion": ("fer2013.json", confusion),
    "speaker-groups": ("speaker_groups.json", speaker_groups),
    "face_networks": ("face_networks.json", face_networks),
}


def filled(text: str) -> str:
    """The document with all its tables regenerated."""

    def table(match: re.Match) -> str:
        file, make, *part = TABLES[match[2]]
        figures = json.loads((ROOT / "docs/results" / file).read_text())
        # A table of several files states the provenance of each itself.
        origin = (
            source(figures, file, *part or [slice(None)]) if "commands" in figures["provenance"] else "By `make bench`."
        )
        return f"{match[1]}\n{make(figures)}\n\n{origin}\n{match[3]}"

    return MARK.sub(table, text)


def main() -> None:
    stale = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(f"{', '.join(stale)}: differs from docs/results/; run python benchmarks/tables.py")


if __name__ == "__main__":
    main()
