"""``fluent.py``, then ``client.py``, each in a process of its own that has MLflow already. Runs inside a job."""

import runpy
import sys
from multiprocessing import get_context
from pathlib import Path

import mlflow  # noqa: F401

if __name__ == "__main__":
    for name in ("fluent", "client"):
        script = get_context("fork").Process(target=runpy.run_path, args=[str(Path(__file__).with_name(f"{name}.py"))])
        script.start()
        script.join()
        if script.exitcode:
            sys.exit(f"{name}.py failed")
