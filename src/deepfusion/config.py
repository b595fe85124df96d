"""Schema of the configuration; `config.yaml` is checked against it before anything runs."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from deepfusion.errors import UserError
from deepfusion.framing import check as check_framing

Share = Annotated[float, Field(ge=0, lt=1)]
Slot = Literal["EF-VGG", "EF-A", "EF-B", "EF-C"]


class Settings(BaseModel):
    """A group of settings: immutable, and unknown names are errors."""

    # Defaults are checked like given values: 40 and 40.0 must be one setting and make one key.
    # Infinity and NaN are errors: JSON, which takes the settings to the commands, has neither.
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, validate_default=True, allow_inf_nan=False
    )


class DemoSettings(Settings):
    """The generated corpus."""

    speakers: int = Field(10, ge=2, description="synthetic speakers")
    takes: int = Field(1, ge=1, description="clips per speaker and pair of face and voice; there are 16 pairs")
    seed: int = Field(0, ge=0, description="of the generated clips")


class CorpusSettings(Settings):
    """The corpus and its classes."""

    name: str = Field("demo", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="names the folder under results/")
    source: str = Field(
        "demo", description="demo (generated), manifest (your own csv), folder (of clips) or the name of an adapter"
    )
    path: str | None = Field(None, description="the manifest's csv, or the folder of clips")
    labels: Literal["folders"] | tuple[str, ...] | None = Field(
        None, description="class names in order; null: those of the corpus; folders: one class per subfolder"
    )
    options: dict[str, str] = Field(
        {}, description="options of an adapter, such as folds or classes: `deepfusion corpora NAME` lists them"
    )
    demo: DemoSettings = DemoSettings()

    @model_validator(mode="after")
    def _path_where_needed(self):
        if self.source != "demo" and self.path is None:
            raise ValueError(f"source {self.source!r} needs corpus.path: a manifest csv or a folder")
        return self

    @field_validator("labels", mode="before")
    @classmethod
    def _one_word(cls, labels):
        if isinstance(labels, str) and labels != "folders":
            raise ValueError(f"{labels!r} is neither a list of classes, nor folders, nor null")
        if isinstance(labels, list | tuple) and not labels:
            raise ValueError("no classes: name them, or null takes those of the corpus")
        return labels

    @model_validator(mode="after")
    def _labels_of_a_folder(self):
        if self.source == "folder" and self.labels not in ("folders", None):
            raise ValueError("labels of source 'folder' are null (none) or folders (its subfolders are the classes)")
        if self.source != "folder" and self.labels == "folders":
            raise ValueError(f"labels: folders needs source: folder, not {self.source}")
        return self


class FaceSettings(Settings):
    """Finding faces and following one person."""

    upsample: int = Field(
        0, ge=0, le=3, description="doublings of the frame before the search: faces from 80 px (0), 40 px (1)"
    )
    detector: Literal["dlib+yunet", "dlib"] = Field(
        "dlib+yunet",
        description="dlib alone; or dlib+yunet: YuNet where dlib finds no face, and in searches of the whole frame",
    )
    threshold: float = Field(0.0, description="minimum score of dlib's detector to choose or follow a face")
    weak_threshold: float = Field(-0.6, description="minimum score of dlib's detector for a face next to the last")
    yunet_threshold: float = Field(0.4, gt=0, lt=1, description="minimum score of YuNet for a face next to the last")
    max_misalignment: float = Field(
        0.4, gt=0, description="maximum distance of dlib's points from YuNet's, in distances between frontal eyes"
    )
    search: Literal["near", "exact"] = Field(
        "near",
        description="near: around the last face; the whole frame to choose a person. exact: always the whole frame",
    )
    redetect: float = Field(3.0, gt=0, description="s between searches of the whole frame for other faces (near)")
    max_gap: float = Field(1.0, gt=0, description="s without the person until a person is chosen again")
    min_overlap: float = Field(
        0.3, gt=0, lt=1, description="minimum overlap (IoU) of two successive faces of one person"
    )
    cut_difference: float = Field(
        0.3, gt=0, description="minimum difference of two successive frames that counts as a cut"
    )
    rate: float | None = Field(
        None, gt=0, description="frames per second that the networks see and the store keeps; null: all"
    )

    @property
    def tracking(self) -> dict:
        """Settings that a face track depends on; `rate` only selects among its frames later."""
        return self.model_dump(exclude={"rate"})


class LimitSettings(Settings):
    """Limits per clip; a clip that exceeds one fails with that reason."""

    pixels: int = Field(40_000_000, ge=1, description="maximum pixels per frame; 8K video has 33 million")
    silence_s: float = Field(600.0, ge=0, description="maximum silence inserted into gaps in a clip's audio, s")
    cpu_s: int = Field(3600, ge=1, description="maximum CPU time per stage and clip, s")
    memory_mb: int = Field(6000, ge=500, description="maximum memory of a process that reads clips, MB")


DEFAULT_LIMITS = LimitSettings()


class NetworkSettings(Settings):
    """The network of a slot."""

    network: str = Field(description="a name of the catalogue: deepfusion list-networks")
    weights: Path | None = Field(None, description="your own weights file, where the catalogue has none to install")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="of your file; another file is refused")


Networks = dict[Slot, NetworkSettings]
Preset = Literal["compact", "paper"]
PRESETS: dict[Preset, dict[Slot, str]] = {
    "compact": {
        "EF-VGG": "compact-vgg-fer2013",
        "EF-A": "dlib-resnet29-fer2013",
        "EF-B": "sface-fer2013",
        "EF-C": "faceres-fer2013",
    },
    "paper": {
        "EF-VGG": "vgg-face",
        "EF-A": "vggface2-resnet50",
        "EF-B": "facenet-vggface2",
        "EF-C": "arcface-iresnet50",
    },
}


class SpectrogramSettings(Settings):
    """The paper group's spectrogram."""

    rate: int = Field(16000, ge=1000, description="Hz; audio is resampled to it")
    window_ms: float = Field(40, gt=0, description="Hamming window")
    shift_ms: float = Field(10, gt=0, description="time from one window to the next")
    dft: int = Field(800, ge=1, description="points; 20 Hz per bin at 16 kHz")
    bins: int = Field(200, ge=63, description="number of bins kept, from the lowest: 0 to 4 kHz")
    floor_db: float = Field(-100, lt=0, description="lowest level, dB relative to a full-scale sine")

    @model_validator(mode="after")
    def _windows_fit(self):
        try:
            check_framing(**dict(self))
        except UserError as error:
            raise ValueError(str(error).removeprefix("spectrogram: ")) from None
        return self


