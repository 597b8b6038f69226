import math
from contextlib import suppress

import pytest
import torch
from hostile import hostile
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from semtta.config import Config, config_to_yaml, load_config, shipped_configs
from semtta.config_limits import BOUNDS, MAX_SEED
from semtta.errors import SemttaError
from semtta.pose2d.settings import _BOUNDS, Pose2DConfig
from semtta.settings_files import as_override, check_values, numeric_keys


def test_every_shipped_file_loads_and_names_its_command():
    assert "default" in shipped_configs()
    for name, path in shipped_configs().items():
        assert isinstance(load_config(name), Config)
        assert "semtta " in path.read_text().split("\nstrategy")[0], name


def test_what_is_printed_can_be_read_back(tmp_path):
    made = load_config("default", ["optimizer.lr=0.001", "camera.focal=1500"])
    path = tmp_path / "mine.yaml"
    path.write_text(config_to_yaml(made))
    assert load_config(path) == made


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("optimizer.lrr=1", "optimizer.lr"),
        ("optimiser.epochs=1", "optimizer.epochs"),
        ("sigma=1", "sigma"),
        ("nonsense.key=1", "unknown setting"),
    ],
)
def test_an_unknown_key_is_answered_by_the_nearest_known_one(override, hint):
    with pytest.raises(SemttaError, match=hint):
        load_config("default", [override])


@pytest.mark.parametrize(
    "override",
    ["optimizer.epochs=-1", "optimizer.epochs=abc", "evidence.alpha=1.5", "evidence.alpha=-1",
     "alignment.target=two", "camera.focal=0", "camera.center=[1]", "optimizer.epochs",
     "optimizer.batch_segments=0", "optimizer.betas=[0.5]", "alignment.weight=nan",
     "evidence.robust=-0.1", "evidence.robust=some", "evidence.robust=nan",
     "evidence.robust=[0.1]", "detector.size=big", "detector.size=63", "detector.size=4096",
     "detector.size=448.5", "detector.size=true", "detector.size=null"],
)  # fmt: skip
def test_impossible_values_are_refused(override):
    with pytest.raises(SemttaError):
        load_config("default", [override])


def test_broken_overrides_are_named():
    for override, words in (("optimizer.betas=[0.9,", "not valid YAML"), ("model=3", "model=3")):
        with pytest.raises(SemttaError) as error:
            load_config("default", [override])
        assert words in str(error.value) and "\n" not in str(error.value)


def test_options_of_the_command_line_are_read_back_as_they_are():
    for name in ("no", "0123", "run #2/ä b.pt", "a: [b"):
        found = load_config("default", [as_override("model.checkpoint", name)])
        assert found.model.checkpoint == name
    assert load_config("default", [as_override("optimizer.lr", 0.5)]).optimizer.lr == 0.5


