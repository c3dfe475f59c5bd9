"""``sweep plot``: what a sweep has found, drawn in the terminal (plotille) or by Optuna into a file (matplotlib, plotly)."""

from __future__ import annotations

import io
import math
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.cli.formats import printable
from mlcli.cli.plots import form_of, limits, needed
from mlcli.domain.errors import MlcliError
from mlcli.domain.sweep import Goal
from mlcli.domain.trials import tally, unseen
from mlcli.operations import sweep_report, sweep_study

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from mlcli.cli.command import Session
    from mlcli.operations.sweep_report import Report

KINDS = ("history", "parallel", "slice", "importance")
_FEW = 4
_LINES = 60
_GOOD, _OTHER, _STOPPED = "bright_green", "bright_blue", "bright_yellow"


@dataclass(frozen=True)
class Seen:
    """What is drawn. ``trials``: those that completed with a metric, at least one; ``stopped``: those stopped early with one.

    ``shared``: the parameters that each of ``trials`` has, by name; ``own``: those that only some have.
    """

    study: Study
    metric: str
    goal: Goal
    trials: Sequence[FrozenTrial]
    stopped: Sequence[FrozenTrial]
    shared: Mapping[str, BaseDistribution]
    own: Mapping[str, BaseDistribution]


def plot(session: Session, name: str, kind: str, to: Path | None) -> None:
    """Draw a sweep; into the file ``to`` where it is given."""
    form = None if to is None else form_of(to)
    run = sweep_report.sweep_named(session.services, name)
    seen = look(sweep_report.report(session.services, run))
    if kind != "history" and not seen.shared:
        raise MlcliError(f"the trials of sweep {name} differ in nothing", hint="--kind history shows their metrics")
    if kind in {"parallel", "importance"} and seen.own:
        session.console.notice(f"not every trial has {', '.join(seen.own)}: --kind slice shows what these do")
    if to is None or form is None:
        session.console.log(drawn(seen, kind).encode())
    else:
        to.write_bytes(file(seen, kind, form))
        session.console.notice(f"written: {to}")


def _trials(seen: Seen) -> str:
    return "1 trial" if len(seen.trials) == 1 else f"{len(seen.trials)} trials"


def look(report: Report) -> Seen:
    """What there is to be drawn. Raises MlcliError where there is nothing."""
    study, objective = sweep_study.study(report), report.search.objective
    every = study.get_trials(deepcopy=False)
    trials = [trial for trial in every if trial.state.name == "COMPLETE"]
    if not trials:
        why = unseen(report.attempts, objective) or tally(report.attempts)
        raise MlcliError(f"there is nothing to plot: no trial has completed with a metric ({why})")
    most = max(abs(_value(trial)) for trial in trials)
    if not math.isfinite(2 * most):
        hint = f"mlcli sweep trials -n {report.run.name} --sort metric"
        raise MlcliError(f"the metrics reach {most:g}, too far to be drawn", hint=hint)
    distributions = {name: one for trial in trials for name, one in trial.distributions.items()}
    shared = {name: one for name, one in distributions.items() if all(name in trial.params for trial in trials)}
    return Seen(
        study,
        objective.primary_metric,
        objective.goal,
        trials,
        [trial for trial in every if trial.state.name == "PRUNED" and trial.value is not None],
        shared,
        {name: one for name, one in distributions.items() if name not in shared},
    )


def drawn(seen: Seen, kind: str) -> str:
    """Lines for the terminal. Raises UnsupportedError where plotille is not installed."""
    with needed():
        import_module("plotille")
    return _TEXTS[kind](seen)


def file(seen: Seen, kind: str, form: str) -> bytes:
    """Optuna's own drawing, as ``png``, ``svg``, ``pdf`` or ``html``. Raises UnsupportedError where a package is missing."""
    return _page(seen, kind) if form == "html" else _picture(seen, kind, form)


# In the terminal


