"""Four processes of one job that log to its run at once, from several threads each. Runs inside a job."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

PROCESSES, THREADS, STEPS = 4, 3, 20
run_id = os.environ["MLFLOW_RUN_ID"]
if len(sys.argv) == 1:
    children = [subprocess.Popen([sys.executable, __file__, str(rank)]) for rank in range(PROCESSES)]
    sys.exit(max(child.wait() for child in children))

from mlflow import MlflowClient  # noqa: E402

client, rank = MlflowClient(), int(sys.argv[1])


def log(thread):
    for step in range(STEPS):
        client.log_metric(run_id, f"rank{rank}/thread{thread}", step, step=step)
    client.log_param(run_id, f"rank{rank}.{thread}", thread)


with ThreadPoolExecutor(THREADS) as pool:
    list(pool.map(log, range(THREADS)))