class AudioEncoderSettings(Settings):
    """The pre-trained audio encoder, whose positions the store keeps as audio/AF."""

    weights: Path | None = Field(
        None, description="a file of `snakemake pretrain_audio`, with its card next to it; null: the packaged encoder"
    )


class RecipeSettings(Settings):
    """Recipe for fine-tuning one network."""

    weights: Path | None = Field(None, description="file of the original network, if none is installed")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="of your file; another file is refused")
    epochs: int = Field(ge=1, description="of one cycle of the learning rate")
    cycles: int = Field(1, ge=1, description="each restarts at the full learning rate")
    learning_rate: float = Field(gt=0, description="of AdamW, for the trunk; the new classifier's is ten times as high")
    batch: int = Field(64, ge=1, description="images per step")
    weight_decay: float = Field(0.05, ge=0)
    dropout: Share = Field(0.2, description="before the classifier")
    smoothing: Share = Field(0.1, description="of the labels")


class FinetuneSettings(Settings):
    """Fine-tuning the face networks on FER2013."""

    data: Path | None = Field(None, description="fer2013.csv, icml_face_data.csv, a folder of classes, or an npz file")
    votes: Path | None = Field(None, description="FER+'s fer2013new.csv, in addition to a csv")
    labels: Literal["fer2013", "ferplus"] = Field("fer2013", description="ferplus: distribution of FER+'s votes")
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="auto: the faster on this machine")
    seed: int = Field(0, ge=0, description="of initial weights and sampling")
    recipes: dict[str, RecipeSettings] = Field(
        {
            "compact-vgg-fer2013": RecipeSettings(epochs=36, cycles=2, learning_rate=2e-3),
            "dlib-resnet29-fer2013": RecipeSettings(epochs=14, cycles=2, learning_rate=2e-4),
            "sface-fer2013": RecipeSettings(epochs=7, cycles=2, learning_rate=3e-4),
            "faceres-fer2013": RecipeSettings(epochs=10, cycles=2, learning_rate=3e-4),
        },
        min_length=1,
        description="network to fine-tune -> its epochs, learning rate, batch, ...",
    )


Factors = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


class SpeechAugmentSettings(Settings):
    """Random variations of spectrograms that train the audio encoder."""

    pace: Factors = Field((0.8, 1.25), description="range of the speed factor")
    frequency: Factors = Field((0.85, 1.18), description="range of the factor of all frequencies")
    equaliser_db: float = Field(3.0, ge=0, description="standard deviation of a smooth random curve over frequency")
    noise_db: tuple[float, float] = Field((25.0, 65.0), description="noise in half of the segments, dB below the peak")
    time_mask: Share = Field(0.25, description="SpecAugment: longest of two masks, a share of the segment")
    frequency_mask: Share = Field(0.2, description="SpecAugment: widest of two masks, a share of the bands")