def _history(seen: Seen) -> str:
    """The metric of each trial, and the best so far."""
    better = min if seen.goal is Goal.MINIMIZE else max
    numbers = [trial.number for trial in seen.trials]
    best = list(accumulate((_value(trial) for trial in seen.trials), better))
    shown = [*seen.trials, *seen.stopped]
    canvas = _Canvas("trial", seen.metric, height=16)
    canvas.frame(canvas.whole(max(trial.number for trial in shown)), [_value(trial) for trial in shown])
    canvas.points(seen.stopped, [trial.number for trial in seen.stopped], _STOPPED, "x")
    canvas.points(seen.trials, numbers, _OTHER)
    canvas.line(*_stairs(numbers, best), _GOOD)
    at = numbers[best.index(best[-1])]
    legend = [
        f"{canvas.mark('──', _GOOD)} best so far, at last {best[-1]:.6g} (trial {at})",
        f"{canvas.mark('•', _OTHER)} {_trials(seen)}",
    ]
    if seen.stopped:
        legend.append(f"{canvas.mark('x', _STOPPED)} {len(seen.stopped)} stopped early")
    return canvas.drawn(f"{_plain(seen.metric)} by trial ({seen.goal.value})", legend)


def _stairs(xs: Sequence[float], ys: Sequence[float]) -> tuple[list[float], list[float]]:
    """Each value holds until the next one."""
    steps = [(x, y) for x, before, y in zip(xs[1:], ys, ys[1:], strict=False) for y in dict.fromkeys((before, y))]
    pairs = [(xs[0], ys[0]), *steps]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _slice(seen: Seen) -> str:
    """The metric over each parameter."""
    parts = []
    for name, one in {**seen.shared, **seen.own}.items():
        having = [trial for trial in seen.trials if name in trial.params]
        if _categories(one) is not None:
            parts.append(_table(seen, name, having))
            continue
        log = _is_log(one)
        xs = [_place(trial, name, one) for trial in having]
        canvas = _Canvas(name, seen.metric, height=10, log=log)
        canvas.frame(xs, [_value(trial) for trial in having])
        canvas.points(having, xs, _OTHER)
        best = max(having, key=lambda trial: seen.goal.score(_value(trial)))
        canvas.points([best], [_place(best, name, one)], _GOOD, "o")
        legend = [f"{canvas.mark('o', _GOOD)} the best, {best.params[name]:.6g}"]
        parts.append(canvas.drawn(f"{_plain(seen.metric)} over {_plain(name)}{', log scale' if log else ''}", legend))
    return "\n".join(parts)


def _table(seen: Seen, name: str, trials: Sequence[FrozenTrial]) -> str:
    """The options of a choice, the best first."""
    better = min if seen.goal is Goal.MINIMIZE else max
    groups: dict[str, list[float]] = {}
    for trial in trials:
        groups.setdefault(_plain(str(trial.params[name])), []).append(_value(trial))
    rows = sorted(groups.items(), key=lambda item: -seen.goal.score(better(item[1])))
    width = max(len(title) for title in groups)
    lines = [
        f"  {title.ljust(width)}  {len(values):6}  {better(values):<12.6g}  {statistics.median(values):.6g}"
        for title, values in rows
    ]
    heading = f"  {''.ljust(width)}  trials  {'best':12}  median"
    return "\n".join([f"{_plain(seen.metric)} over {_plain(name)}", heading, *lines, ""])


