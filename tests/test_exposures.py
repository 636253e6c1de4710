"""What a report says of exposures: how they were kept, and where the staircases of an adaptive study settled."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.exposures import measure_timing, settled_exposures


def trials(exposures: dict[tuple[str, int], list[int]], condition: str = "cgan") -> pd.DataFrame:
    """Main trials by (participant, block), in order."""
    rows = [
        {"condition": condition, "participant": who, "session": who, "block": block, "exposure_ms": float(ms)}
        for (who, block), shown in exposures.items()
        for ms in shown
    ]
    return pd.DataFrame(rows).assign(trial_index=range(len(rows)))


def test_settled_exposures_are_counted_by_hand() -> None:
    shown = {
        ("a", 0): [500, 490, 490, 480],  # modal 490; late 485
        ("a", 1): [500, 530, 530, 520],  # modal 530; late 525
        ("b", 0): [500, 490, 480, 470],  # each once: their mean, 485; late 475
    }
    (found,) = settled_exposures(trials(shown))
    assert found.modal_ms == ((490 + 530) / 2 + 485) / 2
    assert found.late_ms == ((485 + 525) / 2 + 475) / 2
    low, high = stats.t.interval(0.95, 1, loc=found.modal_ms, scale=stats.sem([510, 485]))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.n_participants == 2


def test_one_participant_has_no_interval_and_a_table_without_blocks_is_one_block() -> None:
    (found,) = settled_exposures(trials({("a", 0): [500, 490, 490], ("a", 1): [490]}).drop(columns="block"))
    assert (found.modal_ms, found.low, found.high) == (490, None, None)


def test_conditions_settle_apart() -> None:
    both = pd.concat([trials({("a", 0): [300, 300]}, "wgan"), trials({("a", 0): [700, 700]}, "cgan")])
    assert {found.condition: found.modal_ms for found in settled_exposures(both)} == {"cgan": 700, "wgan": 300}


def measured(**columns: object) -> pd.DataFrame:
    table = {
        "exposure_ms": [100.0, 200.0, 300.0],
        "exposure_measured_ms": [101.0, 198.0, 304.0],
        "late_frames": [0.0, 1, 0],
    }
    return pd.DataFrame({**table, **columns})


def test_timing_tells_how_far_the_measured_exposure_is_from_the_planned() -> None:
    timing = measure_timing(measured(focus_lost=["true", "false", None]))
    assert timing is not None
    assert (timing.off_ms, timing.median_ms, timing.planned_ms) == (2.0, 198.0, (100.0, 200.0, 300.0))
    assert timing.late == pytest.approx(1 / 3)
    assert timing.focus_lost == 0.5


def test_timing_without_a_plan_or_a_measure_says_what_it_can() -> None:
    unlimited = measure_timing(measured(exposure_ms=[np.nan] * 3))
    assert unlimited is not None
    assert (unlimited.off_ms, unlimited.planned_ms, unlimited.focus_lost) == (None, (), None)
    assert measure_timing(measured(exposure_measured_ms=[np.nan] * 3)) is None
