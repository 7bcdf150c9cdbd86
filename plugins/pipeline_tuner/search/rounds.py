"""The rounds of a sweep: blocks, repeats, lost trials, confirmation; which strategy has which name. Pure.

A round is one mapped task set in Airflow, so it may hold several blocks. Every block holds the control and is run in
random order. New candidates are measured once; repeats go to those that are not yet told apart from the leader.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from pipeline_tuner.analysis.earlier_sweeps import HOPELESS
from pipeline_tuner.analysis.evidence import Evidence, settled
from pipeline_tuner.analysis.fidelity import CHECKED
from pipeline_tuner.analysis.interim_selection import search_selection
from pipeline_tuner.analysis.payback import pays
from pipeline_tuner.analysis.reference import admits
from pipeline_tuner.analysis.selection import Selection
from pipeline_tuner.analysis.tie_breaking import by_preference
from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.monitoring.night_plan import Nightly, champions
from pipeline_tuner.recommendation import MIN_BLOCKS
from pipeline_tuner.search.adaptive import Adaptive
from pipeline_tuner.search.grid_and_sobol import Grid, Sobol
from pipeline_tuner.search.one_at_a_time import OneAtATime, Staged
from pipeline_tuner.search.presets import NamedList, Presets
from pipeline_tuner.search.strategy import Strategy, SweepSoFar, trials_for_cost, trials_in_time
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import Candidate, Phase, TrialPlan, TrialResult

STRATEGIES: Mapping[str, Strategy] = {
    "adaptive": Adaptive(),
    "presets": Presets(),
    "one_at_a_time": OneAtATime(),
    "grid": Grid(),
    "sobol": Sobol(),
    "staged": Staged(),
    "nightly": Nightly(),
}
"""By the name that a study uses (`study_check.StrategyName`). They keep nothing."""


def strategy_of(study: Study, options: SweepOptions) -> Strategy:
    """The strategy that the options name. Raises StudyError naming those that exist."""
    if options.strategy in STRATEGIES:
        return STRATEGIES[options.strategy]
    if options.strategy in study.strategies:
        return NamedList(options.strategy)
    names = ", ".join([*STRATEGIES, *study.strategies])
    raise StudyError(f"strategy is {options.strategy!r}, must be one of {names}")


def plan_round(
    study: Study,
    options: SweepOptions,
    results: Sequence[TrialResult],
    round_number: int,
    history: Sequence[TrialResult] = (),
    strategy: Strategy | None = None,
    related: Sequence[TrialResult] = (),
) -> tuple[TrialPlan, ...]:
    """The trials of a round (counted from 1), in the order to run them; empty when there is nothing more to do.

    `results` may hold more than the rounds before: only those count, so planning a round again gives the same trials.
    `history` and `related` are as in `SweepSoFar`. `strategy` replaces the one that the options name.
    """
    sweep = SweepSoFar.before(study, options, results, round_number, history, related)
    selections = _selections(sweep) if sweep.earlier else {}
    sweep = replace(sweep, reserved=_confirmation_trials(sweep, selections))
    if not 1 <= round_number <= options.budget.rounds or sweep.room == 0:
        return ()
    strategy = strategy or strategy_of(study, options)
    fresh = strategy.propose(sweep)
    if round_number == 1:
        blocks = _blocks_of_all(sweep, fresh)
    elif fresh:
        blocks = [[*fresh, *_lost(sweep)][: sweep.room - 1]]
    else:
        blocks = _blocks_of_repeats(sweep, strategy.finalists(sweep), selections)
    first = 1 + max((r.plan.block for r in sweep.earlier), default=0)
    with_control = sweep.control.label not in sweep.failed
    if not fresh or sweep.fraction == 1.0:
        return _planned(sweep, blocks, first, "search", with_control=with_control)
    explored = _planned(sweep, blocks[:1], first, "search", with_control=with_control, fraction=sweep.fraction)
    checked = [fresh[: CHECKED - 1]] if round_number == 1 else []
    return (*explored, *_planned(sweep, checked, first + 1, "search", with_control=True))


def _selections(sweep: SweepSoFar) -> dict[str, Selection]:
    """What the search says so far of each goal, among all that may still win."""
    return {goal: search_selection(sweep.study, sweep.options, goal, sweep.earlier) for goal in sweep.options.goals}


def _confirmation_trials(sweep: SweepSoFar, selections: Mapping[str, Selection]) -> int:
    """The trials that confirming every goal's pick beside its reference takes, as far as the picks are known."""
    blocks = min(MIN_BLOCKS, sweep.options.budget.confirm_blocks)
    if sweep.earlier:
        members = {c.configuration_id for group in finalists_by_goal(sweep, selections) for c in group}
        return blocks * (1 + len(members))
    if sweep.options.budget.rounds > 1:
        return 0
    # A sweep of one round is planned at once: its goals may have as many picks.
    references = {c.configuration_id for c in champions(sweep).values()} - {sweep.control.configuration_id}
    return blocks * (1 + len(sweep.options.goals) + len(references))


