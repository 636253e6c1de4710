import dataclasses
import tomllib
from pathlib import Path

import pytest

from train.config import ConfigError, TrainConfig, parse_config, read_config

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def test_settings_survive_toml_and_back():
    config = TrainConfig(
        name="dogs",
        objective="wgan",
        clamp=0.05,
        adversarial_weight=2.0,
        flip=False,
        seed=7,
        colour_space="lab",
        zoom=1.2,
    )
    assert parse_config(tomllib.loads(config.to_toml()), "it") == config
    assert parse_config(tomllib.loads(TrainConfig().to_toml()), "it") == TrainConfig()


def test_settings_survive_the_checkpoints_dictionary():
    for config in (TrainConfig(), TrainConfig(adversarial_weight=1.0)):
        assert parse_config(config.to_dict(), "it") == config


def test_empty_file_means_the_published_networks(tmp_path):
    (tmp_path / "c.toml").write_text("")
    config = read_config(tmp_path / "c.toml")
    assert (config.image_size, config.generator_depth, config.generator_width, config.l1_weight) == (256, 7, 64, 100)


@pytest.mark.parametrize("name", ["cgan", "wgan"])
def test_demonstration_settings_are_read(name):
    config = read_config(CONFIGS / f"{name}-demo.toml")
    assert config.name == config.objective == name
    assert config.image_size == 128


def test_both_demonstrations_hold_out_the_same_photographs():
    cgan, wgan = (read_config(CONFIGS / f"{name}-demo.toml") for name in ("cgan", "wgan"))
    assert (cgan.held_out, cgan.image_size) == (wgan.held_out, wgan.image_size)


def test_unknown_setting_names_the_nearest():
    with pytest.raises(ConfigError, match=r"c.toml: 'batchsize' is not a setting; did you mean 'batch_size'\?"):
        parse_config({"batchsize": 4}, "c.toml")
    with pytest.raises(ConfigError, match=r"'zzz' is not a setting; known are name, objective"):
        parse_config({"zzz": 4}, "c.toml")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"batch_size": "4"}, "batch_size is '4', expected a whole number"),
        ({"batch_size": 4.0}, "batch_size is 4.0, expected a whole number"),
        ({"batch_size": True}, "batch_size is True, expected a whole number"),
        ({"flip": 1}, "flip is 1, expected true or false"),
        ({"clamp": "x"}, "clamp is 'x', expected a number"),
        ({"name": 3}, "name is 3, expected text in quotes"),
        ({"objective": "gan"}, "objective is 'gan'; choose one of 'cgan', 'wgan'"),
        ({"objective": ["cgan"]}, "choose one of 'cgan', 'wgan'"),
        ({"steps": 0}, "steps is 0; choose a value from 1"),
        ({"held_out": 1.0}, "held_out is 1.0; choose a value from 0.001 to 0.999"),
        ({"clamp": float("nan")}, "clamp is nan; choose a value"),
        ({"clamp": 10**400}, "clamp is inf; choose a value"),
        ({"adversarial_weight": -1.0}, "adversarial_weight is -1.0; choose a value from 0"),
        ({"name": "My GAN"}, "name is 'My GAN'; use lower-case"),
        ({"image_size": 250}, "image_size 250 does not fit a generator of depth 7.*take 256"),
        ({"image_size": 64}, "image_size 64 does not fit a generator of depth 7.*take 128, or a smaller depth"),
        ({"colour_space": "hsv"}, "colour_space is 'hsv'; choose one of 'rgb', 'lab'"),
        (
            {"discriminator_norm": "instance"},
            "discriminator_norm is 'instance'; choose one of 'auto', 'none', 'batch', 'layer'",
        ),
        ({"lr_schedule": "step"}, "lr_schedule is 'step'; choose one of 'constant', 'linear', 'cosine'"),
        ({"lr_decay_from": 1.1}, "lr_decay_from is 1.1; choose a value from 0 to 1"),
        ({"zoom": 0.9}, "zoom is 0.9; choose a value from 1 to 1.5"),
        ({"critic_warmup": -1}, "critic_warmup is -1; choose a value from 0 to 10000"),
        ({"penalty_weight": -1.0}, "penalty_weight is -1.0; choose a value from 0"),
        ({"compile": 1}, "compile is 1, expected true or false"),
        ({"on_alarm": "mail"}, "on_alarm is 'mail'; choose one of 'warn', 'stop'"),
        (
            {"objective": "wgan-gp", "discriminator_norm": "batch"},
            'discriminator_norm is "batch", but the penalty of wgan-gp.*take "layer" or "none"',
        ),
        ({"image_size": 128, "batch_size": 1}, "batch_size is 1 and image_size 128 shrinks to 1x1.*batch of 2 or more"),
    ],
)
def test_wrong_setting_is_named_with_what_to_do(setting, message):
    with pytest.raises(ConfigError, match=f"^c.toml: .*{message}"):
        parse_config(setting, "c.toml")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "name", [name for name, value in TrainConfig(adversarial_weight=1.0).to_dict().items() if type(value) is float]
)
def test_number_that_is_not_finite_is_refused(tmp_path, name, value):
    (tmp_path / "c.toml").write_text(f"{name} = {value}")
    with pytest.raises(ConfigError, match=rf"c.toml: {name} is {value}; choose a value from"):
        read_config(tmp_path / "c.toml")