class PretrainAudioSettings(Settings):
    """Pre-training the audio encoder on emotional speech."""

    manifest: Path | None = Field(None, description="csv: path, corpus, speaker, label, language, licence")
    corpora: tuple[str, ...] = Field(("emogator", "emodb", "nemo"), min_length=1, description="to train on")
    unseen: tuple[str, ...] = Field(("turev", "urdu"), description="corpora to measure transfer on, never trained on")
    bursts: tuple[str, ...] = Field(("emogator",), description="corpora of vocal bursts: separate classifier")
    labels: tuple[str, ...] = Field(
        ("neutral", "sad", "happy", "surprise", "fear", "angry", "disgust"), description="classes; others are left out"
    )
    merged: dict[str, str] = Field({"calm": "neutral"}, description="labels that count as another one")
    held_out: Share = Field(0.1, description="share of the speakers of each corpus held out of training")
    frames: int = Field(192, ge=32, description="length of the random segments, in spectrogram frames")
    batch: int = Field(48, ge=2, description="segments per step")
    epochs: int = Field(22, ge=1, description="of `steps` each")
    steps: int = Field(250, ge=1, description="steps per epoch")
    balance: float = Field(0.6, ge=0, le=1, description="corpora are sampled by size to this power; classes evenly")
    learning_rate: float = Field(3e-3, gt=0, description="of AdamW; rises, then falls along half a cosine")
    weight_decay: float = Field(0.1, ge=0)
    dropout: Share = Field(0.4, description="before the classifiers")
    smoothing: Share = Field(0.1, description="of the labels")
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="auto: the faster on this machine")
    augment: SpeechAugmentSettings = SpeechAugmentSettings()
    seed: int = Field(0, ge=0, description="of initial weights and sampling")

    @model_validator(mode="after")
    def _unseen_is_unseen(self):
        if both := set(self.corpora) & set(self.unseen):
            raise ValueError(f"{sorted(both)[0]!r} is in corpora and in unseen")
        return self


class StoreSettings(Settings):
    """Storage of features."""

    dtype: Literal["float32", "float16"] = Field("float32", description="of features and spectrograms")
    clips_per_shard: int = Field(40, ge=1, description="clips in each of the first shards; later ones are larger")


Lambda = Annotated[float, Field(ge=0, le=1)] | Literal["learned"]
AudioStream = Literal["speech", "speech-clip", "AF", "AF-clip"] | Annotated[str, Field(pattern="^AX-.+$")]
VideoStream = Annotated[str, Field(pattern="^(EF-.+|landmarks|landmarks-clip|emotion)$")]


class NetworkShape(Settings):
    """Attention and fusion layer of the network."""

    lam: Lambda = Field(0.3, alias="lambda", description="sharpness of attention: 1 softmax, 0 mean; or learned")
    reduced: int = Field(32, ge=1, description="length of the reduced video feature, equation (6)")
    k: int = Field(10, ge=1, description="rank of the factorized matrices, equation (11)")
    o: int = Field(64, ge=1, description="outputs of the fusion layer, equation (12)")
    root: Literal["smooth", "mfb"] = Field(
        "smooth", alias="signed_sqrt", description="mfb: as in MFB. smooth: with a bounded slope at 0"
    )
    bias: bool = Field(True, description="bias in both factors of FBP; the paper has none")


class TrainingSettings(Settings):
    """Training of the network."""

    epochs: int = Field(17, ge=1, description="passes over the training clips")
    batch: int = Field(24, ge=1, description="clips per step of a small corpus")
    clips_of_batch: int = Field(
        240, ge=1, description="above this number of training clips the batch grows with its square root"
    )
    vectors: int = Field(4, ge=1, description="rows per clip in a step, evenly spaced; predictions use all")
    dropout: Share = Field(0.3, description="on the classifier's input; in FBP on the product before pooling")
    smoothing: Share = Field(0.1, description="of the labels")
    weight_decay: float = Field(0.05, ge=0, description="of AdamW")
    transposed: float = Field(
        0.8,
        ge=0,
        le=1,
        description="share of clips per step that are moved to another training speaker: docs/fusion.md",
    )
    balance: Literal["none", "weighted"] = Field(
        "weighted", description="weighted: all classes have equal weight in the loss; none: all clips"
    )


Swept = Literal["lambda", "k", "o", "reduced", "dropout", "transposed"]