def _blocks_of_all(sweep: SweepSoFar, fresh: Sequence[Candidate]) -> list[list[Candidate]]:
    """One block of everything; all blocks at once in a sweep of a single round, and of a documented experiment."""
    is_whole = sweep.rounds_left == 1 or sweep.options.strategy in sweep.study.strategies
    wanted = sweep.options.budget.blocks if is_whole else 1
    affordable = sweep.room // (len(fresh) + 1)
    return [list(fresh)] * max(1, min(wanted, affordable))


def _lost(sweep: SweepSoFar) -> list[Candidate]:
    return [sweep.candidates[label] for label in sweep.retries]


def _blocks_of_repeats(
    sweep: SweepSoFar, among: Sequence[str], selections: Mapping[str, Selection]
) -> list[list[Candidate]]:
    if sweep.room < 2:
        return []
    again = _lost(sweep)
    repeats, wanted = _open_questions(sweep, among, selections)
    if not repeats:
        return [again[: sweep.room - 1]] if again else []
    # Each that is open must be told apart from the leader: short of trials, all of them get fewer blocks.
    wanted = max(1, min(wanted, sweep.room // (len(repeats) + 1)))
    members = repeats[: max(1, sweep.room // wanted - 1)]
    spare = max(0, sweep.room - wanted * (len(members) + 1))
    return [[*members, *again[:spare]], *[members] * (wanted - 1)]


def _open_questions(
    sweep: SweepSoFar, among: Sequence[str], selections: Mapping[str, Selection]
) -> tuple[list[Candidate], int]:
    """What to repeat beside the control, the neediest first, and in how many blocks.

    The first goal decides; what the other goals leave open is repeated until it has the study's number of blocks.
    """
    if among and not all(sweep.in_full(label) for label in among):
        wanted = min(sweep.options.budget.blocks, max(1, sweep.room // 2))
        return [sweep.candidates[label] for label in among if label != sweep.control.label], wanted
    repeats: dict[str, Candidate] = {}
    wanted = 0
    for goal in sweep.options.goals:
        selection = selections[goal]
        if among:
            selection = search_selection(sweep.study, sweep.options, goal, sweep.earlier, among)
        found = [c for c in _worth_repeating(sweep, goal, selection, among) if c.label != sweep.control.label]
        if goal != sweep.options.primary_goal:
            found = [c for c in found if _full_blocks(sweep, c.label) < sweep.options.budget.blocks]
        if found:
            wanted = wanted or _blocks_wanted(sweep, selection)
            repeats |= {c.label: c for c in found if c.label not in repeats}
    return list(repeats.values()), max(wanted, 1)


def _full_blocks(sweep: SweepSoFar, label: str) -> int:
    return sum(r.plan.label == label and r.plan.fraction == 1.0 and r.is_evidence for r in sweep.earlier)


def _worth_repeating(sweep: SweepSoFar, goal: str, selection: Selection, among: Collection[str]) -> list[Candidate]:
    """The leader and those that may still beat it, the likeliest first.

    Before the noise is known, that is all of `among`, whom a model chose from all runs: whoever isn't repeated is out
    of an adaptive sweep's final, and a single lucky run of the leader must not decide that. Once the leader is
    certified, or where going on costs more than it is expected to save, none; itself as long as a constraint of the
    goal is not shown to hold for it.
    """
    if selection.best is None:
        return []
    has_blocks = selection.is_exact or selection.standing(selection.best).n >= sweep.options.budget.blocks
    if selection.status != "undecided" and has_blocks:
        return sweep.twins(selection.best) if _may_break_a_constraint(sweep, goal, selection.best) else []
    if has_blocks and not pays(sweep.options, sweep.earlier, selection.expected_loss, len(selection.next_labels) + 1):
        return []
    noise_is_known = not math.isnan(selection.noise)
    hopeful = [
        label for label in selection.next_labels if noise_is_known or label in among or _is_near(selection, label)
    ]
    return [twin for label in hopeful for twin in sweep.twins(label)]


def _may_break_a_constraint(sweep: SweepSoFar, goal: str, label: str) -> bool:
    evidence = Evidence(sweep.study, sweep.options, goal, settled(sweep.earlier))
    return not all(check.holds(sweep.options.budget.confidence) for check in evidence.constraints(label))


def _is_near(selection: Selection, label: str) -> bool:
    return selection.standing(label).worse_by <= HOPELESS


def _blocks_wanted(sweep: SweepSoFar, selection: Selection) -> int:
    """The blocks that seem needed, spread over the rounds that are left, within what the budget pays for."""
    measured = selection.standing(selection.best).n if selection.best else 0
    missing = sweep.options.budget.blocks - measured
    estimated = selection.more_blocks if selection.more_blocks is not None else missing
    wanted = missing if missing > 0 else math.ceil(estimated / sweep.rounds_left)
    return max(1, min(wanted, sweep.room // 2))


def plan_confirmation(
    study: Study, options: SweepOptions, results: Sequence[TrialResult], history: Sequence[TrialResult] = ()
) -> tuple[TrialPlan, ...]:
    """Fresh blocks of the finalists (each goal's pick) and the control, which alone give the reported values.

    Empty where the control itself is the pick, or where the budget of trials is spent. The minutes end the search, but
    not what one goal's decision takes at least: a sweep that ends without an answer has wasted them all.
    """
    sweep = SweepSoFar.before(study, options, results, options.budget.rounds + 1, history)
    groups = finalists_by_goal(sweep, _selections(sweep))
    in_time = trials_in_time(options, sweep.earlier, history, side_by_side=study.runner.concurrent)
    least = 0 if options.is_night else _least_confirmation(sweep, groups)
    paid = trials_for_cost(study, options, sweep.earlier, history)
    left = min(options.budget.trials - len(sweep.earlier), max(in_time, least), paid)
    finalists = _affordable(sweep, groups, left)
    count = min(options.budget.confirm_blocks, left // (len(finalists) + 1))
    if not finalists or count < 2:
        return ()
    first = 1 + max(r.plan.block for r in sweep.earlier)
    return _planned(sweep, [finalists] * count, first, "confirm", with_control=True)


def least_trials(study: Study, options: SweepOptions) -> int:
    """The trials that a confirmed change takes at least: one look at each of a list, or at one, and three fresh blocks.

    0 for a night, whose plan is its own.
    """
    listed = {"presets": len(study.preset_candidates) - 1, **{n: len(each) for n, each in study.strategies.items()}}
    looks = 1 + max(listed.get(options.strategy, 1), 1)
    blocks = min(MIN_BLOCKS, options.budget.confirm_blocks)
    return 0 if options.is_night else looks + 2 * blocks if blocks else looks * MIN_BLOCKS


def _least_confirmation(sweep: SweepSoFar, groups: Sequence[Sequence[Candidate]]) -> int:
    """The trials that confirm the first goal that has anything to confirm."""
    first = next((group for group in groups if group), ())
    return min(MIN_BLOCKS, sweep.options.budget.confirm_blocks) * (len(first) + 1)


def _affordable(sweep: SweepSoFar, groups: Sequence[Sequence[Candidate]], left: int) -> list[Candidate]:
    """The finalists, goal by goal, as long as each gets the blocks that a decision takes: a few well, not all badly."""
    wanted = max(2, min(MIN_BLOCKS, sweep.options.budget.confirm_blocks))
    members: list[Candidate] = []
    for group in groups:
        more = [c for c in group if c.configuration_id not in {m.configuration_id for m in members}]
        if left // (len(members) + len(more) + 1) < wanted:
            continue
        members += more
    return members


def finalists_by_goal(sweep: SweepSoFar, selections: Mapping[str, Selection]) -> list[list[Candidate]]:
    """What the confirmation is to hold for each goal beside the control: the pick, and what production runs now."""
    goals = sweep.options.goals
    picks = {goal: _pick(sweep, selection) for goal, selection in selections.items()}
    labels = strategy_of(sweep.study, sweep.options).finals(sweep, selections, picks)
    chosen = [sweep.candidates[label] for label in labels if label in sweep.candidates]
    if sweep.options.is_night:
        return [[candidate] for candidate in chosen]
    groups = [_to_confirm(sweep, goal, selections[goal], picks[goal]) for goal in goals]
    return [*groups, *([candidate] for candidate in chosen)]


def _to_confirm(sweep: SweepSoFar, goal: str, selection: Selection, pick: str | None) -> list[Candidate]:
    """A goal's pick and its reference where that can serve the goal, without the control.

    Where they are one there is nothing to confirm, once it was measured often enough to be kept; before that, the next
    best stands for the pick.
    """
    reference = sweep.planned_as(champions(sweep).get(goal, sweep.control))
    candidate = sweep.candidates.get(pick or "")
    if candidate is not None and candidate.configuration_id == reference.configuration_id:
        candidate = None if _is_settled(sweep, selection, reference) else _next_best(sweep, selection, reference)
    if candidate is None:
        return []
    out = sweep.failed_configurations | {sweep.control.configuration_id}
    wanted = [candidate]
    if admits(sweep.study, goal, reference.configuration):
        wanted.append(reference)
    return [member for member in wanted if member.configuration_id not in out]


def _is_settled(sweep: SweepSoFar, selection: Selection, reference: Candidate) -> bool:
    return selection.is_exact or _full_blocks(sweep, reference.label) >= MIN_BLOCKS


def _next_best(sweep: SweepSoFar, selection: Selection, reference: Candidate) -> Candidate | None:
    ranked = (sweep.candidates[standing.label] for standing in selection.standings)
    return next((c for c in ranked if c.configuration_id != reference.configuration_id), None)


def _pick(sweep: SweepSoFar, selection: Selection) -> str | None:
    if selection.status == "undecided":
        return selection.best
    return by_preference(sweep.study, [sweep.candidates[label] for label in selection.interchangeable])[0].label


def _planned(
    sweep: SweepSoFar,
    blocks: Iterable[Sequence[Candidate]],
    first: int,
    phase: Phase,
    *,
    with_control: bool,
    fraction: float = 1.0,
) -> tuple[TrialPlan, ...]:
    plans = []
    for block, members in enumerate(blocks, start=first):
        control = [sweep.control] if with_control else []
        together = [*control, *(c for c in members if c.label != sweep.control.label)]
        order = sweep.generator(3, block).permutation(len(together))
        for position, index in enumerate(order, start=1):
            plans.append(_trial(sweep, phase, block, position, together[index], fraction))
    return tuple(plans)


def _trial(
    sweep: SweepSoFar, phase: Phase, block: int, position: int, candidate: Candidate, fraction: float
) -> TrialPlan:
    return TrialPlan(
        trial_id=f"{sweep.options.sweep_id}.r{sweep.round_number:02d}.b{block:02d}.p{position:02d}",
        sweep_id=sweep.options.sweep_id,
        phase=phase,
        round=sweep.round_number,
        block=block,
        position=position,
        label=candidate.label,
        configuration=dict(candidate.configuration),
        is_control=candidate.label == sweep.control.label,
        fraction=fraction,
        min_work_s=sweep.min_work_s,
    )
