"""paramiko, imported here alone and late: it takes 0.15 s. Its type stubs are those of an older version, hence ``Any``."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def paramiko() -> Any:
    """The package, without ``invoke``: only its own reader of configurations wants that, and it is 40 % of the import."""
    import logging

    hidden = "invoke" not in sys.modules
    if hidden:
        sys.modules["invoke"] = None  # type: ignore[assignment]
    try:
        import paramiko as package
    finally:
        if hidden:
            del sys.modules["invoke"]
    logging.getLogger("paramiko").addHandler(logging.NullHandler())  # its thread's tracebacks would be printed
    return package
