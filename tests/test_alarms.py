import dataclasses
import random

import pytest
import torch
from photographs import SMALL, write_photos

from train import loop
from train.alarms import ADVICE, BLIND_LOSS, FEW, FEW_GRIDS, FLAT_ESTIMATE, Alarms
from train.card import CARD
from train.checkpoint import CHECKPOINT, load_generator
from train.log import LOG, read_log
from train.loop import TrainError, open_run
from train.parallel import Processes
from train.training_photos import load_photos

CPU = torch.device("cpu")
FULL_COLOUR = {"held_out_l1": 0.1, "held_out_colourfulness": 20.0, "real_colourfulness": 30.0}
# One row of the log that shows each, and the like of it that is healthy.
SIGNS = {
    "critic negative": ({"wasserstein_estimate": -0.4}, {"wasserstein_estimate": 0.4}),
    "critic flat": ({"wasserstein_estimate": 2e-4}, {"wasserstein_estimate": 0.02}),
    "discriminator wins": ({"discriminator_loss": 0.004}, {"discriminator_loss": 0.3}),
    "discriminator blind": ({"discriminator_loss": 1.3862}, {"discriminator_loss": 1.3}),
    "critic clamped": ({"at_clamp": 0.95}, {"at_clamp": 0.6}),
    "grey output": (FULL_COLOUR | {"held_out_colourfulness": 5.0}, FULL_COLOUR),
}


def raised(rows):
    alarms = Alarms()
    return [alarm for row in rows for alarm in alarms.check(row)]


def test_every_alarm_has_a_case_here():
    assert SIGNS.keys() == ADVICE.keys()


@pytest.mark.parametrize("name", SIGNS)
def test_alarm_is_raised_once_by_numbers_that_show_it(name):
    alarms = raised([SIGNS[name][0]] * 3 * FEW)
    assert len(alarms) == 1
    assert alarms[0].startswith(f"{name}: ")
    assert "{" not in alarms[0]


@pytest.mark.parametrize("name", SIGNS)
def test_healthy_numbers_raise_none(name):
    assert raised([SIGNS[name][1]] * 3 * FEW) == []


def test_healthy_runs_raise_none():
    rng = random.Random(0)
    for critic in ("wasserstein_estimate", "discriminator_loss"):
        rows = [{critic: rng.uniform(0.2, 1.2), "l1": 0.1, "at_clamp": 0.1} | FULL_COLOUR for _ in range(200)]
        assert raised(rows) == []


def test_critic_is_judged_by_its_mean_over_several_rows_and_not_before():
    low, high = {"wasserstein_estimate": -1.0}, {"wasserstein_estimate": 1.2}
    assert raised([low] * (FEW - 1)) == []
    assert len(raised([low] * FEW)) == 1
    assert raised([low, high] * FEW) == []  # single rows below 0 are noise


def test_bad_rows_at_the_start_are_forgotten():
    start, later = {"discriminator_loss": BLIND_LOSS + 0.006}, {"discriminator_loss": 0.9}
    assert raised([start] * (FEW - 1) + [later] * 3 * FEW) == []


def test_critic_that_is_flat_and_then_below_zero_raises_both():
    flat, below = {"wasserstein_estimate": FLAT_ESTIMATE / 2}, {"wasserstein_estimate": -1.0}
    assert [alarm.split(":")[0] for alarm in raised([flat] * FEW + [below] * FEW)] == ["critic flat", "critic negative"]


def test_alarms_state_the_number_that_raised_them():
    assert "17% of the photographs'" in raised([SIGNS["grey output"][0]] * FEW_GRIDS)[0]
    assert "95% of the critic's weights" in raised([SIGNS["critic clamped"][0]])[0]
    assert "-0.4 on average" in raised([SIGNS["critic negative"][0]] * FEW)[0]


def test_photographs_without_any_colourfulness_are_no_division_by_zero():
    assert raised([{"held_out_colourfulness": 0.0, "real_colourfulness": 0.0}] * FEW_GRIDS) != []


