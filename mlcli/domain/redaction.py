"""What may be shown: texts and records with their secrets masked. Pure; used before anything is printed or logged.

Two kinds are known: credentials inside URLs (user information, signatures in the query), and values whose name says that
they are secret (``API_KEY``, ``db_password``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"

_USER_INFORMATION = re.compile(
    r"(?:(?<=://)(?<!wasb://)(?<!wasbs://)(?<!abfs://)(?<!abfss://)[^/\s@'\"]+"
    r"|(?<=://)[^/\s@'\":]+:[^/\s@'\"]+)(?=@)"  # in a storage address a container's name stands there
)
_SIGNATURE = re.compile(
    r"(?P<name>[?&][^=&\s]*(?:sig|token|key|secret|password|credential)[^=&\s]*=)[^&\s'\"]+", re.IGNORECASE
)
_SECRET_NAME = re.compile(
    r"(?:^|[_.-])(?:pass|passwd|password|passphrase|pwd|secret|token|credentials?|sas|auth|"
    r"(?:api|access|account|secret|private|signing|encryption|storage|shared)[_.-]?key|key)(?:$|[_.-])",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """The text with the credentials of every URL in it masked."""
    return _SIGNATURE.sub(lambda found: found["name"] + MASK, _USER_INFORMATION.sub(MASK, text))


def is_secret_name(name: str) -> bool:
    """Whether a variable or key of that name holds a secret: ``API_KEY`` and ``dbPassword`` do, ``monkey`` does not."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return _SECRET_NAME.search(words) is not None


def masked_record(value: Any, name: str = "") -> Any:
    """A JSON-like value, masked throughout: texts by their URLs, values by their names."""
    if isinstance(value, Mapping):
        return {key: masked_record(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked_record(item, name) for item in value]
    if isinstance(value, str):
        return MASK if value and is_secret_name(name) else masked(value)
    return MASK if isinstance(value, (int, float)) and not isinstance(value, bool) and is_secret_name(name) else value
