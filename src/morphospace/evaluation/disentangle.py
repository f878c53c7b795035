"""Disentanglement metrics of codes and generative factors: MIG in two definitions, SAP and DCI.

Each is 1 for a code with one unit a factor, about 0 for one that has nothing to do with them, and does not change
when an inactive unit is added. The metrics by votes are in `votes`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from morphospace.errors import require
from morphospace.evaluation.factors import Coded
from morphospace.randomness import stream

BINS, DRAWS = 20, 2_000
TREES, DEPTH, ROWS = 30, 12, 5_000


def mutual_information(table: np.ndarray) -> float:
    """Return I(a; b) in nats from a table of counts (A, B).

    >>> round(mutual_information(np.array([[2, 0], [0, 2]])), 6)
    0.693147
    """
    joint = table / table.sum()
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / apart[there])).sum())


def entropies(states: np.ndarray) -> np.ndarray:
    """Return the entropy in nats of each column of states (N, F), (F,)."""
    shares = (np.bincount(column) / len(column) for column in states.T)
    return np.array([float(-(p[p > 0] * np.log(p[p > 0])).sum()) for p in shares])


def gap(scores: np.ndarray) -> float:
    """Return the mean over factors of the best unit's score less the second's, scores (D, F); a lone unit's is its own.

    >>> gap(np.array([[0.9, 0.1], [0.2, 0.6]]))
    0.6
    """
    if not scores.size:
        return 0.0
    ranked = np.sort(np.concatenate([scores, np.zeros((1, scores.shape[1]))]), axis=0)
    return round(float((ranked[-1] - ranked[-2]).mean()), 12)


def mig_binned(coded: Coded, *, bins: int = BINS) -> float:
    """Return the mutual information gap of the codes' means, cut into bins of equal width (Locatello et al. 2019).

    1/F sum_k (I(z_j1; v_k) - I(z_j2; v_k)) / H(v_k), j1 and j2 being the units that know most of factor k. This is
    what most papers after "Challenging common assumptions" report; it sees the means only.
    """
    living = coded.living()
    scores = np.zeros((living.means.shape[1], living.states.shape[1]))
    for j, values in enumerate(living.means.T.astype(np.float64)):
        cut = np.digitize(values, np.histogram_bin_edges(values, bins)[1:-1])
        for k, states in enumerate(living.states.T):
            table = np.zeros((bins, states.max() + 1))
            np.add.at(table, (cut, states), 1)
            scores[j, k] = mutual_information(table)
    return gap(scores / entropies(living.states))


def mig_posterior(coded: Coded, *, draws: int = DRAWS, seed: int = 0) -> float:
    """Return the mutual information gap of codes drawn from q(z | x), as first defined (Chen et al. 2018).

    I(z_j; v_k) = E[log q(z_j | v_k) - log q(z_j)], where q(z_j) is the mean of q(z_j | x) over the whole set and
    q(z_j | v_k) that over the images of this state, the expectation over codes drawn from the posteriors of random
    images. No bins; a unit that is unsure of itself knows less here than `mig_binned` says. The image that a code was
    drawn from is left out of both: kept in, posteriors narrower than the codes are apart would make noise know it.
    """
    variances = coded.log_variances
    require(variances is not None, "coded", None, "has no variances: the encoder gives points", "use mig_binned")
    living = coded.living()
    assert living.log_variances is not None
    rng = np.random.default_rng(stream(seed, "mig"))
    states, count = living.states, len(living.states)
    chosen = rng.choice(count, min(draws, count), replace=False)
    noise = rng.standard_normal((len(chosen), living.means.shape[1]))
    # Which images share a state, for all factors at once: a product with it sums densities by state.
    first = np.cumsum(living.counts) - living.counts
    member = np.zeros((count, sum(living.counts)), np.float32)
    member[np.arange(count)[:, None], states + first] = 1
    sizes = member.sum(0)
    own = np.asarray(states + first, np.int64)[chosen]
    scores = np.zeros((living.means.shape[1], states.shape[1]))
    for j in range(len(scores)):
        mean, log_variance = (values[:, j].astype(np.float32) for values in (living.means, living.log_variances))
        z = mean[chosen] + np.exp(0.5 * log_variance[chosen]) * noise[:, j].astype(np.float32)
        for rows in np.array_split(np.arange(len(chosen)), max(1, len(chosen) * count // (1 << 22))):
            exponent = -0.5 * ((z[rows, None] - mean) ** 2 * np.exp(-log_variance) + log_variance)
            exponent[np.arange(len(rows)), chosen[rows]] = -np.inf
            density = np.exp(exponent - exponent.max(1, keepdims=True))
            by_state = np.take_along_axis(density @ member, own[rows], 1) / np.maximum(sizes[own[rows]] - 1, 1)
            overall = density.sum(1, dtype=np.float64, keepdims=True) / (count - 1)
            scores[j] += np.log(np.maximum(by_state, 1e-30) / overall).sum(0)
    return gap(np.maximum(scores / len(chosen), 0) / entropies(states))


def _halves(rows: int, seed: int, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Split rows at random into those to fit and those to judge by, so many at most of each."""
    order = np.random.default_rng(stream(seed, what)).permutation(rows)
    half = rows // 2
    return order[:half][:ROWS], order[half:][:ROWS]