def test_a_file_with_an_unknown_key_or_broken_yaml_is_refused(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("optimizer: {lerning_rate: 1}\n")
    with pytest.raises(SemttaError, match="unknown setting"):
        load_config(path)
    path.write_text("optimizer: [")
    with pytest.raises(SemttaError, match="not valid YAML"):
        load_config(path)
    with pytest.raises(SemttaError, match="no settings"):
        load_config(tmp_path / "absent.yaml")


# ---------------------------------------------------------------------- files of strangers


def refused(path, words=""):
    with pytest.raises(SemttaError, match=words) as error:
        load_config(path)
    said = str(error.value)
    assert "\n" not in said and len(said) < 500
    return said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("device: ${oc.env:HOME}", r"line 1: '\$\{oc.env:HOME\}' is not resolved"),
        ("model: {checkpoint: 'a${seed}b'}", "not resolved"),
        ("a: &a ${oc.env:HOME}\ndevice: *a", "not resolved"),
        ("${oc.env:HOME}: 1", "not resolved"),
        ("device: !!python/object/apply:os.system [echo]", "tag"),
        ("device: !!python/object/apply:pathlib.Path [x]", "tag"),
        ("device: !!binary aGk=", "tag"),
        ("seed: 1\nseed: 2", "line 1: 'seed' is given twice"),
        ("optimizer: {lr: 0.1, 'lr': 0.2}", "'lr' is given twice"),
        ("- seed", "must hold settings"),
        ("just a text", "must hold settings"),
        ("3", "must hold settings"),
        ("seed: 1\n---\nseed: 2", "single document"),
        ("a: &a [*a]", "more than 10000 values"),
        ("optimizer: " + "[" * 5000, "nested too deeply"),
        ("optimizer: " + "{a: " * 5000, "nested too deeply"),
        ("optimizer:\n  betas: [", "in line"),
        ("device: \"a\\0b\"", "is no text"),
        ("device: \"a\\ud800b\"", "is no text"),
        ("seed: " + "9" * 5000, "4300"),
        ("seed: 0x" + "f" * 5000, "seed"),
        ("optimizer: {lr: 1e999}", "optimizer.lr must lie"),
        ("optimizer: {lr: '???'}", "not resolved"),
        ("optimizer: {betas: ['???', 0.9]}", "not resolved"),
        ("optimizer: 3", "Optimizer"),
        ("seed: {a: 1}", "seed"),
        ("1: 2", "1"),
        ("? [a, b]\n: 1", "YAML"),
        ("x" * 300_000 + ": 1", "MiB"),
    ],
)  # fmt: skip
def test_a_settings_file_is_data_and_nothing_else(tmp_path, monkeypatch, text, words):
    monkeypatch.setenv("HOME", "SECRET")
    path = tmp_path / "c.yaml"
    path.write_text(text)
    assert "SECRET" not in refused(path, words)


