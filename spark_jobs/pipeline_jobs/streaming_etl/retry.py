"""Retries on databases: bounded, with growing, jittered pauses."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.stop import stop_base

Result = TypeVar("Result")


@dataclass(frozen=True)
class StoppedInPause(stop_base):
    """Sleeps through the pause, and says whether `stop` was set meanwhile: then there is no further attempt."""

    stop: Event

    def __call__(self, retry_state: RetryCallState) -> bool:
        """Whether to give up; the argument has tenacity's name."""
        return self.stop.wait(retry_state.upcoming_sleep)


@dataclass(frozen=True)
class Backoff:
    """`retries` more attempts after the first, `first_s` apart at the start, then twice that, up to `longest_s`."""

    retries: int = 6
    first_s: float = 0.2
    longest_s: float = 10.0

    def pause_s(self, attempt: int) -> float:
        """The pause after failed attempt `attempt` (from 1), with a quarter of jitter."""
        pause_s: float = min(self.longest_s, self.first_s * 2 ** (attempt - 1))
        return pause_s * random.uniform(0.75, 1.25)

    def run(self, action: Callable[[], Result], is_transient: Callable[[BaseException], bool], stop: Event) -> Result:
        """The action's result. Raises its last error when retries are used up, it won't pass, or `stop` is set."""
        return Retrying(
            retry=retry_if_exception(is_transient),
            wait=lambda state: self.pause_s(state.attempt_number),
            stop=stop_after_attempt(self.retries + 1) | StoppedInPause(stop),
            sleep=lambda _: None,
            reraise=True,
        )(action)
