"""The nouns of the command line, and what ``mlcli --help`` says of them: a table, so that help imports none of them."""

from __future__ import annotations

from collections.abc import Mapping

PROGRAM = "mlcli"
SUMMARY = "One job file, any compute: run az ml job YAML of every generation on your own machines."
NOUNS: Mapping[str, str] = {
    "job": "Submit jobs, watch them, fetch what they made.",
    "run": "The same jobs under the older names of these commands.",
    "folder": "Folders that are attached to a workspace and an experiment.",
    "experiment": "The names under which jobs are grouped.",
    "sweep": "The trials of a sweep, and the best of them.",
    "environment": "What jobs run in: registered by name, built once, found for ever.",
    "data": "Files for jobs to read, under a name and a version.",
    "dataset": "The same data under the older names of these commands.",
    "model": "What training has made, under a name and a version.",
    "component": "Steps for pipelines, under a name and a version.",
    "datastore": "Folders for data, under a name.",
    "compute": "The named places where jobs run.",
    "computetarget": "The same computes under the older names of these commands.",
    "workspace": "The place where runs and snapshots are kept.",
    "ui": "Start MLflow's own UI over the runs of the workspace.",
    "schema": "The JSON schemas of job files, for editors.",
    "version": "Show which mlcli this is.",
}
ROOT_FLAGS: Mapping[str, str] = {
    "--version, -V": "Show the version.",
    "--install-completion": "Install shell completion of commands, flags and job names.",
    "--show-completion": "Print it, to copy it or to change it.",
    "--help, -h": "Show this help; every noun and every command has its own.",
}
HELP = ("--help", "-h")


def root_help() -> str:
    """The text of ``mlcli --help``."""
    from mlcli.cli.helptext import group

    return group(PROGRAM, SUMMARY, NOUNS, ROOT_FLAGS)
