"""``mlcli job``: submit jobs, watch them, fetch what they made."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mlcli.cli import actions, submitting
from mlcli.cli.command import Noun, Session
from mlcli.cli.following import follow
from mlcli.cli.options import (
    Condition,
    Descending,
    EveryPoint,
    Flag,
    Folder,
    Follow,
    HandOnCode,
    JobName,
    JobNames,
    Metrics,
    MostPoints,
    Sets,
    Sort,
    Web,
    Yes,
    complete_job,
    count,
    count_or_none,
    flag,
    flags,
    name_of_job,
)
from mlcli.cli.tree import NOUNS
from mlcli.domain.errors import UsageError
from mlcli.domain.run import RunFilter

if TYPE_CHECKING:
    from mlcli.domain.run import Run

NOUN = Noun(
    NOUNS["job"],
    ignored={
        "force_string": flag("--force-string", help="Accepted and ignored: values are texts."),
        "include_logs": flag("--include-logs", "-l", help="Accepted and ignored."),
    },
)

_FILE = Flag(("--file", "-f"), "The job's YAML; - reads standard input.", "FILE", named="job file")
_FILES = Flag(
    ("--file", "-f"), "YAML files, or folders of them; - reads standard input.", "FILE", many=True, named="job file"
)
_STATUS = flags("--status", metavar="STATUS", help="Only jobs in this state; several may follow, with commas.")


@NOUN.command(
    "create",
    "mlcli job create -f job.yml --stream",
    "mlcli job create -f job.yml --set inputs.rounds=50 compute=local --name iris_50",
    "name=$(mlcli job create -f job.yml --query name -o tsv)",
    "mlcli job create -f job.yml --dry-run",
    "mlcli job create -f job.yml --docker --stream",
    "mlcli job create -f job.yml --environment-of calm_harbor_7k2m9xq4",
)
def create(
    session: Session,
    *,
    file: Annotated[str, _FILE],
    name: Annotated[
        str | None, flag("--name", "-n", metavar="NAME", help="Name for the job; a readable one is made up.")
    ] = None,
    set_: Sets,
    stream: Annotated[bool, flag("--stream", "-s", help="Follow the log to its end.")],
    save_as: Annotated[
        Path | None,
        flag("--save-as", "-a", metavar="FILE", parse=Path, help="Write the job as submitted to this YAML file."),
    ] = None,
    dry_run: Annotated[bool, flag("--dry-run", help="Show the plan, send nothing.")],
    skip_validation: Annotated[bool, flag("--skip-validation", help="Skip the checks that go beyond the schema.")],
    docker: Annotated[bool, flag("--docker", help="Run in a container, whatever the setting local.container says.")],
    no_docker: Annotated[bool, flag("--no-docker", help="Run on the host, though the job names an image.")],
    keep_container: Annotated[bool, flag("--keep-container", help="Leave the container there when the job has ended.")],
    environment_of: Annotated[
        str | None,
        Flag(
            ("--environment-of",),
            "Run in exactly what this job ran in, whatever the file says.",
            "JOB",
            parse=name_of_job,
            complete=complete_job,
        ),
    ] = None,
    reuse: Annotated[
        bool,
        flag(
            "--reuse", help="A sweep: do not make a trial again that has the code, inputs and values of a finished one."
        ),
    ],
    warm_start: Annotated[
        list[str],
        Flag(
            ("--warm-start",),
            "A sweep: tell its sampler of the trials of earlier sweeps.",
            "SWEEP",
            many=True,
            parse=name_of_job,
            complete=complete_job,
        ),
    ],
    propagate_exit_code: HandOnCode,
    web: Web,
) -> None:
    """Create a job from a YAML file.

    Returns as soon as the job is on its way. With --stream the job's log goes to standard output, byte for byte, then
    the job's record; a job that fails ends the command with exit code 1 (or the job's own, with --propagate-exit-code).
    Ctrl-C stops the following, not the job, with exit code 130.
    """
    from mlcli.cli import environment_again
    from mlcli.cli.jobfile import read, save
    from mlcli.domain.sweep import SweepJob
    from mlcli.operations import registry_password
    from mlcli.operations.plan import plan as make_plan

    in_container = actions.asked_container(docker=docker, no_docker=no_docker)
    overrides = set_ if environment_of is None else environment_again.overrides(set_)
    job = read(session, file, overrides=overrides, name=name, check=not skip_validation, submitting=not dry_run)
    if isinstance(job, SweepJob):
        from mlcli.cli import sweep_actions

        if keep_container or environment_of is not None:
            raise UsageError("--keep-container and --environment-of are for command jobs, and this is a sweep")
        sweep = sweep_actions.create(
            session,
            job,
            given=file,
            save_as=save_as,
            in_container=in_container,
            dry_run=dry_run,
            reuse=reuse,
            earlier=warm_start,
        )
        if sweep is not None:
            _show_begun(session, sweep, web=web, stream=stream, hand_on_code=propagate_exit_code)
        return
    if reuse or warm_start:
        raise UsageError("--reuse and --warm-start are for sweeps, and this is a command job")
    job = registry_password.set_apart(job)
    if environment_of is None:
        plan = make_plan(session.services, job, in_container=in_container, keep_container=keep_container)
    else:
        job, plan = environment_again.plan(
            session, job, environment_of, in_container=in_container, keep_container=keep_container
        )
    registry_password.forget_on_host(plan)
    if save_as is not None:
        save(job, file, plan.run, save_as)
    if dry_run:
        submitting.show_plan(session, plan)
        return
    run = submitting.submit(session, job, plan)
    _show_begun(session, run, web=web, stream=stream, hand_on_code=propagate_exit_code)


def _show_begun(session: Session, run: Run, *, web: bool, stream: bool, hand_on_code: bool) -> None:
    if web:
        _no_web_page(session)
    if stream:
        submitting.stream_to_end(session, run, hand_on_code=hand_on_code)
    else:
        submitting.show_created(session, run)


def _no_web_page(session: Session) -> None:
    session.console.notice("--web: there is no web page; `mlcli job show` and `mlcli job stream` show what there is")


@NOUN.command(
    "validate",
    "mlcli job validate -f job.yml",
    "mlcli job validate jobs/ --strict",
    "mlcli job validate jobs/ --sarif result.sarif",
)
def validate(
    session: Session,
    *,
    file: Annotated[list[str], _FILES],
    set_: Sets,
    strict: Annotated[bool, flag("--strict", help="Warnings are errors too.")],
    sarif: Annotated[
        str | None,
        flag("--sarif", metavar="FILE", help="Write what is found as SARIF 2.1.0, for CI; - for standard output."),
    ] = None,
) -> int:
    """Check job files without running anything.

    Every error of every file is shown at once, with its line and column. Exit code 1 when a file has one.
    """
    from mlcli.cli import checking

    return checking.check_files(session, file, overrides=set_, strict=strict, sarif=sarif)


@NOUN.command(
    "init",
    "mlcli job init train.py",
    "mlcli job init src/train.py -f job.yml --environment environment.yml --compute local --input data=./data",
)
def init(
    session: Session,
    *,
    script: Annotated[str, Flag(("--script",), "The script that the job runs.", "SCRIPT", named="script")],
    file: Annotated[
        Path, flag("--file", "-f", metavar="FILE", parse=Path, help="The job file to write (default: job.yml).")
    ] = Path("job.yml"),
    command: Annotated[
        str | None, flag("--command", metavar="COMMAND", help="How the script is run; made up from its flags.")
    ] = None,
    environment: Annotated[
        str | None,
        flag(
            "--environment",
            metavar="ENVIRONMENT",
            help="current, azureml:NAME:VERSION, a conda file or a requirements.txt; one beside the script is found.",
        ),
    ] = None,
    compute: Annotated[str | None, flag("--compute", metavar="NAME", help="Where it runs (default: local).")] = None,
    input_: Annotated[
        list[str], flags("--input", metavar="NAME=VALUE", help="An input: a number, a text, a file or a folder.")
    ],
    force: Annotated[bool, flag("--force", help="Overwrite the job file.")],
) -> None:
    """Write a first job file for a script, with comments that say what else could stand there.

    The flags that a Python script declares (argparse, click) become inputs with their defaults; the script is read, not
    run. On a terminal what is not given is asked for.
    """
    from mlcli.cli import job_init, views

    wish = job_init.Wish(Path(script), file, command, environment, compute, tuple(input_), force)
    written = job_init.write_starter(session, wish)
    session.console.emit(written, view=lambda shown: views.facts({**shown, "inputs": ", ".join(shown["inputs"])}))


@NOUN.command(
    "upgrade",
    "mlcli job upgrade -f old.yml --diff",
    "mlcli job upgrade -f old.yml --in-place",
    "mlcli job upgrade -f old.yml --to new.yml",
    "mlcli job upgrade -f .azureml/local --set script=train.py --to job.yml",
)
def upgrade(
    session: Session,
    *,
    file: Annotated[str, _FILE],
    in_place: Annotated[bool, flag("--in-place", help="Write the file itself.")],
    to: Annotated[Path | None, flag("--to", metavar="FILE", parse=Path, help="Write another file.")] = None,
    diff: Annotated[bool, flag("--diff", help="Show only what would change.")],
    set_: Sets,
) -> None:
    """Rewrite an older job file in today's words, comments kept. It stays the same job.

    The new text goes to standard output; with --in-place or --to it is written, and what changed is shown. A run
    configuration (.azureml/NAME) becomes a job file, with --set for what it leaves to the command line.
    """
    from mlcli.cli import job_upgrade

    job_upgrade.upgrade(session, file, in_place=in_place, target=to, only_diff=diff, overrides=set_)


@NOUN.command("show", "mlcli job show -n my_job", "mlcli job show -n my_job --query status -o tsv")
def show(session: Session, *, name: JobName, web: Web) -> None:
    """Show a job: as it was written, and what became of it."""
    from mlcli.operations import observe

    run = observe.get(session.services, name)
    if web:
        _no_web_page(session)
    actions.show(session, run)


_SINCE = "Only jobs created since: a date, a time, or 7d, 12h for so long ago."
_PARENT = flag("--parent-job-name", "--parent", "-p", metavar="NAME", help="Only children of this job.")


@NOUN.command(
    "list",
    "mlcli job list --status Running",
    "mlcli job list --experiment iris --tag stage=final --since 7d",
    "mlcli job list --all-results --query '[].name' -o tsv",
    "mlcli job list -e iris --sort metrics.accuracy --filter 'metrics.accuracy > 0.9 and params.lr < 0.1'",
)
def list_(
    session: Session,
    *,
    status: Annotated[list[str], _STATUS],
    experiment: Annotated[
        str | None,
        flag("--experiment", "--experiment-name", "-e", metavar="NAME", help="Only jobs of this experiment."),
    ] = None,
    compute: Annotated[str | None, flag("--compute", metavar="NAME", help="Only jobs on this compute.")] = None,
    tag: Annotated[list[str], flags("--tag", "--tags", metavar="KEY[=VALUE]", help="Only jobs with this tag.")],
    since: Annotated[str | None, flag("--since", metavar="TIME", help=_SINCE)] = None,
    until: Annotated[str | None, flag("--until", metavar="TIME", help="Only jobs created before.")] = None,
    parent_job_name: Annotated[str | None, _PARENT] = None,
    include_archived: Annotated[bool, flag("--include-archived", help="Archived jobs too.")],
    archived_only: Annotated[bool, flag("--archived-only", help="Archived jobs only.")],
    max_results: Annotated[
        int, flag("--max-results", "-r", metavar="N", parse=count, help="At most so many (default: 50).")
    ] = 50,
    all_results: Annotated[bool, flag("--all-results", help="All of them.")],
    sort: Sort = None,
    desc: Descending,
    filter_: Condition = None,
) -> None:
    """List jobs, newest first, or sorted and chosen by what they have logged.

    A filter compares metrics (last values), params, tags and attributes (status, run_name, start_time, duration, ...):
    metrics.accuracy > 0.9 and params.lr < 0.1 and tags.`my tag` LIKE 'x%'. Names with other signs stand in backticks.
    """
    from mlcli.cli import values

    now = time.time()
    which = RunFilter(
        states=values.states(status),
        experiment_name=experiment,
        compute=compute.removeprefix("azureml:") if compute else None,
        tags=values.wanted_tags(tag),
        created_after=values.moment(since, "--since", now) if since else None,
        created_before=values.moment(until, "--until", now) if until else None,
        parent=parent_job_name,
        without_parent=parent_job_name is None,
        include_archived=include_archived,
        archived_only=archived_only,
        limit=None if all_results else max_results,
    )
    if sort is not None or filter_ is not None:
        from mlcli.cli import metrics

        metrics.leaderboard(session, which, sort, filter_, desc=desc)
        return
    actions.list_runs(session, which, more="--max-results N shows more, --all-results every one")


@NOUN.command(
    "metrics",
    "mlcli job metrics -n my_job",
    "mlcli job metrics my_job -m loss -o csv",
    "mlcli job metrics my_job -m loss --follow",
)
def metrics(
    session: Session,
    *,
    name: JobName,
    metric: Metrics,
    follow: Follow,
    max_results: MostPoints = 1000,
    all_results: EveryPoint,
) -> None:
    """Show what a job has logged: its metrics in a few figures, or their points.

    The same as `mlcli run metrics`, which says more.
    """
    from mlcli.cli import metrics as shown

    shown.metrics(session, name, metric, follow=follow, most=max_results, every=all_results)


@NOUN.command("stream", "mlcli job stream -n my_job")
def stream(session: Session, *, name: JobName, propagate_exit_code: HandOnCode) -> None:
    """Follow a job's log to its end.

    Prints the log from its first byte, also of a job that has ended. Exit code 1 when the job failed (or the job's own,
    with --propagate-exit-code). Ctrl-C stops the following, not the job, with exit code 130.
    """
    ended = follow(session, name)
    actions.check_success(session, ended, hand_on_code=propagate_exit_code)


@NOUN.command(
    "wait", "mlcli job wait first_job second_job --timeout 2h", "mlcli job wait -n my_job --propagate-exit-code"
)
def wait(
    session: Session,
    *,
    name: JobNames,
    timeout: Annotated[str | None, flag("--timeout", metavar="SPAN", help="Give up after: 90s, 30m, 2h.")] = None,
    propagate_exit_code: HandOnCode,
) -> None:
    """Wait until jobs have ended.

    Exit code 0 when every one completed; 1 when one did not, or when the time is over first.
    """
    from mlcli.cli import values
    from mlcli.operations import observe

    timeout_s = values.span(timeout, "--timeout") if timeout else None
    runs = observe.wait(session.services, name, timeout_s, session.console.notice)
    actions.show_each(session, runs)
    for run in runs:
        actions.check_success(session, run, hand_on_code=propagate_exit_code)


@NOUN.command("cancel", "mlcli job cancel -n my_job")
def cancel(session: Session, *, name: JobNames) -> None:
    """Cancel jobs: end their processes, keep what they have made."""
    from mlcli.operations.cancel import cancel as end

    actions.show_each(session, [end(session.services, one) for one in name])


@NOUN.command("pause", "mlcli job pause -n my_sweep")
def pause(session: Session, *, name: JobName) -> None:
    """Pause a sweep: no more trials are begun, those that run go on to their end.

    A paused sweep needs no process, and its time limit does not run. `mlcli job resume` goes on with it.
    """
    from mlcli.operations.sweep_growth import pause as hold

    actions.show(session, hold(session.services, name))


@NOUN.command(
    "resume",
    "mlcli job resume -n my_sweep",
    "mlcli job resume -n my_sweep --set limits.max_total_trials=40",
    "mlcli job resume -n my_sweep --set limits.timeout=7200 limits.max_concurrent_trials=4",
)
def resume(session: Session, *, name: JobName, set_: Sets) -> None:
    """Go on with a sweep that is paused, was cancelled, or is to have more trials.

    With --set its limits change, also while it runs; one that has ended goes on from its last trial, as if it had been one
    sweep. Trials that were ended with it are begun again. A sweep whose supervisor was killed, or whose machine was
    restarted, goes on by itself with the next command that looks at it.
    """
    from mlcli.cli import sweep_actions

    actions.show(session, sweep_actions.resume(session, name, set_))


@NOUN.command(
    "download",
    "mlcli job download -n my_job --outputs",
    "mlcli job download -n my_job --output-name model --download-path ./results",
    "mlcli job download -n my_job --artifacts",
)
def download(
    session: Session,
    *,
    name: JobName,
    download_path: Folder = Path(),
    all_: Annotated[bool, flag("--all", help="Everything, the named outputs too.")],
    outputs: Annotated[bool, flag("--outputs", "-u", help="Only the outputs folder.")],
    artifacts: Annotated[bool, flag("--artifacts", help="Only what MLflow's clients logged: artifacts and models.")],
    output_name: Annotated[str | None, flag("--output-name", metavar="OUTPUT", help="Only this named output.")] = None,
) -> None:
    """Fetch what a job has made: outputs, artifacts and logs."""
    parts = {"outputs": outputs, "artifacts": artifacts, "everything": all_}
    actions.download(session, name, download_path, output_name=output_name, **parts)


@NOUN.command(
    "update",
    "mlcli job update -n my_job --set tags.stage=final display_name='Iris, 50 rounds'",
    "mlcli job update -n my_job --remove tags.stage",
)
def update(
    session: Session,
    *,
    name: JobName,
    set_: Sets,
    add: Annotated[list[str], flags("--add", metavar="KEY=VALUE", help="Add a tag or a property; the same as --set.")],
    remove: Annotated[
        list[str], flags("--remove", metavar="KEY", help="Take out a tag or a property, or empty a text.")
    ],
    web: Web,
) -> None:
    """Change a job's tags, properties, display_name or description."""
    from mlcli.cli.edits import changes
    from mlcli.operations import manage

    if not (set_ or add or remove):
        hint = "--set tags.stage=final, --set description='...', --remove tags.stage"
        raise UsageError("nothing to change", hint=hint)
    changed = manage.update(session.services, name, lambda run: changes(run, [*set_, *add], remove))
    if web:
        _no_web_page(session)
    actions.show(session, changed)


