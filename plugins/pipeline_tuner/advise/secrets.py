"""What advice never prints nor writes into a study: passwords, tokens, keys; how they are recognised."""

from __future__ import annotations

import re

NAME = re.compile(r"password|passwd|pwd|passphrase|secret|token|credential|key|signature|private|sas", re.IGNORECASE)
"""Names of settings and arguments that hold a secret. Rather one name too many than one too few."""
VALUE = re.compile(
    r"""(?P<user>://[^/\s:@'"]*):[^/\s@'"]+@       # scheme://user:password@host
      | \b(?P<name>[\w.\-]*(?:password|passwd|pwd|passphrase|secret|token|credential|key|signature|sig)[\w\-]*)
        (?:['"]?\s*(?:=>|[=:])\s*|['"]?\s+(?=['"]))(?:'[^']*'|"[^"]*"|[^\s,;&'"]+)        # password=..., password '...'
      | \b(?:AKIA|ASIA)[0-9A-Z]{16}\b               # an access key of AWS
      | \b(?:Bearer|Basic)\s+[\w.\-+/=]{8,}         # a header
      | \beyJ[\w\-]{10,}\.[\w\-]{10,}[\w.\-]*       # a JSON web token
      | \b(?:dapi[0-9a-f]{32}|gh[pousr]_\w{20,})    # tokens of Databricks and GitHub
    """,
    re.IGNORECASE | re.VERBOSE,
)
HIDDEN = "***"
REDACTED_BY_SPARK = "(redacted)"


def names_secret(name: str) -> bool:
    """Whether a setting's or an argument's name says that its value is a secret."""
    return bool(NAME.search(name))


def holds_secret(value: str) -> bool:
    """Whether a value looks as if it had a secret in it, or as if Spark had taken one out of it."""
    return bool(VALUE.search(value)) or REDACTED_BY_SPARK in value


def without_secrets(text: str) -> str:
    """A text with `***` where a secret was."""
    return VALUE.sub(_hidden, text)


def _hidden(match: re.Match[str]) -> str:
    if match["user"]:
        return f"{match['user']}:{HIDDEN}@"
    return f"{match['name']}={HIDDEN}" if match["name"] else HIDDEN