def test_whole_numbers_stand_for_numbers_and_single_pictures_fit_a_wider_bottleneck():
    assert parse_config({"l1_weight": 10}, "it").l1_weight == 10.0
    assert type(parse_config({"adversarial_weight": 1}, "it").adversarial_weight) is float
    assert TrainConfig(image_size=256, batch_size=1).batch_size == 1


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("linear", [1, 1, 0.75, 0.5, 0.25]),  # at steps 0, 20, 40, 60 and 80
        ("cosine", [1, 1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]),
    ],
)
def test_learning_rates_fall_as_scheduled(schedule, expected):
    config = TrainConfig(steps=100, lr_schedule=schedule, lr_decay_from=0.2)
    assert [config.learning_rate_at(step) for step in (0, 20, 40, 60, 80)] == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_learning_rates_fall_steadily_to_almost_nothing(schedule):
    for begin in (0.0, 0.5, 0.999, 1.0):
        config = TrainConfig(steps=1000, lr_schedule=schedule, lr_decay_from=begin)
        rates = [config.learning_rate_at(step) for step in range(1000)]
        assert rates[0] == 1
        assert rates == sorted(rates, reverse=True)
        assert all(0 < rate <= 1 for rate in rates)
        if begin <= 0.5:
            assert rates[-1] < 0.003


def test_number_of_steps_is_free_on_resume_unless_a_schedule_rests_on_it():
    assert "steps" in TrainConfig().free_on_resume()
    for schedule in ("linear", "cosine"):
        config = TrainConfig(lr_schedule=schedule)
        assert config.free_on_resume() == TrainConfig().free_on_resume() - {"steps"}


def test_only_a_fixed_weight_of_nought_is_without_a_critic():
    assert [TrainConfig(adversarial_weight=w).has_critic for w in (None, 0.0, 1e-6)] == [True, False, True]


def test_photos_are_kept_as_much_larger_as_zoom_says():
    assert TrainConfig().stored_size == 256
    assert TrainConfig(zoom=1.125).stored_size == 288


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign"):
        TrainConfig().steps = 3


def test_file_that_is_no_toml_or_is_not_there_is_named(tmp_path):
    (tmp_path / "c.toml").write_text("steps = = 3")
    with pytest.raises(ConfigError, match=r"c.toml is not TOML \(.*line 1"):
        read_config(tmp_path / "c.toml")
    with pytest.raises(ConfigError, match=r"d.toml cannot be read \(No such file"):
        read_config(tmp_path / "d.toml")


@pytest.mark.parametrize(("objective", "norm"), [("cgan", "batch"), ("wgan", "batch"), ("wgan-gp", "layer")])
def test_norm_of_the_discriminator_is_chosen_for_the_objective(objective, norm):
    assert TrainConfig(objective=objective).discriminator_norm == norm
    assert TrainConfig(objective=objective, discriminator_norm="none").discriminator_norm == "none"