def test_anchors_are_read_but_do_not_multiply(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("optimizer: &o {lr: 0.5}\n")
    assert load_config(path).optimizer.lr == 0.5
    path.write_text("reprojection: &w {weight: 0.3}\nunpaired: *w\n")
    assert load_config(path).unpaired.weight == 0.3
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    path.write_text("\n".join(lines))
    refused(path, "more than 10000 values")
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i}\n  <<: [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    path.write_text("\n".join(lines))
    refused(path, "more than 10000 values")


def test_a_settings_file_that_is_no_text_or_no_file(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xff\xfe\x00s\x00e")
    refused(path, "UTF-8")
    path.write_bytes(b"\xef\xbb\xbfseed: 7\n")
    assert load_config(path).seed == 7
    refused(tmp_path, "neither a YAML file")
    refused("x" * 5000, "neither a YAML file")
    refused("a\0b", "neither a YAML file")
    refused("/dev/zero", "neither a YAML file")


@pytest.mark.parametrize(
    "override",
    ["device=${oc.env:HOME}", "${oc.env:HOME}=1", "seed=" + "9" * 5000, "seed=\udcff",
     "optimizer.betas=[${seed},0.9]", "seed=&a [*a]", "device=!!python/name:os.system",
     "optimizer..lr=1", "optimizer.lr.x=1", "optimizer.betas[0]=1", "=1", "a\\=b=1", "a=b=c",
     "optimizer={lr: 1, lr: 2}", "optimizer=" + "[" * 5000, "seed=1:1:1" + ":59" * 4000],
)  # fmt: skip
def test_an_override_is_data_too(override, monkeypatch):
    monkeypatch.setenv("HOME", "SECRET")
    with pytest.raises(SemttaError) as error:
        load_config("default", [override])
    assert "SECRET" not in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize(("schema", "bounds"), [(Config, BOUNDS), (Pose2DConfig, _BOUNDS)])
def test_every_numeric_setting_has_bounds(schema, bounds):
    """A setting that is added without them fails here."""
    assert set(numeric_keys(schema)) == set(bounds)
    for key, (low, high) in bounds.items():
        assert -math.inf < low < high < math.inf, key


@pytest.mark.parametrize("key", sorted(BOUNDS))
def test_no_number_is_without_end(key):
    values = OmegaConf.structured(Config())
    many = {"optimizer.betas": 2, "camera.center": 2, "labels.price": 2}.get(key)
    for value in (1e300, -1e300, math.nan, math.inf, -math.inf, 10**30, 10**308, -(10**30)):
        with suppress(OmegaConfBaseException):
            OmegaConf.update(values, key, [value] * many if many else value)
            with pytest.raises(SemttaError, match=key.replace(".", r"\.")) as error:
                check_values(values, {}, BOUNDS)
            assert len(str(error.value)) < 300


def test_the_largest_seed_is_one():
    assert load_config("default", [f"seed={MAX_SEED}"]).seed == MAX_SEED
    torch.Generator().manual_seed(MAX_SEED)
    for seed in (MAX_SEED + 1, -1):
        with pytest.raises(SemttaError, match="seed must lie"):
            load_config("default", [f"seed={seed}"])


def test_settings_made_in_python_are_looked_at_too():
    from semtta.config import validate
    from semtta.config_schema import CameraConfig, OptimizerConfig

    for made in (
        Config(seed=-1), Config(optimizer=OptimizerConfig(lr=math.nan)),
        Config(camera=CameraConfig(center=[math.inf, 0.0])), Config(seed="x"),
    ):  # fmt: skip
        with pytest.raises(SemttaError):
            validate(made)


def test_a_table_file_is_data_too(tmp_path):
    from semtta.bench.table_files import load_table

    path = tmp_path / "t.yaml"
    for text in ("title: ${oc.env:HOME}", "methods: !!python/name:os.system", "methods: [" * 900):
        path.write_text(text)
        with pytest.raises(SemttaError):
            load_table(path)
    with pytest.raises(SemttaError, match="no table"):
        load_table("x" * 5000)


TEXTS = [path.read_text() for path in shipped_configs().values()] + [config_to_yaml(Config())]
BITS = st.sampled_from(
    ["${oc.env:HOME}", "&a", "*a", "<<: *a", "!!python/object:os.x ", "[", "]", "{", "}", ": ",
     "- ", "\n", "\t", "'", '"', "|", ">", "#", "?", "null", ".nan", "-.inf", "1e999", "???",
     "9" * 400, "0x" + "f" * 400, "1:2:3", "\u2028", "\0", "\ud800", "%YAML 9", "---\n", "...\n"]
)  # fmt: skip


@hostile
@given(st.sampled_from(TEXTS), st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 30), BITS)))
def test_damaged_settings_are_settings_or_one_sentence(tmp_path, text, edits):
    for at, cut, put in edits:
        at %= len(text) + 1
        text = text[:at] + put + text[at + cut :]
    path = tmp_path / "c.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    _settings_or_a_sentence(path)


@hostile
@given(st.binary(max_size=300))
def test_any_bytes_are_settings_or_one_sentence(tmp_path, data):
    path = tmp_path / "c.yaml"
    path.write_bytes(data)
    _settings_or_a_sentence(path)


@hostile
@given(st.sampled_from(sorted(BOUNDS)) | st.text(max_size=20), st.text(max_size=40) | BITS)
def test_any_override_is_a_setting_or_one_sentence(key, value):
    _settings_or_a_sentence("default", [f"{key}={value}"])


def _settings_or_a_sentence(name, overrides=()):
    try:
        found = load_config(name, overrides)
    except SemttaError as error:
        assert "\n" not in str(error)
        return
    values = OmegaConf.structured(found)
    for key, (low, high) in BOUNDS.items():
        value = OmegaConf.select(values, key)
        for number in value if OmegaConf.is_list(value) else [value]:
            assert number is None or isinstance(number, str) or low <= number <= high