@NOUN.command("archive", "mlcli job archive -n my_job")
def archive(session: Session, *, name: JobNames) -> None:
    """Hide jobs from lists; everything is kept."""
    from mlcli.operations import manage

    for one in name:
        manage.archive(session.services, one)


@NOUN.command("restore", "mlcli job restore -n my_job")
def restore(session: Session, *, name: JobNames) -> None:
    """Show archived jobs in lists again."""
    from mlcli.operations import manage

    for one in name:
        manage.restore(session.services, one)


@NOUN.command("delete", "mlcli job delete -n my_job", "mlcli job delete first_job second_job --yes")
def delete(session: Session, *, name: JobNames, yes: Yes) -> None:
    """Delete ended jobs for good, with their logs and outputs."""
    from mlcli.cli.sizes import size
    from mlcli.operations import manage

    for one in name:
        session.services.runs.get(one)
    actions.ask(session, f"Delete {', '.join(name)} with logs and outputs?", yes=yes)
    freed = sum(manage.delete(session.services, one) for one in name)
    session.console.notice(f"deleted {', '.join(name)}: {size(freed)} freed")


@NOUN.command("prune", "mlcli job prune --older-than 30d --keep-last 20", "mlcli job prune --status Failed --dry-run")
def prune(
    session: Session,
    *,
    older_than: Annotated[
        str | None, flag("--older-than", metavar="SPAN", help="Jobs created longer ago: 30d, 12h.")
    ] = None,
    keep_last: Annotated[
        int | None, flag("--keep-last", metavar="N", parse=count_or_none, help="Spare the newest N.")
    ] = None,
    status: Annotated[list[str], _STATUS],
    dry_run: Annotated[bool, flag("--dry-run", help="Only show which.")],
    yes: Yes,
) -> None:
    """Delete many ended jobs at once, then the snapshots that no job uses any more.

    A job goes when all that is given applies to it. With nothing given only unused snapshots go.
    """
    from dataclasses import asdict
    from functools import partial

    from mlcli.cli import values, views
    from mlcli.operations import manage

    remove = partial(
        manage.prune,
        session.services,
        older_than_s=values.span(older_than, "--older-than") if older_than else None,
        keep_last=keep_last,
        states=values.states(status),
    )
    pruned = remove(dry_run=True)
    if not dry_run:
        if pruned.runs:
            actions.ask(session, f"Delete {len(pruned.runs)} jobs with logs and outputs?", yes=yes)
        pruned = remove()
    session.console.emit({**asdict(pruned), "runs": list(pruned.runs), "dry_run": dry_run}, view=views.pruned)
