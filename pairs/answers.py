"""Differences between the two pictures of every pair in; how often an observer of them tells the fake, and by what chance, out.

Differences are fake minus real, so that changing sides changes their sign and nothing else. That is what chance means
here: which of the two is fake was drawn by a coin for every pair.
"""

from collections import Counter
from collections.abc import Sequence
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]
Folds = NDArray[np.int64]  # (n,): the fold of every pair

N_CATEGORIES = 20  # the most common; the others are one


def cross_validated_sign(difference: Floats, folds: Folds) -> Floats:
    """Answers of an observer who learnt in the other folds whether the fake has more of the cue, or less."""
    signs = np.sign(difference)
    elsewhere = signs.sum() - np.bincount(folds, signs)
    return np.asarray(0.5 + 0.5 * signs * np.sign(elsewhere)[folds])


def sign_test(difference: Floats) -> float:
    """Exact and two-sided, as the direction was learnt; ties are left out (Dixon & Mood 1946)."""
    more, less = int((difference > 0).sum()), int((difference < 0).sum())
    return float(binomtest(more, more + less).pvalue) if more + less else 1.0


def number_features(difference: Floats, real: Floats, fake: Floats) -> Floats:
    """Differences (n, 2) of the cue and of its squared deviation, by which tells that go both ways are found.

    Their scales and the mean do not depend on which picture is the fake one.
    """
    features = np.stack((difference, difference * (fake + real - (fake + real).mean())), axis=1)
    scale = np.sqrt((features**2).mean(axis=0))
    return np.clip(features / np.where(scale > 0, scale, 1), -5, 5)


def word_features(real: Sequence[str], fake: Sequence[str]) -> Floats:
    """One-hot differences (n, categories)."""
    common = [word for word, _ in Counter([*real, *fake]).most_common(N_CATEGORIES)]
    place = {word: i for i, word in enumerate(common)}
    one_hot = np.eye(len(common) + 1)
    sides = (one_hot[[place.get(word, len(common)) for word in words]] for words in (fake, real))
    return np.asarray(np.subtract(*sides))


def regression(features: Floats, folds: Folds) -> tuple[Floats, float]:
    """Answers of a cross-validated logistic regression on differences (n, k), and the chance of as many.

    Cross-validated answers depend on each other, so that their number is not binomial. The p-value is that of answers
    learnt from the earlier folds alone: each is a fair coin given all before it, and their number exactly binomial
    (progressive validation: Dawid 1984; Blum, Kalai & Langford 1999).
    """
    answers, right, decided = np.full(len(features), 0.5), 0, 0
    differing = features.any(axis=1)
    for fold in range(folds.max() + 1):
        asked = features[folds == fold]
        answers[folds == fold] = 0.5 + 0.5 * np.sign(asked @ _direction(features[differing & (folds != fold)]))
        foreseen = np.sign(asked @ _direction(features[differing & (folds < fold)]))
        right, decided = right + int((foreseen > 0).sum()), decided + int((foreseen != 0).sum())
    return answers, float(binomtest(right, decided, alternative="greater").pvalue) if decided else 1.0


def _direction(features: Floats) -> Floats:
    """The weights (k,) of a regression without intercept, for which a pair is the same the other way round."""
    if len(features) < 2:
        return features.sum(axis=0)
    turned = np.where(np.arange(len(features)) % 2, 1.0, -1.0)  # the regression wants both answers
    with threadpool_limits(1):  # so few numbers that threads would only wait for each other
        fitted = LogisticRegression(fit_intercept=False).fit(features * turned[:, None], turned)
    return np.asarray(fitted.coef_[0])


def exact_interval(right: float, n: int) -> tuple[float, float]:
    """Exact 95 % interval (Clopper & Pearson 1934); half an answer widens it to both its whole neighbours."""
    low = binomtest(floor(right), n).proportion_ci(method="exact").low
    return float(low), float(binomtest(ceil(right), n).proportion_ci(method="exact").high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted for being many (Holm 1979), in the same order."""
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(np.array(p_values)[order] * np.arange(len(order), 0, -1))
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(stepped, 1)
    return [float(p) for p in adjusted]
