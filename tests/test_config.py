"""The configuration: the shipped file says what the program assumes, and a mistake is told with its line."""

import pytest
import yaml

from deepfusion.config import Config, FaceSettings, SpectrogramSettings, check, from_json
from deepfusion.errors import UserError
from deepfusion.stages import digest


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


def keys_of(values, prefix=""):
    for name, value in values.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict) and prefix + name != "networks":
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
        ("corpus:\n  demo:\n    speakers: 1\n", r"config.yaml:3: corpus.demo.speakers: Input should be greater than"),
        ("corpus:\n  source: javsed\n", r"config.yaml:1: corpus: source 'javsed' needs corpus.path"),
        ("fusion:\n  features: [EF-C]\n", r"fusion.features names EF-C, which networks does not fill"),
        ("- faces\n", r"config.yaml: Input should be a valid dictionary"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path, text, message):
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
