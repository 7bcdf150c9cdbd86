"""Calls to AWS: retried where AWS is busy, one clear message where it refuses."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

BUSY_S = 600.0
"""How long to try again while AWS throttles."""

NO_ROOM = ("ConcurrentRunsExceededException", "ResourceNumberLimitExceededException")
"""Other runs hold the job's concurrency or the account's DPUs: waited for as long as such a run may take."""
TRY_AGAIN = (
    "ThrottlingException",
    "Throttling",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    *NO_ROOM,
    "ServiceUnavailable",
    "InternalServiceException",
    "OperationTimeoutException",
)
NO_PERMISSION = ("AccessDenied", "AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException", "403")


def patiently(call: Any, *arguments: Any, poll_s: float, patience_s: float = BUSY_S, **named: Any) -> Any:
    """A call to AWS, again with growing pauses while it is throttled or there is no room for another run."""
    retrying = Retrying(
        retry=retry_if_exception(is_busy),
        wait=wait_random_exponential(multiplier=poll_s / 5, max=60),
        stop=stop_after_delay(patience_s),
        reraise=True,
    )
    return retrying(call, *arguments, **named)


def is_busy(error: BaseException) -> bool:
    """Whether AWS said to come back later."""
    return isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in TRY_AGAIN


def explained(error: Exception) -> str:
    """An error of AWS in one message that says what to do."""
    if not isinstance(error, ClientError):
        return f"AWS can't be reached: {error}"
    details = error.response.get("Error", {})
    code, message = str(details.get("Code", "")), str(details.get("Message", ""))
    if code in NO_PERMISSION:
        return (
            f"no AWS permission for {error.operation_name}: {message or code}; let the connection's user do it "
            "(docs/dedup.md lists what is needed)"
        )
    return f"AWS refused {error.operation_name} ({code}): {message}"
