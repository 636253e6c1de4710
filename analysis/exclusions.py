"""A response table and the plan fixed beforehand in; which sessions do not count, and why, out. Nothing is deleted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.fool_rate import chose_first_side, is_wrong
from protocol.design import Analysis

# Every criterion, by the name it has in the plan (the limit of catch trials may also come from the design): which
# column of the session summary is its value, what it leaves out in words, and why some sessions cannot be judged by it.
_CRITERIA = {
    "exclude_unfinished": (
        "answered",
        "not every main trial answered",
        "nothing says how many trials they were to answer",
    ),
    "min_median_rt_ms": ("median_rt_ms", "a median response time below {limit:g} ms", "no response time is known"),
    "max_one_side": ("one_side", "more than {share:g} % of the answers on one side", "the side chosen is not known"),
    "max_missed": ("missed", "more than {limit:g} catch trial{s} missed", "no catch trial was answered"),
    "exclude_colour_vision": (
        "plates_read",
        "the colour-vision screening not passed",
        "no result of the screening is known",
    ),
    "max_focus_lost": (
        "focus_lost",
        "the focus lost in more than {share:g} % of the trials",
        "nothing says whether the focus was lost",
    ),
    "max_late": ("late", "late frames in more than {share:g} % of the trials", "no count of late frames is known"),
}
_FLAGS = {"true": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.0": 0.0}


@dataclass(frozen=True)
class Exclusion:
    """One criterion that one session failed, and the value found; a session may fail several.

    ``value`` is main trials answered (exclude_unfinished), milliseconds (min_median_rt_ms), catch trials missed
    (max_missed), plates read (exclude_colour_vision), or a share of the main trials answered: on the side taken more
    often (max_one_side), with the focus lost (max_focus_lost), with late frames (max_late).
    """

    session: str
    criterion: str
    value: float


def find_exclusions(
    table: pd.DataFrame,
    plan: Analysis,
    main_trials: int | None = None,
    max_missed: int | None = None,
    sessions: pd.DataFrame | None = None,
) -> list[Exclusion]:
    """Every criterion of the plan that a session fails, by session. Main trials decide; practice never does.

    ``main_trials`` is the number that the design gives each session; without it, a session is unfinished when one of
    its main trials in the table has no answer. ``max_missed`` is how many catch trials the design lets a session miss,
    and ``sessions`` the table of sessions.csv. What nothing is known of excludes nobody: ``undecidable`` tells.
    """
    return exclusions_in(session_summary(table, main_trials, sessions), plan, max_missed)


def exclusions_in(summary: pd.DataFrame, plan: Analysis, max_missed: int | None = None) -> list[Exclusion]:
    """``find_exclusions`` from a ``session_summary``."""
    found = [
        Exclusion(str(session), criterion, float(value))
        for criterion, limit in criteria_of(plan, max_missed).items()
        for session, value in summary.loc[fails(summary, criterion, limit), _CRITERIA[criterion][0]].items()
    ]
    return sorted(found, key=lambda exclusion: (exclusion.session, exclusion.criterion))


def criteria_of(plan: Analysis, max_missed: int | None = None) -> dict[str, float]:
    """The criteria that are in use with their limits (1 where there is none to set), in a fixed order."""
    catch = plan.max_catch_missed if plan.max_catch_missed is not None else max_missed
    limits = {name: catch if name == "max_missed" else getattr(plan, name) for name in _CRITERIA}
    return {name: float(limit) for name, limit in limits.items() if limit is not None and limit is not False}


def in_words(criterion: str, limit: float) -> str:
    """What the criterion leaves out, after "sessions with"."""
    return _CRITERIA[criterion][1].format(limit=limit, share=100 * limit, s="s" * (limit != 1))


def fails(summary: pd.DataFrame, criterion: str, limit: float) -> NDArray[np.bool_]:
    """Whether each session of a ``session_summary`` fails the criterion; never where its value is unknown (NaN)."""
    if criterion == "exclude_unfinished":
        failed = ~summary["finished"]
    elif criterion == "exclude_colour_vision":
        failed = summary["colour_vision"] == 0
    elif criterion == "min_median_rt_ms":
        failed = summary["median_rt_ms"] < limit
    else:
        failed = summary[_CRITERIA[criterion][0]] > limit
    return failed.to_numpy(dtype=bool)


def undecidable(summary: pd.DataFrame, plan: Analysis, max_missed: int | None = None) -> list[str]:
    """A sentence per criterion of the plan that cannot be decided for sessions that count, as the data do not say."""
    used = criteria_of(plan, max_missed)
    counts = (summary["answered"] > 0).to_numpy()
    for criterion, limit in used.items():
        counts = counts & ~fails(summary, criterion, limit)
    # Only the design, or rows without an answer, can tell that somebody left trials out.
    is_complete = summary["planned"].isna() & (summary["shown"] == summary["answered"]).all()
    unknown = {
        "exclude_unfinished": is_complete,
        "max_missed": summary["catch"] == 0,
        "exclude_colour_vision": summary["colour_vision"].isna(),
    }
    sentences = []
    for criterion, limit in used.items():
        value, _, reason = _CRITERIA[criterion]
        n = int((unknown.get(criterion, summary[value].isna()).to_numpy() & counts).sum())
        if n:
            sentences.append(
                f"The plan's criterion '{in_words(criterion, limit)}' cannot be judged for {n} of the {int(counts.sum())} "
                f"sessions that count ({reason}): {'it was' if n == 1 else 'they were'} kept."
            )
    return sentences


def session_summary(
    table: pd.DataFrame,
    main_trials: int | None = None,
    sessions: pd.DataFrame | None = None,
    *,
    sides_known: bool = True,
) -> pd.DataFrame:
    """One row per session, by name; NaN where nothing is known, as of sides that were made up (not ``sides_known``).

    Counts: main trials ``planned``, ``shown`` and ``answered``; ``catch`` trials answered and ``missed``. ``finished``:
    bool. Of the main trials answered: ``median_rt_ms``, and as shares ``one_side``, ``focus_lost`` and ``late``. ``colour_vision``:
    1 passed, 0 not; ``plates_read``.
    """
    names = pd.Index(sorted(str(name) for name in table["session"].unique()), name="session", dtype=str)
    codes = session_codes(table["session"], names)
    is_main, is_answered = (table["kind"] == "main").to_numpy(), table["chosen_side"].notna().to_numpy()
    answered, catch = is_main & is_answered, (table["kind"] == "catch").to_numpy() & is_answered
    missed = catch.copy()
    missed[catch] = is_wrong(table.loc[catch, ["chosen_side", "real_side"]])

    def count(rows: NDArray[np.bool_]) -> NDArray[np.intp]:
        return np.bincount(codes[rows], minlength=len(names))

    def share(values: NDArray[np.float64]) -> NDArray[np.float64]:
        known = answered & ~np.isnan(values)
        with np.errstate(invalid="ignore"):  # 0 / 0: NaN, not known
            return np.asarray(count(known & (values > 0)) / count(known), dtype=float)

    shown, n_answered = count(is_main), count(answered)
    one_side = share(chose_first_side(table).to_numpy(dtype=float)) if sides_known else np.full(len(names), np.nan)
    rt_ms = pd.Series(_numbers(table["rt_ms"])[answered]).groupby(codes[answered]).median()
    passed, plates_read = _screening(sessions, names)
    return pd.DataFrame(
        {
            "planned": np.nan if main_trials is None else main_trials,
            "shown": shown,
            "answered": n_answered,
            "catch": count(catch),
            "missed": count(missed),
            "finished": (n_answered >= np.maximum(shown, main_trials or 0)) & (n_answered > 0),
            "median_rt_ms": rt_ms.reindex(range(len(names))).to_numpy(),
            "one_side": np.maximum(one_side, 1 - one_side),
            "focus_lost": share(_flags(table["focus_lost"])) if "focus_lost" in table else np.nan,
            "late": share(_numbers(table["late_frames"])),
            "colour_vision": passed,
            "plates_read": plates_read,
        },
        index=names,
    )


def session_codes(labels: pd.Series, names: pd.Index) -> NDArray[np.intp]:
    """Where each session's label stands among the names; quick for a Categorical."""
    if hasattr(labels, "cat"):
        return np.asarray(names.get_indexer(labels.cat.categories.astype(str))[labels.cat.codes])
    return np.asarray(names.get_indexer(labels.astype(str)))


def keep_counted(table: pd.DataFrame, exclusions: list[Exclusion]) -> pd.DataFrame:
    """The rows of the sessions that no exclusion names."""
    return table[~table["session"].isin({exclusion.session for exclusion in exclusions})]


def _numbers(column: Any) -> NDArray[np.float64]:
    return pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)


def _flags(column: pd.Series) -> NDArray[np.float64]:
    """1 for true, 0 for false and NaN for nothing, however a file spells them."""
    spelled = column.astype("category")
    values = [_FLAGS.get(str(word).lower(), np.nan) for word in spelled.cat.categories]
    return np.array([*values, np.nan])[spelled.cat.codes]  # code -1, nothing, is the last


def _screening(sessions: pd.DataFrame | None, names: pd.Index) -> tuple[Any, Any]:
    """For every session whether the plates were passed (1, 0, or NaN: not known), and how many were read."""
    if sessions is None or "colour_vision.passed" not in sessions:
        return np.nan, np.nan
    known = sessions.drop_duplicates("session")
    rows = known.set_index(known["session"].astype(str)).reindex(names)
    read = _numbers(rows["colour_vision.correct"]) if "colour_vision.correct" in rows else np.nan
    return _flags(rows["colour_vision.passed"]), np.nan_to_num(read)
