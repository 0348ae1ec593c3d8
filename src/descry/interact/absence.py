"""Is the person probably not in this gallery? A calibrated decision from the profile of the scores.

Letters: N items, n calibration queries, F features. A profile says how the best scores stand out from the rest; a
logistic regression turns it into one number, and split conformal prediction (Vovk et al. 2005) turns that number into
two decisions whose false-alarm rates hold for any model and any gallery like the one calibrated on, on the average of
all calibrations (of one calibration: `alarms`):

    absent    said of at most a share α of the queries whose person is here
    stands out  said of at most a share α of the queries whose person is not here
    open      neither can be said

One calibration belongs to one kind of query. Nothing here says who a person is, and the number is never shown as a
percentage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..query import Query
from ..ranking import Ranking
from ..safe_files import JSON_BYTES, json_of, read_own, write_whole
from ..search import Encoder, Memo, Space, Term, fit_scores, stack, terms_of, understood

FEATURES = (
    "best",
    "best over 20th",
    "log mean exp 2z",
    "log mean exp 4z",
    "best cosine",
    "mean cosine",
    "spread of cosines",
)
RIDGE = 0.1
ALPHA = 0.05
ENOUGH = 40
CHANCE = 0.55
"""An area under the curve at or below which present and absent people count as not told apart."""
FORMAT = 1
FILE = "absence.json"


def profile(scores: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """(F,) features of one ranking. scores: (N,) of the formula; cosine: (N,) of the query's main term with every
    item.

    z are the scores in standard units. If the person's score is normal about a higher mean, the likelihood ratio of
    "here" is a mean of exp(a z) over the items, whoever of them is best: hence the two log mean exps.
    """
    scores = np.asarray(scores, np.float64)
    z = (scores - scores.mean()) / max(float(scores.std()), 1e-9)
    k = min(20, len(z))
    best = np.partition(z, len(z) - k)[-k:]
    top = float(best.max())
    sums = (float(np.log(np.mean(np.exp(a * (z - top)))) + a * top) for a in (2, 4))
    cosine = np.asarray(cosine, np.float64)
    return np.array([top, top - float(best.min()), *sums, cosine.max(), cosine.mean(), cosine.std()])


def wanted_only(query: Query) -> Query:
    """What absence is judged by: pictures and wanted words. Marks and NOT only change the order among those shown."""
    return understood(query).replace(unwanted=(), liked=(), unliked=(), closest=())


def profile_of(terms: Sequence[Term], similarity: np.ndarray, ranking: Ranking) -> np.ndarray:
    """(F,) profile of a query over a gallery, for calibration and for the notice alike.

    terms: of the query (`wanted_only`). similarity: (R, N) of `search.stack(terms)` with every item of the gallery.
    """
    return profile(fit_scores(terms, similarity, ranking.formula)[1], similarity[0])


@dataclass(frozen=True)
class Calibration:
    """A fitted decision for one kind of query. mean, spread, weights: of the logistic regression over FEATURES, bias
    last.

    absent_below, stands_out_above: thresholds on its number. alpha: the stated false-alarm rate. present, absent: how
    many calibration queries set each threshold. people: digests of the people calibrated on, who must not be tested on.
    auroc: on the half that set the thresholds, with the ends of its 95 % interval by person, 0 to 1; 0 where unknown.
    found: share of the absent queries of that half that would be called absent. alarms_low, alarms_high: 95 % interval
    of the rate of false alarms behind `absent_below` (`alarms`), 0 to 1; both 0 where unknown. search_fingerprint: of
    the model that ranked; "" where unknown.
    """

    kind: str
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]
    absent_below: float
    stands_out_above: float
    alpha: float
    present: int
    absent: int
    people: frozenset[str] = field(default_factory=frozenset)
    source: str = ""
    auroc: float = 0.0
    auroc_low: float = 0.0
    auroc_high: float = 0.0
    found: float = 0.0
    alarms_low: float = 0.0
    alarms_high: float = 0.0
    search_fingerprint: str = ""

    def fits(self, model: Any) -> bool:
        """Whether the model that ranked has the same weights, vocabulary and ranking as this one."""
        return self.search_fingerprint == getattr(model, "search_fingerprint", "")

    def summary(self) -> str:
        """What it can do, for people."""
        span = f"{100 * self.auroc:.1f} ({100 * self.auroc_low:.1f} to {100 * self.auroc_high:.1f})"
        return (
            f"AUROC {span}; says absent of {100 * self.found:.0f} % of absent people and of about "
            f"{100 * self.alpha:g} % of present ones (interval {100 * self.alarms_low:.1f} to "
            f"{100 * self.alarms_high:.1f})"
        )

    def number(self, profiles: np.ndarray) -> np.ndarray:
        """(n, F) profiles → (n,) in 0 … 1: near 1 where the calibration's people were present. Half of them were."""
        x = (np.atleast_2d(profiles) - self.mean) / self.spread
        return logistic(x @ np.array(self.weights[:-1]) + self.weights[-1])

    def decide(self, one: np.ndarray) -> str:
        """ "absent", "stands out" or "open" for one profile."""
        number = float(self.number(one)[0])
        if number < self.absent_below:
            return "absent"
        return "stands out" if number > self.stands_out_above else "open"


