"""What a client is told when a call fails: MLflow's codes, in MLflow's form."""

from __future__ import annotations

from typing import Any

INVALID = "INVALID_PARAMETER_VALUE"
MISSING = "RESOURCE_DOES_NOT_EXIST"
EXISTS = "RESOURCE_ALREADY_EXISTS"
_STATUS = {
    INVALID: 400,
    EXISTS: 400,
    "BAD_REQUEST": 400,
    "UNAUTHENTICATED": 401,
    MISSING: 404,
    "ENDPOINT_NOT_FOUND": 404,
    "FEATURE_DISABLED": 501,
    "INTERNAL_ERROR": 500,
    "RESOURCE_EXHAUSTED": 507,  # not 429, which clients would repeat for minutes
}


class RefusedError(Exception):
    """A call that fails: ``code`` is one of MLflow's, ``status`` that of HTTP (None: the code's own)."""

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = _STATUS[code] if status is None else status

    def body(self) -> dict[str, Any]:
        """The answer."""
        return {"error_code": self.code, "message": str(self)}


def invalid(message: str) -> RefusedError:
    """The client gave what it should not."""
    return RefusedError(INVALID, message)


def missing(message: str) -> RefusedError:
    """There is no such thing."""
    return RefusedError(MISSING, message)
