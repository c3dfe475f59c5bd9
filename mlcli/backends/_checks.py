"""What a single machine cannot honour, refused; what it honours differently, said. Pure."""

from __future__ import annotations

from mlcli.domain.errors import UnsupportedError
from mlcli.domain.job import CommandJob, Distribution


def check_one_process(job: CommandJob, compute: str) -> list[str]:
    """Refuse more than one node or process; the notices for a distribution of one. ``compute``: what it is called where the
    job names none.
    """
    compute = job.compute or compute
    if job.resources.instance_count > 1:
        raise UnsupportedError(
            f"the job asks for {job.resources.instance_count} instances; compute {compute!r} is one machine",
            hint="run it on one with: --set resources.instance_count=1 (run configuration: nodeCount 1)",
        )
    if job.distribution is None:
        return []
    _check_distribution(job.distribution, compute)
    return [f"the job's {job.distribution.type} distribution of one process is run as a plain command"]


def _check_distribution(distribution: Distribution, compute: str) -> None:
    """One process without peers is what happens here anyway; anything else is refused."""
    processes = distribution.process_count_per_instance or 1
    peers = (distribution.worker_count or 1) - 1 + (distribution.parameter_server_count or 0)
    if distribution.type == "ray" or processes > 1 or peers > 0:
        raise UnsupportedError(
            f"the job asks for a {distribution.type} distribution of several processes; "
            f"compute {compute!r} starts one process",
            hint="remove the distribution from the job, or set its counts to 1",
        )