class FusionSettings(NetworkShape, TrainingSettings):
    """The fusion network: its streams, shape and training, and the hyperparameters that inner folds select."""

    audio: tuple[AudioStream, ...] | None = Field(
        None, min_length=1, description="audio streams; null: speech, speech-clip, and AF-clip if the store has AF"
    )
    video: tuple[VideoStream, ...] | None = Field(
        None,
        min_length=1,
        description="video streams, such as EF-A; null: all networks, landmarks and landmarks-clip",
    )
    normalisation: Literal["training", "speaker"] = Field(
        "training",
        description="by the training clips; or by each speaker's own clips, without labels (transductive)",
    )
    members: int = Field(
        3, ge=1, description="networks per model, of the best candidates; their probabilities are averaged"
    )
    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (1e-3, 3e-3, 1e-2), min_length=1, description="candidates"
    )
    axes: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (16, 64, 128), min_length=1, description="candidates for the number of principal axes per stream"
    )
    inner_folds: int = Field(3, ge=2, description="folds of the training clips by speaker, for selection")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="of initial weights, sampling and dropout")

    @property
    def shape(self) -> NetworkShape:
        """The settings of the architecture."""
        return NetworkShape.model_validate(self.model_dump(by_alias=True, include=set(NetworkShape.model_fields)))

    @property
    def training(self) -> TrainingSettings:
        """The settings of the training."""
        return TrainingSettings.model_validate(self.model_dump(include=set(TrainingSettings.model_fields)))


class EndToEndSettings(Settings):
    """Training of the audio encoder together with attention, fusion layer and classifier."""

    epochs: int = Field(8, ge=1, description="passes over the training clips")
    batch: int = Field(24, ge=1, description="clips per step")
    frames: int = Field(320, ge=32, description="length of the random segment of a clip, in spectrogram frames")
    learning_rate: float = Field(1e-3, gt=0, description="of the encoder; falls to 0 along half a cosine")
    network_learning_rate: float = Field(1e-3, gt=0, description="of all layers after it")
    share: float = Field(
        0.5, ge=0, le=1, description="weight of the trained parameters in the average with the pre-trained ones"
    )
    augment: SpeechAugmentSettings = SpeechAugmentSettings(
        pace=(0.9, 1.1),
        frequency=(0.94, 1.06),
        equaliser_db=1.5,
        noise_db=(40, 80),
        time_mask=0.1,
        frequency_mask=0.1,
    )


class StudySettings(Settings):
    """The fusion study: further networks on the same streams and folds."""

    normalisation: tuple[Literal["training", "speaker"], ...] = Field(
        ("training",), min_length=1, description="one table each; see fusion.normalisation"
    )
    end_to_end: EndToEndSettings = EndToEndSettings()
    sweeps: dict[Swept, tuple[float | Literal["learned"], ...]] = Field(
        {
            "lambda": (0, 0.3, 1, "learned"),
            "k": (1, 5, 10, 20),
            "o": (16, 32, 64, 128),
            "reduced": (8, 16, 32, 64),
            "dropout": (0, 0.1, 0.3, 0.6),
            "transposed": (0, 0.4, 0.8, 1),
        },
        description="curves of FBP over one setting each, on the inner folds; they select nothing",
    )

    @field_validator("sweeps")
    @classmethod
    def _values_of_fusion(cls, sweeps):
        for name, values in sweeps.items():
            for value in values:
                try:
                    FusionSettings.model_validate({name: value})
                except ValidationError as error:
                    raise ValueError(f"{name} cannot be {value}: {error.errors()[0]['msg']}") from None
        return sweeps


class ProtocolSettings(Settings):
    """Division of the clips into training and test."""

    folds: Literal["loso", "kfold", "split", "published"] = Field(
        "kfold",
        description="kfold: by speaker; loso: leave one speaker out; split, published: those of the corpus",
    )
    k: int = Field(4, ge=2, description="number of folds of kfold")
    shared_speakers: Literal["refused", "declared"] = Field(
        "refused", description="declared: a published split or folds may have speakers in both training and test"
    )

    @model_validator(mode="after")
    def _own_partition(self):
        if self.shared_speakers == "declared" and self.folds not in ("split", "published"):
            raise ValueError(f"shared_speakers: declared is for folds: split or published; {self.folds} shares none")
        return self


