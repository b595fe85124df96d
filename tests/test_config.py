"""The configuration: the shipped file says what the program assumes, and a mistake is told with its line."""

import pytest
import yaml

from deepfusion.cache_key import digest
from deepfusion.config import (
    PRESETS,
    Config,
    Extraction,
    FaceSettings,
    FinetuneSettings,
    Networks,
    SpectrogramSettings,
    check,
    from_json,
)
from deepfusion.errors import UserError


def read_config(path):
    return check(yaml.safe_load(path.read_text()), [path])


def written(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def test_the_shipped_file_states_every_default(pytestconfig):
    path = pytestconfig.rootpath / "config.yaml"
    assert read_config(path) == Config()
    assert set(yaml.safe_load(path.read_text())) == set(Config.model_fields)


OF_THE_USER = ("networks", "finetune.recipes", "pretrain_audio.merged")  # names in them are the user's


def keys_of(values, prefix=""):
    for name, value in values.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict) and prefix + name not in OF_THE_USER:
            yield from keys_of(value, f"{prefix}{name}.")


def test_the_shipped_file_names_every_key(pytestconfig):
    shipped = yaml.safe_load((pytestconfig.rootpath / "config.yaml").read_text())
    assert sorted(keys_of(shipped)) == sorted(keys_of(Config().model_dump(by_alias=True)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("faces:\n  upsampel: 1\n", r"config.yaml:2: faces.upsampel: unknown key; did you mean 'upsample'\?"),
        ("fusoin:\n  k: 5\n", r"config.yaml:1: fusoin: unknown key; did you mean 'fusion'\?"),
        ("fusion:\n  k: 5\n  lamda: 0.3\n", r"config.yaml:3: fusion.lamda: unknown key; did you mean 'lambda'\?"),
        (
            "networks:\n  EF-A: {netwrok: sface}\n",
            r"config.yaml:2: networks.EF-A.netwrok: unknown key; did you mean 'network'",
        ),
        ("networks:\n  EF-D: {network: sface}\n", r"config.yaml:2: networks.EF-D: Input should be 'EF-VGG', 'EF-A'"),
        (
            "pretrain_audio:\n  augment:\n    time_mask: 2\n",
            r"config.yaml:3: pretrain_audio.augment.time_mask: Input should be less than 1",
        ),
        ("fusion:\n  smothing: 0\n", r"config.yaml:2: fusion.smothing: .* did you mean 'smoothing'\?"),
        ("corpus:\n  demo:\n    speakers: 1\n", r"config.yaml:3: corpus.demo.speakers: Input should be greater than"),
        ("corpus:\n  source: javsed\n", r"config.yaml:1: corpus: source 'javsed' needs corpus.path"),
        (
            "corpus:\n  source: manifest\n  path: m.csv\n  labels: folders\n",
            r"config.yaml:1: corpus: labels: folders needs source: folder, not manifest",
        ),
        (
            "corpus:\n  source: folder\n  path: clips\n  labels: [a, b]\n",
            r"config.yaml:1: corpus: labels of source 'folder' are null",
        ),
        (
            "corpus:\n  source: folder\n  path: clips\n  labels: folder\n",
            r"config.yaml:4: corpus.labels: 'folder' is neither a list of classes, nor folders, nor null$",
        ),
        (
            "finetune:\n  seed: 0\n  vote: a.csv\n",
            r"config.yaml:3: finetune.vote: unknown key; did you mean 'votes'\?",
        ),
        (
            "finetune:\n  recipes:\n    sface-fer2013:\n      epohcs: 3\n      epochs: 3\n      learning_rate: 1\n",
            r"config.yaml:4: finetune.recipes.sface-fer2013.epohcs: unknown key; did you mean 'epochs'\?",
        ),
        (
            "finetune:\n  recipes:\n    sface-fer2013: {epochs: 3}\n",
            r"config.yaml:3: finetune.recipes.sface-fer2013.learning_rate: Field required",
        ),
        ("finetune:\n  precision: float16\n", r"config.yaml:2: finetune.precision: Input should be 'auto', 'float32'"),
        (
            "protocol:\n  folds: splits\n",
            r"config.yaml:2: protocol.folds: Input should be 'loso', 'kfold', 'split' or 'published'",
        ),
        (
            "study:\n  sweeps: {k: [0, 5]}\n",
            r"config.yaml:2: study.sweeps: k cannot be 0.*: Input should be greater",
        ),
        ("study:\n  sweeps:\n    o: [learned]\n", r"config.yaml:2: study.sweeps: o cannot be learned: Input should be"),
        ("study:\n  sweeps: {dropout: [1]}\n", r"config.yaml:2: study.sweeps: dropout cannot be 1.*less than 1"),
        (
            "spectrogram:\n  dft: 512\n",
            r"config.yaml:1: spectrogram: a window of 640 samples does not fit a DFT",
        ),
        ("spectrogram:\n  bins: 402\n", r"config.yaml:1: spectrogram: bins must be from 1 to .* = 401, not 402"),
        (
            "spectrogram: {shift_ms: 0.03}\n",
            r"config.yaml:1: spectrogram: shift_ms = 0.03 is not a whole number",
        ),
        ("spectrogram: {floor_db: -.inf}\n", r"config.yaml:1: spectrogram.floor_db: Input should be a finite number"),
        (
            "fusion:\n  learning_rates: [.inf]\n",
            r"config.yaml:2: fusion.learning_rates.0: Input should be a finite",
        ),
        ("study:\n  sweeps: {lambda: [.nan]}\n", r"config.yaml:2: study.sweeps.lambda.*: Input should be a finite num"),
        ("corpus:\n  labels: []\n", r"config.yaml:2: corpus.labels: no classes: name them, or null takes those"),
        ("fusion:\n  audio: []\n", r"config.yaml:2: fusion.audio: .* at least 1 item"),
        ("fusion: {video: []}\n", r"config.yaml:1: fusion.video: .* at least 1 item"),
        ("preset: papers\n", r"config.yaml:1: preset: Input should be 'compact' or 'paper'"),
        ("networks: {}\n", r"config.yaml:1: networks: .* at least 1 item"),
        (
            "networks:\n  EF-A: {network: sface}\nfusion:\n  video: [EF-C]\n",
            r"fusion.video names EF-C, which networks does not fill",
        ),
        ("- faces\n", r"config.yaml: Input should be a valid dictionary"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read_config(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "fusion:\n  k: 5\nstore:\n  dtype: float16\nfusion:\n  o: 3\n",
            r"yaml:5: fusion is given twice, first in line",
        ),
        ("fusion:\n  k: 5\n  o: 3\n  k: 7\n", r"yaml:4: fusion.k is given twice, first in line 2: keep one$"),
        ("a: &a {k: 5}\nb: *a\nfusion: {k: 5, k: 5}\n", r"yaml:3: fusion.k is given twice, first in line 3"),
    ],
)
def test_a_key_that_is_given_twice(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read_config(written(tmp_path, text))


def test_all_mistakes_are_told_at_once(tmp_path):
    with pytest.raises(UserError) as error:
        read_config(written(tmp_path, "faces:\n  upsample: -1\nstore:\n  dtype: float8\n"))
    assert len(str(error.value).splitlines()) == 2


def test_the_line_is_that_of_the_overriding_file(tmp_path):
    first = written(tmp_path, "faces:\n  upsample: 0\n")
    second = tmp_path / "mine.yaml"
    second.write_text("# mine\n\nfaces:\n  upsample: -1\n")
    with pytest.raises(UserError, match=r"mine.yaml:4: faces.upsample"):
        check({"faces": {"upsample": -1}}, [first, second])


def filled(**values):
    """Slot -> name of its network."""
    return {slot: chosen.network for slot, chosen in check(values).networks.items()}


def test_a_preset_fills_the_slots():
    assert filled() == filled(networks=None) == filled(preset="compact", networks=None) == PRESETS["compact"]
    assert filled(preset="paper") == filled(preset="paper", networks=None) == PRESETS["paper"]
    assert list(PRESETS["compact"]) == list(PRESETS["paper"]) == ["EF-VGG", "EF-A", "EF-B", "EF-C"]
    own = {"EF-A": {"network": "sface", "weights": "mine.onnx"}}
    assert filled(networks=own) == filled(preset="paper", networks=own) == {"EF-A": "sface"}


def test_a_preset_and_its_networks_given_make_the_same_key():
    given = check({"networks": {slot: {"network": name} for slot, name in PRESETS["compact"].items()}})
    assert digest(given.model_dump(mode="json")) == digest(Config().model_dump(mode="json"))
    assert digest(check({"preset": "paper"}).model_dump(mode="json")) != digest(Config().model_dump(mode="json"))


def test_networks_come_back_from_the_command_line():
    config = check({"preset": "paper"})
    assert from_json(Extraction, config.model_dump_json(include=set(Extraction.model_fields))) == Extraction(
        preset="paper"
    )
    assert from_json(Networks, '{"EF-A": {"network": "sface"}}')["EF-A"].network == "sface"
    with pytest.raises(UserError, match="EF-D"):
        from_json(Networks, '{"EF-D": {"network": "sface"}}')


def test_recipes_of_ones_own():
    settings = FinetuneSettings(recipes={"sface-fer2013": {"epochs": 3, "learning_rate": 1e-4, "weights": "a.onnx"}})
    assert list(settings.recipes) == ["sface-fer2013"]
    assert from_json(FinetuneSettings, settings.model_dump_json(exclude={"data", "votes"})) == settings


def test_settings_on_the_command_line_are_checked():
    assert from_json(FaceSettings, '{"upsample": 1}').upsample == 1
    with pytest.raises(UserError, match="upsampel"):
        from_json(FaceSettings, '{"upsampel": 1}')
    with pytest.raises(UserError, match="JSON"):
        from_json(FaceSettings, "upsample=1")


def test_a_default_and_the_same_value_given_make_the_same_key():
    given = from_json(SpectrogramSettings, SpectrogramSettings().model_dump_json())
    assert digest(given.model_dump()) == digest(SpectrogramSettings().model_dump())
    assert digest(check({"spectrogram": {"window_ms": 40}}).model_dump()) == digest(Config().model_dump())