def test_generator_that_is_grey_only_at_the_start_raises_none():
    assert raised([SIGNS["grey output"][0]] * (FEW_GRIDS - 1) + [FULL_COLOUR] * FEW_GRIDS) == []


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(autouse=True)
def _curves_are_not_drawn(monkeypatch):
    monkeypatch.setattr("train.card._curves", lambda rows: b"")  # takes as long as ten small runs; see test_card


# A clamp so narrow that every weight lies at it, so that an alarm comes at the first row.
CLAMPED = dataclasses.replace(SMALL, name="wgan", objective="wgan", clamp=1e-6, discriminator_lr=0.1)


def run_training(folder, run, config, resume=False, until=None):
    photos = load_photos(folder, config)
    state = open_run(run, config, photos.provenance, Processes(CPU), resume)
    loop.train(state, config, photos, run, until=until)
    return state


def test_alarm_of_a_run_stands_in_its_log_and_card_once(photos, tmp_path, capfd):
    assert run_training(photos, tmp_path / "run", CLAMPED).step == 4
    alarms = [row for row in read_log(tmp_path / "run" / LOG) if "alarm" in row]
    clamped = [row for row in alarms if row["alarm"].startswith("critic clamped: ")]
    assert [row["step"] for row in clamped] == [1]
    card = (tmp_path / "run" / CARD).read_text()
    assert card.count(f"- step 1: {clamped[0]['alarm']}") == 1
    assert "## Alarms" in card
    assert "Alarm at step 1: critic clamped" in capfd.readouterr().err


def test_healthy_run_has_no_alarm_in_its_card(photos, tmp_path):
    run_training(photos, tmp_path / "run", SMALL)
    assert "Alarm" not in (tmp_path / "run" / CARD).read_text()
    assert not any("alarm" in row for row in read_log(tmp_path / "run" / LOG))


def test_alarm_stops_a_run_that_is_to_stop_and_it_goes_on_when_it_is_to_warn(photos, tmp_path):
    stopping = dataclasses.replace(CLAMPED, on_alarm="stop", checkpoint_every=100)
    with pytest.raises(
        TrainError, match=r"stopped at step 1 and saved. critic clamped: .*on_alarm = \"warn\" and --res"
    ):
        run_training(photos, tmp_path / "run", stopping)
    assert load_generator(tmp_path / "run", CPU).step == 1
    assert "critic clamped" in (tmp_path / "run" / CARD).read_text()

    warning = dataclasses.replace(stopping, on_alarm="warn")
    assert run_training(photos, tmp_path / "run", warning, resume=True).step == 4
    run_training(photos, tmp_path / "whole", warning)
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == (tmp_path / "whole" / CHECKPOINT).read_bytes()


def test_alarm_is_not_told_again_when_a_run_goes_on(photos, tmp_path):
    run_training(photos, tmp_path / "run", CLAMPED, until=2)
    run_training(photos, tmp_path / "run", CLAMPED, resume=True)
    alarms = [row for row in read_log(tmp_path / "run" / LOG) if "alarm" in row]
    assert [row["step"] for row in alarms if row["alarm"].startswith("critic clamped")] == [1]


def test_run_that_is_to_stop_is_stopped_again_by_what_is_still_wrong(photos, tmp_path):
    config = dataclasses.replace(CLAMPED, on_alarm="stop")
    for step in (1, 2):
        with pytest.raises(TrainError, match=rf"stopped at step {step} and saved. critic clamped: "):
            run_training(photos, tmp_path / "run", config, resume=True)


def test_critic_is_judged_over_the_rows_before_a_resume_too(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("train.alarms.BLIND_LOSS", 0.0)  # every discriminator is blind
    config = dataclasses.replace(SMALL, steps=FEW + 2, sample_every=100, checkpoint_every=100)
    run_training(photos, tmp_path / "whole", config)
    run_training(photos, tmp_path / "parts", config, until=FEW - 5)
    run_training(photos, tmp_path / "parts", config, resume=True)
    for run in ("whole", "parts"):
        alarms = [row for row in read_log(tmp_path / run / LOG) if "alarm" in row]
        assert [(row["step"], row["alarm"].split(":")[0]) for row in alarms] == [(FEW, "discriminator blind")]