class Extraction(Settings):
    """Settings that the feature store depends on."""

    corpus: CorpusSettings = CorpusSettings()
    limits: LimitSettings = LimitSettings()
    faces: FaceSettings = FaceSettings()
    preset: Preset = Field("compact", description="networks of the four slots, used if `networks` is null")
    networks: Networks = Field(  # null until the validator below fills it
        None,  # type: ignore[arg-type]
        min_length=1,
        description="your own network per slot; null: those of the preset",
    )
    spectrogram: SpectrogramSettings = SpectrogramSettings()
    audio_encoder: AudioEncoderSettings = AudioEncoderSettings()
    store: StoreSettings = StoreSettings()

    @field_validator("networks", mode="before")
    @classmethod
    def _preset(cls, networks, info):
        return _slots(info.data.get("preset", "compact")) if networks is None else networks


def _slots(preset: Preset) -> Networks:
    return {slot: NetworkSettings(network=name) for slot, name in PRESETS[preset].items()}


class Config(Extraction):
    """The whole configuration."""

    finetune: FinetuneSettings = FinetuneSettings()
    pretrain_audio: PretrainAudioSettings = PretrainAudioSettings()
    fusion: FusionSettings = FusionSettings()
    study: StudySettings = StudySettings()
    protocol: ProtocolSettings = ProtocolSettings()
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$", description="auto, cpu, cuda, cuda:1, mps")
    engine: Literal["auto", "eager", "onnxruntime"] = Field(
        "auto", description="how the face networks are computed; all agree with plain PyTorch (eager) within 1e-3"
    )

    @model_validator(mode="after")
    def _features_are_extracted(self):
        faces = [name for name in self.fusion.video or () if name.startswith("EF-")]
        if missing := [name for name in faces if name not in self.networks]:
            raise ValueError(f"fusion.video names {', '.join(missing)}, which networks does not fill")
        return self


S = TypeVar("S")


def from_json(kind: type[S], text: str) -> S:
    """Parse JSON from the command line into a group of settings, or any other annotated type.

    Raises:
        UserError: The text is not JSON, or holds an unknown key or a value that is out of range.
    """
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        problems = [": ".join([".".join(map(str, e["loc"])), e["msg"]]).lstrip(": ") for e in error.errors()]
        raise UserError(f"settings {text[:80]}: {'; '.join(problems)}") from None


def check(values: Mapping[str, Any], files: Sequence[str | Path] = ()) -> Config:
    """Check plain values, as Snakemake merges them from the configuration files and its command line.

    Args:
        values: Nested dictionaries.
        files: The YAML files that they come from, the later ones overriding the earlier, for the lines in messages.

    Raises:
        UserError: One line per problem: the file and line, the key, what is wrong, the nearest right name.
    """
    lines = [(file, _lines(file)) for file in reversed(files)]
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError("\n".join(_problem(details, lines) for details in error.errors())) from None


def _problem(details: Mapping[str, Any], files: list[tuple[str | Path, dict[tuple, int]]]) -> str:
    place = tuple(part for part in details["loc"] if part != "[key]")
    message = details["msg"].removeprefix("Value error, ")
    if details["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(place[-1]), _names(place[:-1]), n=1)
        message = "unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
    name = ".".join(map(str, place))
    return f"{_where(place, files)}: {name + ': ' if name else ''}{message}"


def _where(place: tuple, files: list[tuple[str | Path, dict[tuple, int]]]) -> str:
    """File and line of the key, or of the innermost group around it that a file names."""
    for end in range(len(place), 0, -1):
        for file, lines in files:
            if place[:end] in lines:
                return f"{file}:{lines[place[:end]]}"
    return str(files[0][0]) if files else "configuration"


def _names(place: tuple) -> list[str]:
    """Names that are allowed in the group at `place`."""
    model: Any = Config
    for part in place:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
            model = field.annotation if field else None
        else:
            model = next(reversed(get_args(model)), None)  # the values of a mapping
    if isinstance(model, type) and issubclass(model, BaseModel):
        return [field.alias or name for name, field in model.model_fields.items()]
    return []


def _lines(file: str | Path) -> dict[tuple, int]:
    """Line (from 1) of every key of a YAML file, by its path.

    Raises:
        UserError: A key occurs twice in a group: YAML would take the last and ignore the others.
    """
    text = Path(file).read_text(encoding="utf-8")
    lines: dict[tuple, int] = {}

    def walk(node: yaml.Node | None, place: tuple) -> None:
        if isinstance(node, yaml.MappingNode):
            own: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if key.value in own:
                    name = ".".join((*place, key.value))
                    raise UserError(f"{file}:{line}: {name} is given twice, first in line {own[key.value]}: keep one")
                own[key.value] = lines[(*place, key.value)] = line
                walk(value, (*place, key.value))

    walk(yaml.compose(text) if text else None, ())
    return lines
