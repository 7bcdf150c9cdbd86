"""The strategy `adaptive`, the default: proposes what a Gaussian process expects to improve most. Pure and seeded.

The presets come first, then configurations spread from the centre outward. From then on Gaussian processes on three
transforms of the metric (its log, as it is, its normal scores) propose, by turns, what is expected to improve most
on the best one (expected improvement of a batch over joint posterior samples; Jones et al., 1998; Wilson et al., 2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from pipeline_tuner.analysis.interim_selection import repeated, search_trials
from pipeline_tuner.analysis.payback import pays
from pipeline_tuner.search.candidates import maximin_design, pool, some_near
from pipeline_tuner.search.encoding import Encoding
from pipeline_tuner.search.gaussian_process import Process, Runs
from pipeline_tuner.search.strategy import Strategy, SweepSoFar
from pipeline_tuner.search.training_data import TrainingData
from pipeline_tuner.space import Configuration, configuration_id
from pipeline_tuner.trial import Candidate

MIN_RUNS = 6
"""Fewer working runs than this teach nothing: the space is spread over."""
REPEAT_SHARE = 0.3
"""The part of the trials kept for repeats of the leaders."""
LEADERS = 5
TURNS = (0, 1, 0, 2)
"""Which transform chooses next, by its place among the skilled."""
SHORTLIST = 120
SAMPLES = 256
MAX_ROWS = 4000
LIKELY_FAILURE = 0.4
LIKELY_IN = 0.95
MIN_FINALISTS, MAX_FINALISTS = 3, 6
FINAL_BLOCKS = 3
"""So many blocks of all finalists must be affordable: few that can be told apart rather than many that can't."""
MAX_FINALISTS_FROM = 40
"""The finalists are chosen among so many with the best means."""