def notice(calibration: Calibration | None, one: np.ndarray) -> str:
    """What is said beside a list of leads. Without a calibration it says so."""
    if calibration is None:
        return "uncalibrated: this gallery cannot say when a person is not in it (descry gallery calibrate)"
    rate = f"false alarms: about {100 * calibration.alpha:g} in 100"
    return {
        "absent": f"this person is probably not in this gallery ({rate})",
        "stands out": f"the first leads stand out ({rate})",
        "open": "no lead stands out, and nothing says that the person is not in this gallery",
    }[calibration.decide(one)]


def notice_of(
    space: Space,
    model: Encoder,
    query: Query,
    calibrations: Mapping[str, Calibration],
    ranking: Ranking,
    memo: Memo | None = None,
) -> str:
    """What may be said of a query over a gallery (`notice`), by what is wanted; marks and NOT are left out. A
    calibration of another model says nothing."""
    query = wanted_only(query)
    if not query.kind:
        return notice(None, np.zeros(0))
    known = calibrations.get(query.kind)
    if known and not known.fits(model):
        return (
            "uncalibrated: this gallery was calibrated with another model, or one that ranked in another way; run "
            "descry gallery calibrate again"
        )
    made = terms_of(model, [query], ranking, memo)[0]
    return notice(known, profile_of(made, space.scores(stack(made)), ranking))


