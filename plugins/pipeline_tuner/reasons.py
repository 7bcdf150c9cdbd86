"""The sentences that say why a decision was made. Made from typed evidence, and parsed by nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline_tuner.recommendation import MIN_BLOCKS, DecisionStatus
from pipeline_tuner.wording import counted, gain_words, listed, percent, second_words

MAX_MORE = 3
"""Nobody pays for more than so many budgets to tell near equals apart: that many trials aren't proposed."""

if TYPE_CHECKING:
    from pipeline_tuner.analysis.evidence import Evidence
    from pipeline_tuner.recommend import Answer


def reason_of(answer: Answer) -> str:
    """A few short sentences: the decision, the gain, and what is missing."""
    said = {
        DecisionStatus.BEST: _best,
        DecisionStatus.TIED: _tied,
        DecisionStatus.BETTER: _better,
        DecisionStatus.KEEP: _keep,
        DecisionStatus.UNDECIDED: _undecided,
    }
    parts = [said[answer.status](answer), _gain(answer), _explored(answer), _unknown(answer)]
    return " ".join(part for part in parts if part)


def nothing_to_recommend(evidence: Evidence) -> str:
    """Why no configuration is left for a goal."""
    reasons = "; ".join(f"{label}: {exclusion}" for label, exclusion in evidence.excluded.items())
    return f"Nothing to recommend: {reasons or 'no trials'}."


def _sure(answer: Answer) -> str:
    return f"{percent(answer.decision.sureness)} sure"


def _best(answer: Answer) -> str:
    rivals = len(answer.selection.standings) - 1
    if not rivals:
        return f"{answer.label} is the only configuration left in the running. {_over_reference(answer)}."
    others = "the other one" if rivals == 1 else f"all {rivals} others"
    return f"{answer.label} is better than {others} in the running ({_sure(answer)}). {_over_reference(answer)}."


def _tied(answer: Answer) -> str:
    same = answer.evidence.names_of(answer.label or "")
    if len(answer.selection.ties) == 1:
        words = f"{listed(same)} are the same configuration, and it is the best ({_sure(answer)})"
        return f"{words}. {_over_reference(answer)}."
    words = f"{listed(answer.ties)} tie: they can't be told apart"
    words += f"; {listed(same)} are the same configuration" if len(same) > 1 else ""
    how = "the study's preference" if answer.evidence.study.prefer else "the smallest change to the control"
    if len(answer.selection.interchangeable) == 1:
        how = "the estimate, as the only one that is sure enough"
    zone = percent(answer.evidence.options.budget.indifference)
    picked = f"{answer.label} is picked by {how} (at most {zone} from the best, {_sure(answer)})"
    return f"{words}. {picked}. {_over_reference(answer)}."


def _better(answer: Answer) -> str:
    return f"{_over_reference(answer)}; {_short_of_best(answer)}{_more(answer)}."


def _over_reference(answer: Answer) -> str:
    """Why the change is one: what fresh blocks say of the pick and the reference."""
    if answer.decision.is_reference_excluded:
        return f"{answer.reference}, which runs now, can't serve this goal; {answer.label} does, in fresh blocks"
    words = f"{answer.label} is confirmed better than {_reference(answer)}"
    gain = answer.decision.reference_gain
    return f"{words}: {gain_words(gain)}" if gain and answer.reference != answer.evidence.control else words


def _keep(answer: Answer) -> str:
    regret = answer.decision.regret_bound
    bound = f"at most {percent(regret)} to gain" if regret is not None else "gain unknown"
    words = f"keep it ({bound}, {_sure(answer)}){_more(answer)}"
    return f"Nothing is shown to be better than {_reference(answer)}: {words}."


def _undecided(answer: Answer) -> str:
    decision, pick = answer.decision, answer.label
    if answer.is_alone:
        return "Undecided: only one configuration was planned, there is nothing to compare it with."
    if decision.contradicts and decision.gain is not None:
        return f"Undecided: {pick} led the search, but the confirmation found {gain_words(decision.gain)}."
    standing = answer.selection.standing(answer.evidence.namesakes[pick or ""])
    if standing.n < MIN_BLOCKS:
        return f"Undecided: {pick} has {counted(standing.n, 'block')}, at least {MIN_BLOCKS} are needed."
    if answer.reference is None:
        return f"Undecided: {pick} leads, but what production runs now was not measured{_more(answer)}."
    blocks = f"in {MIN_BLOCKS} fresh blocks"
    return f"Undecided: {pick} leads, but was not confirmed against {_reference(answer)} {blocks}."


def _reference(answer: Answer) -> str:
    if answer.reference == answer.evidence.control:
        return f"the control {answer.reference}"
    return f"{answer.reference}, which runs now"


def _short_of_best(answer: Answer) -> str:
    if answer.decision.regret_bound is None:
        return "how far it is from the best is not known"
    return f"at most {percent(answer.decision.regret_bound)} short of the best of the finalists"


def _more(answer: Answer) -> str:
    more, usual_s = answer.selection.more_trials, answer.evidence.usual_trial_s
    if not more or more > MAX_MORE * answer.evidence.options.budget.trials:
        return ""
    time = f" ({second_words(more * usual_s)})" if usual_s else ""
    return f"; about {counted(more, 'more trial')}{time} would tell which is best"


def _gain(answer: Answer) -> str:
    if answer.label == answer.evidence.control:
        return "It is the control: nothing needs to change."
    if answer.evidence.is_control_of_another_kind:
        return f"The control {answer.evidence.control} is no candidate for this goal: no gain over it is stated."
    if answer.decision.gain is None:
        return "It was not confirmed in fresh blocks, so no gain is stated."
    return f"Confirmed at {gain_words(answer.decision.gain)} in {counted(answer.decision.gain.n, 'fresh block')}."


def _explored(answer: Answer) -> str:
    explored = len(answer.evidence.running) - len(answer.selection.standings)
    if explored <= 0:
        return ""
    return f"{counted(explored, 'more configuration')} measured in exploring did not come to the final."


def _unknown(answer: Answer) -> str:
    missing = answer.evidence.unmeasured
    return f"Nothing is known of {listed(missing)}." if missing else ""