def _parallel(seen: Seen) -> str:
    """A line for each trial, through its metric and its values; the best tenth on top."""
    axes = list(seen.shared.items())
    canvas = _Canvas("axis", "share", height=16, columns=len(axes))
    most = _LINES if canvas.colours else _LINES // 6  # in one colour the best would not be seen among many
    ordered = sorted(seen.trials, key=lambda trial: seen.goal.score(_value(trial)), reverse=True)[:most]
    values = [_value(trial) for trial in ordered]
    columns = [_unit(values)]
    lines = [f"0  {_plain(seen.metric)}  {min(values):.6g} to {max(values):.6g}"]
    for number, (name, one) in enumerate(axes, start=1):
        places = [_place(trial, name, one) for trial in ordered]
        columns.append(_unit(places))
        lines.append(f"{number}  {_plain(name)}  {_range(one, places)}")
    canvas.frame([0, len(axes)], [0, 1])
    good = max(1, len(ordered) // 10)
    for index in reversed(range(len(ordered))):
        canvas.line(
            list(range(len(axes) + 1)), [column[index] for column in columns], _GOOD if index < good else _OTHER
        )
    legend = [
        f"{canvas.mark('──', _GOOD)} the best {good}",
        f"{canvas.mark('──', _OTHER)} {len(ordered) - good} more of {_trials(seen)}",
        *lines,
    ]
    return canvas.drawn("the metric (0) and the values of each trial", legend)


def _unit(values: Sequence[float]) -> list[float]:
    low, high = limits(values, room=0.0)
    return [(value - low) / (high - low) for value in values]


def _range(one: BaseDistribution, places: Sequence[float]) -> str:
    """What the ends of an axis mean."""
    options = _categories(one)
    if options is not None:
        return ", ".join(_plain(str(options[int(place)])) for place in sorted(set(places)))
    low, high = (10**place if _is_log(one) else place for place in (min(places), max(places)))
    return f"{low:.4g} to {high:.4g}{', log scale' if _is_log(one) else ''}"


def _importance(seen: Seen) -> str:
    """A bar for each parameter."""
    found = _importances(seen)
    width = max(len(_plain(name)) for name in found)
    room = max(10, min(shutil.get_terminal_size((80, 24)).columns, 100) - width - 12)
    canvas = _Canvas("", "", height=1)
    lines = [
        f"  {_plain(name).ljust(width)}  {canvas.mark('█' * round(share * room), _OTHER)} {share:.2f}"
        for name, share in found.items()
    ]
    return "\n".join([f"how much each parameter counts for {_plain(seen.metric)} (PED-ANOVA)", *lines, ""])


_TEXTS: Mapping[str, Callable[[Seen], str]] = {
    "history": _history,
    "parallel": _parallel,
    "slice": _slice,
    "importance": _importance,
}


class _Canvas:
    """A figure of the terminal's size."""

    def __init__(self, x: str, y: str, *, height: int, log: bool = False, columns: int | None = None) -> None:
        import plotille

        from mlcli.cli.render import coloured_output

        size = shutil.get_terminal_size((80, 24))
        width = max(20, min(size.columns, 160) - 20 - len(x))
        self._plotille = plotille
        self.colours = coloured_output()
        self._figure = plotille.Figure()
        figure = self._figure
        figure.width, figure.height = width, max(6, min(height, size.lines - 8))
        figure.color_mode, figure.with_colors, figure.origin = "names", self.colours, False
        figure.x_label, figure.y_label = _plain(x), _plain(y)
        figure.x_ticks_fkt = lambda low, _high: f"{10**low if log else low:.4g}"
        figure.y_ticks_fkt = lambda low, _high: f"{low:.4g}".rjust(10)
        if columns is not None:  # a tick stands every ten letters, and an axis on a tick
            every = max(1, width // (10 * columns))
            figure.width = 10 * every * columns
            figure.x_ticks_fkt = lambda low, _high: f"{low:.0f}" if abs(low - round(low)) < 1e-6 else ""

    def frame(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        """Make room for these."""
        self._figure.set_x_limits(*limits(xs, room=0.0))
        self._figure.set_y_limits(*limits(ys, room=0.05))

    def whole(self, greatest: int) -> tuple[float, float]:
        """The ends of an axis from 0 on that has whole numbers where its ticks stand, every ten letters."""
        ticks = self._figure.width / 10
        return 0, math.ceil(max(greatest, 1) / ticks) * ticks

    def points(self, trials: Sequence[FrozenTrial], xs: Sequence[float], colour: str, marker: str = "•") -> None:
        """Their metrics over ``xs``."""
        if trials:
            self._figure.scatter(xs, [_value(trial) for trial in trials], lc=self._colour(colour), marker=marker)

    def line(self, xs: Sequence[float], ys: Sequence[float], colour: str) -> None:
        self._figure.plot(xs, ys, lc=self._colour(colour))

    def mark(self, text: str, colour: str) -> str:
        return str(self._plotille.color(text, fg=colour, mode="names")) if self.colours else text

    def drawn(self, title: str, legend: Sequence[str]) -> str:
        return "\n".join([title, self._figure.show(), *(f"  {line}" for line in legend), ""])

    def _colour(self, colour: str) -> str | None:
        return colour if self.colours else None


def _plain(text: str) -> str:
    return printable(text)


def _value(trial: FrozenTrial) -> float:
    return trial.value if trial.value is not None else math.nan


def _is_log(one: BaseDistribution) -> bool:
    return bool(getattr(one, "log", False))


def _categories(one: BaseDistribution) -> Sequence[Any] | None:
    return getattr(one, "choices", None)


def _place(trial: FrozenTrial, name: str, one: BaseDistribution) -> float:
    """Where on its axis a trial lies: an option by its number, a logarithmic one by its exponent."""
    inner = one.to_internal_repr(trial.params[name])
    return math.log10(inner) if _is_log(one) else inner


# In a file


def _importances(seen: Seen) -> Mapping[str, float]:
    """Shares of 1 by name, the greatest first. Raises MlcliError where there are too few trials to tell."""
    if len(seen.trials) < _FEW:
        raise MlcliError(
            f"too few trials to tell what counts: {_FEW} must have completed with a metric, not {len(seen.trials)}"
        )
    with sweep_study.quietly() as optuna:
        found: Mapping[str, float] = optuna.importance.get_param_importances(seen.study, evaluator=_evaluator())
    return found


def _evaluator() -> Any:
    """Optuna's default needs scikit-learn; this one needs nothing, and is quicker."""
    from optuna.importance import PedAnovaImportanceEvaluator

    return PedAnovaImportanceEvaluator()


def _figure(seen: Seen, kind: str, plots: Any) -> Any:
    """Optuna's own drawing; ``plots`` is its module for plotly or for matplotlib."""
    if kind == "history":
        return plots.plot_optimization_history(seen.study, target_name=_plain(seen.metric))
    if kind == "parallel":
        return plots.plot_parallel_coordinate(seen.study, params=list(seen.shared), target_name=_plain(seen.metric))
    if kind == "slice":
        return plots.plot_slice(seen.study, target_name=_plain(seen.metric))
    _importances(seen)
    return plots.plot_param_importances(seen.study, evaluator=_evaluator(), target_name=_plain(seen.metric))


def _page(seen: Seen, kind: str) -> bytes:
    """A page that needs nothing else, and answers to the mouse."""
    with needed():
        import_module("plotly")
    with sweep_study.quietly() as optuna:
        page: str = _figure(seen, kind, optuna.visualization).to_html(include_plotlyjs=True)
    return page.encode()


def _picture(seen: Seen, kind: str, form: str) -> bytes:
    with needed():
        import matplotlib as mpl

    target = io.BytesIO()
    is_name = "$" in f"{seen.metric}{seen.shared}{seen.own}"  # begins a formula, which the ticks of a log axis are
    settings = {"svg.fonttype": "none", "svg.hashsalt": "mlcli", "axes.unicode_minus": False}
    settings["text.parse_math"] = not is_name
    mpl.use("Agg")
    with mpl.rc_context(settings), sweep_study.quietly():  # type: ignore[arg-type]
        import optuna.visualization.matplotlib as plots

        drawn = _figure(seen, kind, plots)
        axes = drawn if hasattr(drawn, "figure") else drawn.flat[0]
        metadata = {"Date": None} if form == "svg" else None
        axes.figure.savefig(target, format=form, dpi=150, metadata=metadata, bbox_inches="tight")
    return target.getvalue()
