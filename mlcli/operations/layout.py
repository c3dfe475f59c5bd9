"""Where things lie in a run folder: the one layout that writers, readers and ``job download`` share."""

from __future__ import annotations

WORKING_DIRECTORY = "wd"
OUTPUTS = "wd/outputs"
LOGS = "wd/logs"
NAMED_OUTPUTS = "named-outputs"
INPUTS = "inputs"
USER_LOG = "user_logs/std_log.txt"
USER_LOGS = "user_logs"
SYSTEM_LOGS = "system_logs"
PREPARATION_LOG = "system_logs/preparation.log"
SUPERVISOR_LOG = "system_logs/supervisor.log"
EXIT_RECORD = "exit.json"

JOB_DOCUMENT = "job.json"
PLAN_DOCUMENT = "plan.json"
SUBMISSION_DOCUMENT = "submission.json"
SUPERVISOR_DOCUMENT = "supervisor.json"
ALLOCATION_DOCUMENT = "allocation.json"
ENVIRONMENT_DOCUMENT = "environment.json"
REGISTERED_DOCUMENT = "registered.json"

DATASTORES = "datastores"
"""Below the workspace, not the run: the datastores that are there without being made."""
