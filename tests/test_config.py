import pytest

from semtta.config import Config, as_override, config_to_yaml, load_config, shipped_configs
from semtta.errors import SemttaError


def test_every_shipped_file_loads_and_names_its_command():
    assert "default" in shipped_configs()
    for name, path in shipped_configs().items():
        assert isinstance(load_config(name), Config)
        assert "semtta " in path.read_text().split("\nstrategy")[0], name


def test_what_is_printed_can_be_read_back(tmp_path):
    config = load_config("default", ["optimizer.lr=0.001", "camera.focal=1500"])
    path = tmp_path / "mine.yaml"
    path.write_text(config_to_yaml(config))
    assert load_config(path) == config


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
     "evidence.robust=[0.1]"],
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
        config = load_config("default", [as_override("model.checkpoint", name)])
        assert config.model.checkpoint == name
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
