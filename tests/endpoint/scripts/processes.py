"""Four processes of one job that log to its run at once, from several threads each. Runs inside a job."""

import os
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

from mlflow import MlflowClient

PROCESSES, THREADS, STEPS = 4, 3, 20
run_id = os.environ["MLFLOW_RUN_ID"]


def log(rank, thread):
    client = MlflowClient()
    for step in range(STEPS):
        client.log_metric(run_id, f"rank{rank}/thread{thread}", step, step=step)
    client.log_param(run_id, f"rank{rank}.{thread}", thread)


def work(rank):
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(log, [rank] * THREADS, range(THREADS)))


if __name__ == "__main__":
    workers = [get_context("fork").Process(target=work, args=[rank]) for rank in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