@dataclass(frozen=True)
class Adaptive(Strategy):
    """A batch of promising configurations a round, until the rest of the budget is needed for repeats."""

    rows: tuple[Configuration, ...] = ()
    """Choose among these only (a table of configurations); the whole space by default."""
    worth: float = 0.005
    """Stop exploring where a whole batch is expected to gain less than this fraction."""

    def propose(self, sweep: SweepSoFar) -> tuple[Candidate, ...]:
        """The next batch: presets in the first round, then what the runs recommend."""
        training = TrainingData.of(sweep)
        known = [*_presets(sweep), *_remembered(sweep, training)]
        count = _batch(sweep, len(known))
        known = known[:count]
        if count <= len(known):
            return tuple(known)
        rows = self._unseen(sweep, training)
        taken = [candidate.configuration for candidate in (sweep.control, *known)]
        chosen = self._chosen(sweep, training, rows, taken, count - len(known))
        return (*known, *sweep.fresh((rows[i] for i in chosen if rows[i] not in taken), count))

    def finalists(self, sweep: SweepSoFar) -> tuple[str, ...]:
        """Few configurations of which one is likely as good as the best measured; the control is among them."""
        if repeated(sweep.earlier):
            return ()
        training = TrainingData.of(sweep)
        measured = {c.configuration_id: c for c in sweep.candidates.values() if c.label not in sweep.failed}
        leaders = [configuration_id(leader) for leader in training.leaders(MAX_FINALISTS_FROM)]
        candidates = [measured[identity] for identity in leaders if identity in measured]
        if training.works.sum() < MIN_RUNS or len(candidates) <= MIN_FINALISTS:
            return ()
        chosen = _likely_best(sweep, training, [candidate.configuration for candidate in candidates])
        first = [candidates[i].label for i in chosen]
        others = [leader for goal in sweep.options.goals[1:] for leader in TrainingData.of(sweep, goal).leaders(1)]
        best = [measured[i].label for i in map(configuration_id, others) if i in measured]
        labels = dict.fromkeys([*first[:MIN_FINALISTS], *best, *first])
        affordable = max(MIN_FINALISTS, sweep.room // FINAL_BLOCKS - 1)
        return (sweep.control.label, *[label for label in labels if label != sweep.control.label][:affordable])

    def _unseen(self, sweep: SweepSoFar, training: TrainingData) -> list[Configuration]:
        generator = sweep.generator(4)
        leaders = training.leaders(LEADERS)
        rows = list(self.rows) or pool(sweep.study.space.searched, leaders, generator)
        planned = [*sweep.candidates.values(), *sweep.study.preset_candidates]
        known = {frozenset(candidate.configuration.items()) for candidate in planned}
        rows = [r for r in rows if frozenset(r.items()) not in known and not sweep.memory.forbids(r)]
        return rows if len(rows) <= MAX_ROWS else some_near(rows, leaders, MAX_ROWS, generator)

    def _chosen(
        self,
        sweep: SweepSoFar,
        training: TrainingData,
        rows: Sequence[Configuration],
        taken: Sequence[Configuration],
        count: int,
    ) -> list[int]:
        encoding = Encoding(sweep.study.space, _workload_values(sweep))
        points = encoding.points([*rows, *training.configurations, *taken])
        free, known = points[: len(rows)], points[len(rows) : len(rows) + len(training.configurations)]
        if training.works.sum() < MIN_RUNS or not rows:
            measured = np.concatenate([known, points[len(rows) + len(known) :]])
            return maximin_design(free, measured, count, sweep.generator(7)) if rows else []
        search = Improvement.of(training, known, free, encoding.groups, sweep.generator(5))
        chosen = search.batch(count)
        gain = search.gain(chosen)
        is_worth_it = gain >= self.worth or sweep.round_number <= 2
        return chosen if is_worth_it and pays(sweep.options, sweep.earlier, gain, count + 1) else []


def _likely_best(sweep: SweepSoFar, training: TrainingData, configurations: Sequence[Configuration]) -> list[int]:
    """The fewest configurations of which one is, likely, at most half the indifference zone worse than the best.

    `configurations` come best first. The first ones by their own value are in: a model may overlook a lone peak.
    """
    encoding = Encoding(sweep.study.space, _workload_values(sweep))
    points = encoding.points([*training.configurations, *configurations])
    known, places = points[: len(training.configurations)][training.works], points[len(training.configurations) :]
    runs = Runs(known, encoding.groups, training.blocks[training.works], training.extra_noise[training.works])
    process = Process.fit(runs, training.transforms()[0])
    drawn = _sampled(process, places, sweep.generator(6)) * float(np.nanstd(training.scores))
    near = drawn <= drawn.min(axis=1, keepdims=True) + math.log1p(sweep.options.budget.indifference / 2)
    chosen = list(range(MIN_FINALISTS))
    covered = near[:, chosen].any(axis=1)
    while covered.mean() < LIKELY_IN and len(chosen) < MAX_FINALISTS:
        gains = (near & ~covered[:, None]).mean(axis=0) + 1e-6 * near.mean(axis=0)
        gains[chosen] = -1.0
        chosen.append(int(gains.argmax()))
        covered |= near[:, chosen[-1]]
    return chosen


def _batch(sweep: SweepSoFar, known: int) -> int:
    """How many new configurations this round can take: none once the rest of the budget is needed for repeats.

    The first round takes all presets and the leaders of earlier sweeps, however many they are.
    """
    budget = sweep.options.budget
    if repeated(sweep.earlier):
        return 0
    repeating = max(1, min(2, budget.rounds - 2), budget.rounds // 4)
    if sweep.round_number > 1 and sweep.rounds_left <= repeating:
        return 0
    least = (FINAL_BLOCKS + 1) * (MIN_FINALISTS + 1)
    kept = max(math.ceil(REPEAT_SHARE * search_trials(sweep.options)), least) if budget.rounds > 1 else 0
    room = sweep.room - kept if sweep.round_number > 1 else sweep.room
    wanted = max(budget.batch, known) if sweep.round_number == 1 else budget.batch
    return max(0, min(wanted, room - 1 - len(sweep.retries)))


def _presets(sweep: SweepSoFar) -> list[Candidate]:
    """The presets that this sweep has not measured, but for those that earlier ones showed to be far behind."""
    known = {*sweep.candidates, sweep.control.label}
    new = [candidate for candidate in sweep.study.preset_candidates if candidate.label not in known]
    return [candidate for candidate in new if candidate not in sweep.not_again]


def _remembered(sweep: SweepSoFar, training: TrainingData) -> tuple[Candidate, ...]:
    """The leaders of earlier sweeps, for the first round: the answer is given among what this sweep measures."""
    if sweep.round_number > 1:
        return ()
    presets = [preset.configuration for preset in sweep.study.preset_candidates]
    leaders = [leader for leader in training.leaders(LEADERS + len(presets)) if leader not in presets]
    return sweep.fresh((leader for leader in leaders if sweep.fits(leader)), LEADERS)


def _workload_values(sweep: SweepSoFar) -> dict[str, float]:
    """The workload's numbers, from the options and the latest measurement."""
    known = {k: v for k, v in sweep.study.workload.options.items() if isinstance(v, int | float)}
    for result in sweep.earlier:
        if result.measurement is not None:
            known |= {k: v for k, v in result.measurement.workload.items() if isinstance(v, int | float)}
    return known


@dataclass(frozen=True)
class Improvement:
    """Joint posterior samples of losses, by transform, at a shortlist of free points and at the best measured one."""

    shortlist: np.ndarray
    samples: list[np.ndarray]
    """Target transforms of samples x shortlist."""
    best: list[np.ndarray]
    """Target transforms of the best loss among measured configurations, by sample."""
    chance: np.ndarray
    """Of each shortlisted point: what a gain there counts for, given the risk that it fails."""
    scale: float
    """Logs a unit of the first transform."""
    order: list[int]
    """The transforms, the most skilled one first."""

    @classmethod
    def of(
        cls,
        training: TrainingData,
        known: np.ndarray,
        free: np.ndarray,
        groups: np.ndarray,
        generator: np.random.Generator,
    ) -> Improvement:
        """Fit the processes and sample them."""
        works = training.works
        runs = Runs(known[works], groups, training.blocks[works], training.extra_noise[works])
        processes: list[Process] = []
        transforms = training.transforms()
        for losses in transforms:
            start = processes[0].settings if processes else None
            processes.append(Process.fit(runs, losses, start, iterations=10 if processes else 25))
        chance = _chance(training, known, free, groups)
        shortlist = _shortlist(processes, runs, free, chance)
        visited = np.unique(runs.points, axis=0)
        samples, best = [], []
        for process in processes:
            drawn = _sampled(process, np.concatenate([free[shortlist], visited]), generator)
            samples.append(drawn[:, : len(shortlist)])
            best.append(drawn[:, len(shortlist) :].min(axis=1))
        scale = float(np.nanstd(training.scores))
        return cls(shortlist, samples, best, chance[shortlist], scale, _by_skill(processes, transforms))

    def batch(self, count: int) -> list[int]:
        """Rows of the free points: the transforms choose by turns, each what adds most to all chosen before.

        The transform that ranks best has every other turn.
        """
        best, found = list(self.best), []
        open_ones = np.ones(len(self.shortlist), dtype=bool)
        for turn in range(min(count, len(self.shortlist))):
            transform = self.order[TURNS[turn % len(TURNS)]]
            gains = np.maximum(best[transform][:, None] - self.samples[transform], 0).mean(axis=0) * self.chance
            place = int(np.where(open_ones, gains, -1.0).argmax())
            open_ones[place] = False
            found.append(int(self.shortlist[place]))
            best = [np.minimum(known, drawn[:, place]) for known, drawn in zip(best, self.samples, strict=True)]
        return found

    def gain(self, chosen: Sequence[int]) -> float:
        """The fraction by which the chosen ones together are expected to improve on the best known."""
        places = np.flatnonzero(np.isin(self.shortlist, chosen))
        if not len(places):
            return 0.0
        new = np.minimum(self.best[0], self.samples[0][:, places].min(axis=1))
        return float(np.expm1((self.best[0] - new).mean() * self.scale))


def _by_skill(processes: Sequence[Process], losses: Sequence[np.ndarray]) -> list[int]:
    """The transforms, the best at ranking unseen runs first; mistakes among the good runs count for more."""
    ranks = _ranks(losses[0])

    def mistakes(transform: int) -> float:
        guessed = _ranks(processes[transform].left_out(losses[transform]))
        return float(np.average(np.abs(guessed - ranks), weights=1 / ranks))

    return sorted(range(len(processes)), key=mistakes)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, equal values sharing the lowest of theirs."""
    return 1 + np.searchsorted(np.sort(values), values)


def _shortlist(processes: Sequence[Process], runs: Runs, free: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """The rows with the largest expected improvement of their own in any transform."""
    found: list[np.ndarray] = []
    for process in processes:
        mean, variance, _ = process.predict(free)
        best = process.predict(np.unique(runs.points, axis=0))[0].min()
        spread = np.sqrt(variance)
        score = (best - mean) / spread
        density = np.exp(-0.5 * score**2) / math.sqrt(2 * math.pi)
        gains = spread * (score * ndtr(score) + density) * chance
        found.append(np.argsort(-gains, kind="stable")[:SHORTLIST])
    return np.unique(np.concatenate(found))


def _sampled(process: Process, points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Samples x points of the process, by its joint posterior."""
    mean, _, white = process.predict(points)
    covariance = process.joint(points, white)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    found: np.ndarray = mean + generator.standard_normal((SAMPLES, len(points))) @ root.T
    return found


def _chance(training: TrainingData, known: np.ndarray, free: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """What a gain counts for, given the risk of failing: the square of the chance to work, nothing where it is low."""
    fails = ~training.works
    if not fails.any():
        return np.ones(len(free))
    spread, share = fails.std(), fails.mean()
    runs = Runs(known, groups, np.arange(len(known)), np.zeros(len(known)))
    process = Process.fit(runs, (fails - share) / spread, iterations=15)
    risk = np.clip(process.predict(free)[0] * spread + share, 0.0, 1.0)
    likely = risk > LIKELY_FAILURE
    return np.where(likely & ~likely.all(), 0.0, (1.0 - risk) ** 2)
