"""The sentences that say why a decision was made, from its typed evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline_tuner.recommendation import MIN_BLOCKS, DecisionStatus, proposed_trials
from pipeline_tuner.wording import counted, few, gain_words, listed, ratio, second_words

if TYPE_CHECKING:
    from pipeline_tuner.analysis.evidence import Evidence
    from pipeline_tuner.recommend import Answer


def reason_of(answer: Answer) -> str:
    """At most two short sentences: why this decision, and what is known of its gain or missing for it."""
    sentence_of = {
        DecisionStatus.BEST: _best,
        DecisionStatus.TIED: _tied,
        DecisionStatus.BETTER: _better,
        DecisionStatus.KEEP: _keep,
        DecisionStatus.UNDECIDED: _undecided,
    }
    return " ".join(filter(None, (sentence_of[answer.status](answer), _unknown(answer) or _gain(answer))))


def nothing_to_recommend(evidence: Evidence) -> str:
    """Why no configuration is left for a goal."""
    reasons = "; ".join(f"{label}: {exclusion}" for label, exclusion in evidence.excluded.items())
    return f"Nothing to recommend: {reasons or 'no trials'}."


def _best(answer: Answer) -> str:
    rivals = len(answer.selection.standings) - 1
    if not rivals:
        return f"{answer.label} is the only configuration left in the running{_over_another(answer)}."
    others = "the other one" if rivals == 1 else f"all {rivals} others"
    return f"{answer.label} is better than {others} in the running{_over_another(answer)}."


def _tied(answer: Answer) -> str:
    same = answer.evidence.names_of(answer.label or "")
    if len(answer.decision.ties) == 1:
        return f"{listed(same)} are the same configuration, and it is the best{_over_another(answer)}."
    how = "by the study's preference" if answer.evidence.study.prefer else "as the smallest change to the control"
    if len(answer.selection.interchangeable) == 1:
        how = "as the only one that is sure enough"
    return f"{few(answer.ties)} can't be told apart, and {answer.label} is picked {how}{_over_another(answer)}."


def _better(answer: Answer) -> str:
    return f"{answer.label} {_over_reference(answer)}{_more(answer)}."


def _over_another(answer: Answer) -> str:
    """That it is confirmed over what runs now; where that is the control, the gain says it."""
    is_said = answer.reference == answer.evidence.control and not answer.decision.is_reference_excluded
    return "" if is_said and answer.decision.gain else f"; it {_over_reference(answer)}"


def _over_reference(answer: Answer) -> str:
    """Why the change is one: what fresh blocks say of the pick and the reference."""
    if answer.decision.is_reference_excluded:
        return f"does what {answer.reference}, which runs now, can't: it can't serve this goal"
    gain = answer.decision.reference_gain
    words = f"is confirmed better than {_reference(answer)}"
    if gain is None or answer.reference == answer.evidence.control:
        return words
    return f"{words}, at {ratio(gain.value)} of it"


def _keep(answer: Answer) -> str:
    if answer.decision.regret_bound == 0:
        return f"Nothing that was measured is better than {_reference(answer)}: keep it."
    return f"Nothing is shown to be better than {_reference(answer)}: keep it{_more(answer)}."


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


def _more(answer: Answer) -> str:
    more = proposed_trials(answer.selection.more_trials, answer.evidence.options.budget.trials)
    if not more:
        return ""
    usual_s = answer.evidence.usual_trial_s
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


def _unknown(answer: Answer) -> str:
    missing = answer.evidence.unmeasured
    return f"Nothing is known of {few(missing)}." if missing else ""