def calibrate(
    kind: str,
    present: np.ndarray,
    absent: np.ndarray,
    people: Iterable[Any],
    alpha: float = ALPHA,
    seed: int = 0,
    source: str = "",
) -> Calibration:
    """Fit a decision. present, absent: (n, F) profiles of the same people with and without their pictures in the
    gallery,
    or of different people. people: who they are, one per row of `present` and, where they differ, of `absent`.

    One half of the people fits the regression, the other sets the thresholds. Raises DataError for fewer than 40 rows
    of a sort. See `useful`.
    """
    people = [str(p) for p in people]
    for name, rows in (("present", present), ("absent", absent)):
        if len(rows) < ENOUGH:
            raise DataError(
                f"{len(rows)} {name} queries were given; a calibration needs at least {ENOUGH} of each sort"
            )
    rng = np.random.default_rng(seed)
    paired = len(present) == len(absent) == len(people)
    who_here = np.array(people[: len(present)])
    who_gone = who_here if paired else np.array(people[len(present) :] or people[: len(absent)])
    fits = np.array(list(dict.fromkeys([*who_here.tolist(), *who_gone.tolist()])))
    fits = fits[rng.permutation(len(fits))[: len(fits) // 2]]
    first_here, first_gone = np.isin(who_here, fits), np.isin(who_gone, fits)
    x = np.concatenate([present[first_here], absent[first_gone]])
    mean, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    y = np.r_[np.ones(int(first_here.sum())), np.zeros(int(first_gone.sum()))]
    weights = regress((x - mean) / spread, y, RIDGE)
    set_here, set_gone = present[~first_here], absent[~first_gone]
    draft = Calibration(kind, tuple(mean), tuple(spread), tuple(weights), 0.0, 1.0, alpha, len(set_here), len(set_gone))
    here, gone = draft.number(set_here), draft.number(set_gone)
    area, low_area, high_area = telling(here, gone, who_here[~first_here], who_gone[~first_gone])
    here, gone = np.sort(here), np.sort(gone)
    low, high = int(alpha * (len(here) + 1)), int(alpha * (len(gone) + 1))
    below = float(here[low - 1]) if low else 0.0
    alarms_low, alarms_high = alarms(len(np.unique(who_here[~first_here])), alpha)
    return replace(
        draft,
        absent_below=below,
        stands_out_above=float(gone[len(gone) - high]) if high else 1.0,
        people=frozenset(_digest(p) for p in people),
        source=source,
        auroc=area,
        auroc_low=low_area,
        auroc_high=high_area,
        found=float((gone < below).mean()),
        alarms_low=alarms_low,
        alarms_high=alarms_high,
    )


def alarms(people: int, alpha: float, asked: int = 10_000, level: float = 0.95) -> tuple[float, float]:
    """Between which shares, 0 to 1, the false alarms among `asked` new people lie when the threshold for a stated rate
    of alpha was set by so many people.

    Split conformal prediction keeps the stated rate on the average of all calibrations. The rate behind one threshold,
    the k-th lowest of m numbers with k = ⌊alpha (m + 1)⌋, varies with the m people who set it: it has the distribution
    Beta(k, m + 1 - k) (Vovk 2012), and the count among n new people is beta-binomial. Exact where everybody
    asks once; for more queries of one person, it is that of the people.

    >>> [round(100 * share, 1) for share in alarms(20, 0.05)], [round(100 * share, 1) for share in alarms(2000, 0.05)]
    ([0.1, 16.9], [4.0, 6.1])
    """
    k = int(alpha * (people + 1))
    if not k:
        return 0.0, 0.0
    logs = np.r_[0.0, np.cumsum(np.log(np.arange(1, asked + people + 1)))]  # of factorials
    count, a, b = np.arange(asked + 1), k, people + 1 - k
    chosen = logs[asked] - logs[count] - logs[asked - count]
    both = logs[count + a - 1] + logs[asked - count + b - 1] - logs[asked + people]
    below = np.cumsum(np.exp(chosen + both + logs[people] - logs[a - 1] - logs[b - 1]))
    low, high = np.searchsorted(below, ((1 - level) / 2, (1 + level) / 2))
    return float(low) / asked, float(high) / asked


def useful(calibration: Calibration) -> Calibration:
    """The calibration; DataError where present and absent people could not be told apart better than by chance."""
    if calibration.auroc_low > CHANCE:
        return calibration
    c = calibration
    raise DataError(
        f"{c.kind}: present and absent people cannot be told apart here (AUROC {100 * c.auroc:.1f}, 95 % interval "
        f"{100 * c.auroc_low:.1f} to {100 * c.auroc_high:.1f}; its lower end must lie above {100 * CHANCE:g}), so "
        "nothing is said about absence. Give more queries, or a model that reads them better"
    )


def telling(
    here: np.ndarray, gone: np.ndarray, who_here: np.ndarray, who_gone: np.ndarray, samples: int = 400
) -> tuple[float, float, float]:
    """AUROC of numbers for present and absent queries with the 95 % interval of a bootstrap over people, 0 to 1."""
    rng = np.random.default_rng(0)
    people = np.unique(np.r_[who_here, who_gone])
    at_here, at_gone = np.searchsorted(people, who_here), np.searchsorted(people, who_gone)
    areas = []
    for _ in range(samples):
        weight = np.bincount(rng.integers(len(people), size=len(people)), minlength=len(people))
        rows_here, rows_gone = np.repeat(here, weight[at_here]), np.repeat(gone, weight[at_gone])
        if len(rows_here) and len(rows_gone):
            areas.append(auroc(rows_here, rows_gone))
    low, high = np.quantile(areas, [0.025, 0.975])
    return auroc(here, gone), float(low), float(high)


def check_apart(calibration: Calibration, people: Iterable[Any]) -> None:
    """Raises DataError when anyone tested was calibrated on."""
    both = [p for p in people if _digest(str(p)) in calibration.people]
    if both:
        raise DataError(
            f"{len(both)} of the people tested were calibrated on (the first: {both[0]}); calibrate on other people"
        )


def judged(
    calibration: Calibration, present: np.ndarray, absent: np.ndarray, people: Iterable[Any]
) -> dict[str, float]:
    """How the decision fares on other people, shares in percent. Raises DataError when they were calibrated on."""
    check_apart(calibration, people)
    here, gone = calibration.number(present), calibration.number(absent)
    return {
        "false alarms": 100 * float((here < calibration.absent_below).mean()),
        "absence detected": 100 * float((gone < calibration.absent_below).mean()),
        "FPIR": 100 * float((gone > calibration.stands_out_above).mean()),
        "TPIR": 100 * float((here > calibration.stands_out_above).mean()),
        "AUROC": 100 * auroc(here, gone),
        "ECE": calibration_error(np.r_[here, gone], np.r_[np.ones(len(here)), np.zeros(len(gone))]),
    }


def auroc(present: np.ndarray, absent: np.ndarray) -> float:
    """The chance that a present query's number is above an absent one's; ties count half; nan where either is missing.

    >>> auroc(np.array([3.0, 2.0]), np.array([1.0, 2.0]))
    0.875
    """
    if not len(present) or not len(absent):
        return float("nan")
    ordered = np.sort(absent)
    below = np.searchsorted(ordered, present, side="left")
    upto = np.searchsorted(ordered, present, side="right")
    return float((below + upto).mean() / 2 / len(absent))


def calibration_error(number: np.ndarray, truth: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over bins of equal count: mean distance of number and share of truth, weighted."""
    order = np.argsort(number, kind="stable")
    parts = [p for p in np.array_split(order, bins) if len(p)]
    return float(sum(len(p) * abs(number[p].mean() - truth[p].mean()) for p in parts) / len(number))


def to_json(calibration: Calibration) -> dict[str, Any]:
    """Plain values; people as digests."""
    return {"format": FORMAT, "features": list(FEATURES), **asdict(calibration), "people": sorted(calibration.people)}


def from_json(data: Mapping[str, Any]) -> Calibration:
    """The calibration of `to_json`; DataError for another format or other features."""
    if data.get("format") != FORMAT or tuple(data.get("features", ())) != FEATURES:
        raise DataError("the calibration was made by another version; run descry gallery calibrate again")
    names = set(Calibration.__dataclass_fields__)
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k in names}
    return Calibration(**(values | {"people": frozenset(data["people"])}))


def save(folder: str | Path, calibrations: Mapping[str, Calibration]) -> None:
    """Write absence.json of a gallery: one calibration for each kind of query. Others that can be read stay."""
    kept = readable(folder)[0] | dict(calibrations)
    data = json.dumps({kind: to_json(c) for kind, c in sorted(kept.items())}, indent=1) + "\n"
    write_whole(Path(folder) / FILE, data)


def load(folder: str | Path) -> dict[str, Calibration]:
    """The calibrations of a gallery by kind of query; none where it was never calibrated."""
    path = Path(folder) / FILE
    if not path.exists():
        return {}
    try:
        return {kind: from_json(data) for kind, data in json_of(read_own(path, JSON_BYTES)).items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} cannot be read ({error}); delete it and run descry gallery calibrate again") from None


def readable(folder: str | Path) -> tuple[dict[str, Calibration], str]:
    """`load`, or nothing and the reason, without the folder's path: a file that cannot be read stops no search."""
    try:
        return load(folder), ""
    except DataError as error:
        return {}, str(error).replace(str(Path(folder) / FILE), FILE)


def _digest(person: str) -> str:
    return hashlib.sha256(person.encode()).hexdigest()[:16]


# --------------------------------------------------------------------- the logistic curve


def logistic(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(−x)), without overflow."""
    value: np.ndarray = 1.0 / (1.0 + np.exp(-np.clip(x, -30, 30)))
    return value


def regress(x: np.ndarray, y: np.ndarray, ridge: float = 1.0, steps: int = 50) -> np.ndarray:
    """Logistic regression by Newton's method with a small ridge (not on the bias): (n, F), (n,) → (F + 1,), bias
    last."""
    x = np.c_[x, np.ones(len(x))]
    penalty = np.diag([ridge] * (x.shape[1] - 1) + [1e-6])
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        p = logistic(x @ w)
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + penalty, x.T @ (y - p) - penalty @ w)
        w += step
        if np.abs(step).max() < 1e-10:
            break
    return w
