"""Azure ML's curated environments, ``AzureML-...``: names that stand in job files everywhere, and definitions of ours for
what they are about. Data, and a pure look-up.

What Azure's images hold is Azure's; ours hold current, well-kept packages for the same work. Python is left open where
every one that mlcli runs on will do: on the host it is then mlcli's own, in a container the base image's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlcli.domain.errors import UnsupportedError

PREFIX = "azureml-"
_TRACKING = "mlflow-skinny>=2.14,<4"
_TABLES = ("pandas>=2,<4", "matplotlib>=3.8,<4")


@dataclass(frozen=True)
class Family:
    """One definition. ``words``: what in a curated name asks for it; ``pip``: its packages; ``python``: conda's words."""

    name: str
    words: frozenset[str]
    pip: tuple[str, ...]
    python: str | None = None

    @property
    def conda(self) -> dict[str, Any]:
        """As a conda file's content."""
        dependencies: list[Any] = [self.python] if self.python else []
        return {"dependencies": [*dependencies, "pip", {"pip": list(self.pip)}]}


# The first whose word stands in a name is taken: those that other families are often named beside come first.
FAMILIES = (
    Family(
        "LightGBM",
        frozenset({"lightgbm"}),
        ("lightgbm>=4,<5", "scikit-learn>=1.5,<2", *_TABLES, _TRACKING),
    ),
    Family("XGBoost", frozenset({"xgboost"}), ("xgboost>=2,<4", "scikit-learn>=1.5,<2", *_TABLES, _TRACKING)),
    Family(
        "PyTorch",
        frozenset({"pytorch", "torch", "acpt", "torchvision"}),
        ("torch>=2.4,<3", "torchvision>=0.19,<1", *_TABLES, _TRACKING),
    ),
    Family(
        "TensorFlow",
        frozenset({"tensorflow", "tf", "keras"}),
        ("tensorflow>=2.17,<3", *_TABLES, _TRACKING),
        python="python>=3.10,<3.14",
    ),
    Family(
        "scikit-learn",
        frozenset({"sklearn", "scikit", "tutorial"}),
        ("scikit-learn>=1.5,<2", *_TABLES, _TRACKING),
    ),
    Family("minimal", frozenset({"minimal", "base", "mpi", "openmpi", "python", "mlflow"}), (_TRACKING,)),
)

_REFUSED: Mapping[str, str] = {
    "automl": "holds Azure's own AutoML packages",
    "designer": "holds the Azure designer's own modules",
    "pyspark": "is a Spark installation",
    "spark": "is a Spark installation",
    "triton": "is an inference server, not something that jobs run in",
    "responsibleai": "holds Azure's own Responsible AI components",
    "rai": "holds Azure's own Responsible AI components",
}


def is_curated(name: str) -> bool:
    """Whether it is a name that Azure ML keeps for its own."""
    return name.lower().startswith(PREFIX)


def family(name: str) -> Family:
    """What a curated name is mapped to. Raises UnsupportedError for one that has no counterpart here, saying why."""
    words = set(re.findall(r"[a-z]+", name.lower().removeprefix(PREFIX)))
    hint = f"register one of your own under that name: mlcli environment create --name {name} --conda-file FILE"
    refused = next((why for word, why in _REFUSED.items() if word in words), None)
    if refused is not None:
        raise UnsupportedError(f"the curated environment {name} {refused}, which mlcli does not have", hint=hint)
    found = next((each for each in FAMILIES if each.words & words), None)
    if found is None:
        known = ", ".join(sorted(each.name for each in FAMILIES))
        message = f"mlcli has no counterpart of the curated environment {name}; it has them for {known}"
        raise UnsupportedError(message, hint=hint)
    return found