def sap(coded: Coded, *, seed: int = 0) -> float:
    """Return the separated attribute predictability (Kumar, Sattigeri & Balakrishnan 2018).

    The mean over factors of how much better the best unit alone predicts it than the second: by squared correlation
    for a factor with an order, for one of kinds by the balanced accuracy on held-out images of as many thresholds on
    the unit as it has states (a decision tree), scaled so that guessing has 0, which the paper does not do.
    """
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.tree import DecisionTreeClassifier

    living = coded.living()
    fit, judge = _halves(len(living.means), seed, "sap")
    scores = np.zeros((living.means.shape[1], living.states.shape[1]))
    for j, values in enumerate(living.means.T.astype(np.float64)):
        for k, states in enumerate(living.states.T):
            if living.ordered[k]:
                scores[j, k] = np.corrcoef(values, states)[0, 1] ** 2
                continue
            count = living.counts[k]
            tree = DecisionTreeClassifier(max_leaf_nodes=2 * count, class_weight="balanced", random_state=0)
            tree.fit(values[fit, None], states[fit])
            accuracy = balanced_accuracy_score(states[judge], tree.predict(values[judge, None]))
            scores[j, k] = max(0.0, (accuracy - 1 / count) / (1 - 1 / count))
    return gap(scores)


@dataclass(frozen=True)
class DCI:
    """Three numbers of a code (Eastwood & Williams 2018).

    Attributes:
        disentanglement: Whether each unit matters to one factor only; the mean over units by how much they matter.
        completeness: Whether each factor depends on one unit only.
        informativeness: How well the whole code predicts held-out factors: R^2 of one with an order, for one of
            kinds the accuracy, scaled so that guessing the commonest has 0; not below 0.
        importance: How much of each factor's prediction depends on each active unit, (D, F), columns sum to one.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importance: np.ndarray


def dci(coded: Coded, *, seed: int = 0) -> DCI:
    """Return disentanglement, completeness and informativeness, from the importances of random forests.

    Forests (30 trees of depth 12, each split choosing among all units) are one of the two predictors of the paper,
    the other being a lasso; gradient boosting, which later code uses, gives other numbers. Completeness is the plain
    mean over factors, its entropies over the logarithm of the number of active units: with all units in that
    logarithm, each dead one would raise it.
    """
    living = coded.living()
    importance = np.zeros((living.means.shape[1], living.states.shape[1]))
    if not importance.shape[0]:
        return DCI(0.0, 0.0, 0.0, importance)
    informed = []
    fit, judge = _halves(len(living.means), seed, "dci")
    for k, states in enumerate(living.states.T):
        importance[:, k], score = _forest(living.means, states, living.ordered[k], fit, judge)
        informed.append(score)
    importance[:, np.asarray(informed) == 0] = 0  # a forest that predicts nothing has no importances
    total = importance.sum()
    if total <= 0:
        return DCI(0.0, 0.0, float(np.mean(informed)), importance)
    weight = importance.sum(1) / total
    disentanglement = float((weight * _focus(importance)).sum())
    return DCI(disentanglement, float(_focus(importance.T).mean()), float(np.mean(informed)), importance)


def _forest(
    means: np.ndarray, states: np.ndarray, ordered: bool, fit: np.ndarray, judge: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the importance (D,) of each unit to a forest that predicts a factor, and how well it does on others."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    settings = {"n_estimators": TREES, "max_depth": DEPTH, "max_features": None, "random_state": 0}
    forest = (RandomForestRegressor if ordered else RandomForestClassifier)(**settings)
    forest.fit(means[fit], states[fit])
    score = float(forest.score(means[judge], states[judge]))
    if not ordered:
        commonest = np.bincount(states[judge]).max() / len(judge)
        score = (score - commonest) / (1 - commonest) if commonest < 1 else 0.0
    return forest.feature_importances_, max(0.0, score)


def _focus(rows: np.ndarray) -> np.ndarray:
    """Return 1 less the entropy of each row over its largest, (R,): 1 where one entry has all, 0 where all are even."""
    if rows.shape[1] < 2:
        return (rows.sum(1) > 0).astype(np.float64)
    total = rows.sum(1, keepdims=True)
    shares = np.divide(rows, total, out=np.full_like(rows, 1 / rows.shape[1]), where=total > 0)
    plogp = shares * np.log(np.where(shares > 0, shares, 1.0))
    return 1 + plogp.sum(1) / np.log(rows.shape[1])
