"""Train a LightGBM classifier on the Iris data; writes outputs/model.txt and outputs/metrics.json.

Where MLflow is installed, it logs parameters, each round's metrics and the model. Elsewhere the metrics are printed.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

try:
    import lightgbm as lgb
except OSError as missing:  # the wheel brings everything but the compiler's OpenMP library
    sys.exit(
        f"LightGBM cannot be loaded: {missing}\n"
        "Install OpenMP: apt-get install libgomp1, dnf install libgomp, or brew install libomp"
    )

TEST_SHARE = 0.2


def main() -> None:
    args = parse_args()
    callbacks = [] if args.autolog and mlflow_logs() else [print_metrics]
    features, labels, species = read_iris(args.iris_csv)
    train, test = split(labels, args.seed)
    print(f"{len(train)} flowers to learn from, {len(test)} to test with", flush=True)

    model, history = fit(args, (features[train], labels[train]), (features[test], labels[test]), callbacks)
    predicted = model.predict(features[test]).argmax(axis=1)
    metrics = {
        "test-accuracy": float((predicted == labels[test]).mean()),
        **{f"{name}-{metric}": rounds[-1] for name, found in history.items() for metric, rounds in found.items()},
        "rounds": model.current_iteration(),
    }

    outputs = Path("outputs")
    outputs.mkdir(exist_ok=True)
    model.save_model(outputs / "model.txt")
    (outputs / "metrics.json").write_text(json.dumps({**metrics, "classes": species}, indent=2) + "\n")
    for name, value in metrics.items():
        print(f"{name}: {value:.6g}")


def mlflow_logs() -> bool:
    """Let MLflow log what LightGBM does; False where it is not installed."""
    try:
        import mlflow  # noqa: PLC0415  (it takes seconds)
    except ModuleNotFoundError:
        return False
    mlflow.autolog()
    return True


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iris-csv", type=Path, required=True, help="four measures and the species, one flower a row")
    parser.add_argument("--num-boost-round", type=int, default=10, help="trees to grow for each class")
    parser.add_argument("--boosting", choices=["gbdt", "dart", "rf"], default="gbdt")
    parser.add_argument("--num-iterations", type=int, help="LightGBM's other name of --num-boost-round; wins over it")
    parser.add_argument("--num-leaves", type=int, default=31)
    parser.add_argument("--num-threads", type=int, default=0, help="0: as many as there are cores")
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--metric", default="multi_logloss", help="reported on both sets after each round")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument(
        "--no-autolog",
        dest="autolog",
        action="store_false",
        help="print the metrics also where MLflow is installed, which saves seconds",
    )
    parser.add_argument("--verbose", type=int, default=-1, help="LightGBM's own messages: -1 none, 0 warnings, 1 all")
    return parser.parse_args()


def read_iris(file: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The measures as a matrix, the species as numbers, and the names that the numbers stand for."""
    with file.open(newline="") as lines:
        _header, *rows = csv.reader(lines)
    species = sorted({row[-1] for row in rows})
    features = np.array([row[:-1] for row in rows], dtype=float)
    labels = np.array([species.index(row[-1]) for row in rows])
    return features, labels, species


def split(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers to learn from and to test with: the same share of every species, chosen by the seed."""
    random = np.random.default_rng(seed)
    test = np.concatenate(
        [
            random.permutation(rows)[: round(TEST_SHARE * len(rows))]
            for rows in (np.flatnonzero(labels == label) for label in np.unique(labels))
        ]
    )
    return np.setdiff1d(np.arange(len(labels)), test), test


def fit(
    args: argparse.Namespace,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    callbacks: list[Callable],
) -> tuple[lgb.Booster, dict]:
    """The trained model, and each metric on both sets after each round. A set: measures and numbers of the species."""
    parameters = {
        "objective": "multiclass",
        "num_class": len(np.unique(train[1])),
        "boosting": args.boosting,
        "num_leaves": args.num_leaves,
        "num_threads": args.num_threads,
        "learning_rate": args.learning_rate,
        "metric": args.metric,
        "seed": args.seed,
        "deterministic": True,
        "verbosity": args.verbose,
    }
    if args.boosting == "rf":  # a random forest needs a sample of its own for each tree
        parameters.update(bagging_fraction=0.8, bagging_freq=1)
    learning = lgb.Dataset(*train)
    testing = lgb.Dataset(*test, reference=learning)
    history = {}
    model = lgb.train(
        parameters,
        learning,
        num_boost_round=args.num_iterations or args.num_boost_round,
        valid_sets=[learning, testing],
        valid_names=["train", "test"],
        callbacks=[lgb.record_evaluation(history), *callbacks],
    )
    return model, history


def print_metrics(env: lgb.callback.CallbackEnv) -> None:
    """One line a round, in a form that mlcli reads as metrics."""
    values = " ".join(f"{name}-{metric}={value:.6g}" for name, metric, value, *_ in env.evaluation_result_list)
    print(f"metric: {values} step={env.iteration}", flush=True)


if __name__ == "__main__":
    main()
