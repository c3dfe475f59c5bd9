"""``run plot``: metrics as curves, in the terminal (plotille) or in a file (matplotlib); both are the extra ``plot``."""

from __future__ import annotations

import html
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.cli.formats import printable
from mlcli.domain.errors import MlcliError, NotFoundError, UnsupportedError, UsageError
from mlcli.domain.metrics import Point, Summary, is_of_system, ordered
from mlcli.operations import findings, tracking

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mlcli.cli.command import Session
    from mlcli.operations.findings import Findings, Subject

AXES = {"step": "step", "time": "seconds since the first point", "wall": "time of day"}
_PICTURES = ("png", "svg", "pdf")
_MOST_POINTS = 2000
_MOST_CHARTS = 12
_COLOURS = ("bright_blue", "bright_yellow", "bright_green", "bright_red", "bright_magenta", "bright_cyan", "white")


@dataclass(frozen=True)
class Curve:
    """One metric of one run; no value is NaN or infinite."""

    label: str
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(frozen=True)
class Chart:
    """One metric, a curve for each run that has it."""

    metric: str
    curves: Sequence[Curve]


def plot(
    session: Session, names: Sequence[str], wanted: Sequence[str], *, to: Path | None, axis: str, log: bool
) -> None:
    """Draw the wanted metrics of runs over each other, or all that they have; into the file ``to`` where it is given."""
    form = None if to is None else form_of(to)
    subjects = [tracking.subject(session.services, name) for name in names]
    found = [findings.find(session.services, subject) for subject in subjects]
    metrics = _metrics(session, subjects, found, wanted, limit=_MOST_CHARTS if to is None else None)
    charts = [_chart(session, metric, subjects, found, axis, log=log) for metric in metrics]
    charts = [chart for chart in charts if chart.curves]
    if not charts:
        raise MlcliError("there is nothing to plot: no value is a number", hint="mlcli run metrics shows the values")
    if to is None or form is None:
        session.console.log(_drawn(charts, axis, log=log).encode())
    else:
        to.write_bytes(_page(charts, axis, log=log) if form == "html" else _picture(charts, axis, form, log=log))
        session.console.notice(f"written: {to}")


def form_of(to: Path) -> str:
    """The kind of drawing that a file's name asks for. Raises UsageError."""
    form = to.suffix.lower().removeprefix(".")
    if form not in {*_PICTURES, "html"}:
        raise UsageError(
            f"--to: {to.name!r} is no file of a kind that can be drawn", hint="end it in .png, .svg, .pdf or .html"
        )
    if not to.absolute().parent.is_dir():
        raise UsageError(f"--to: there is no folder {to.absolute().parent}", hint="make it first")
    return form


def _metrics(
    session: Session, subjects: Sequence[Subject], found: Sequence[Findings], wanted: Sequence[str], limit: int | None
) -> list[str]:
    """What is to be drawn. Raises NotFoundError for what no run has."""
    from mlcli.cli.metrics import chosen

    if not wanted:
        return _curves_of(session, subjects, found, limit)
    names: dict[str, None] = {}
    for word in wanted:
        lacking = None
        here: dict[str, None] = {}
        for subject, one in zip(subjects, found, strict=True):
            try:
                here.update(dict.fromkeys(chosen(subject, one, [word])))
            except NotFoundError as error:
                lacking = error
                if len(subjects) > 1:
                    session.console.notice(error.message)
        if not here and lacking is not None:
            raise lacking
        names.update(here)
    return list(names)


def _curves_of(
    session: Session, subjects: Sequence[Subject], found: Sequence[Findings], limit: int | None
) -> list[str]:
    """Every metric but the system's; those of a single value only where there are no others."""
    counts: dict[str, int] = {}
    for one in found:
        for name, summary in one.tracked.metrics.items():
            counts[name] = max(counts.get(name, 0), summary.count)
    if not counts:
        raise tracking.unknown_metric(subjects[0].label, "", found[0].tracked)
    ours = [name for name in ordered(counts) if not is_of_system(name)] or ordered(counts)
    names = [name for name in ours if counts[name] > 1] or ours
    if limit is not None and len(names) > limit:
        session.console.notice(
            f"{limit} of {len(names)} metrics are drawn: -m NAME draws others, --to FILE all of them"
        )
    return names[:limit]


def _chart(
    session: Session, metric: str, subjects: Sequence[Subject], found: Sequence[Findings], axis: str, *, log: bool
) -> Chart:
    curves = []
    for subject, one in zip(subjects, found, strict=True):
        if metric in one.tracked.metrics:
            points = tracking.history(session.services, subject, one, metric, _MOST_POINTS)
            curve = _curve(subject.label, [*points, *_extremes(one.tracked.metrics[metric])], axis, log=log)
            if curve.ys:
                curves.append(curve)
            else:
                session.console.notice(f"{metric} of {subject.label}: no value can be drawn")
    return Chart(metric, curves)


def _extremes(summary: Summary) -> Iterator[Point]:
    """The least and the greatest value, which a choice of points may have missed; their time is not known."""
    for value, step in ((summary.minimum, summary.min_step), (summary.maximum, summary.max_step)):
        if summary.count > _MOST_POINTS:
            yield Point(value, step, -1)


def _curve(label: str, points: Sequence[Point], axis: str, *, log: bool) -> Curve:
    shown = [point for point in points if math.isfinite(point.value) and (point.value > 0 or not log)]
    if axis == "step":
        pairs = sorted({(point.step, point.value) for point in shown})
        return Curve(label, [step for step, _ in pairs], [value for _, value in pairs])
    shown = sorted((point for point in shown if point.time_ms >= 0), key=lambda point: point.time_ms)
    start = shown[0].time_ms if shown and axis == "time" else 0
    return Curve(label, [(point.time_ms - start) / 1000 for point in shown], [point.value for point in shown])


# In the terminal


def _drawn(charts: Sequence[Chart], axis: str, *, log: bool) -> str:
    from mlcli.cli.render import coloured_output

    size = shutil.get_terminal_size((80, 24))
    height = max(6, min(18, size.lines - 8)) if len(charts) == 1 else 10
    width = max(20, min(size.columns, 160) - 16)
    return "\n".join(_chart_text(chart, axis, width, height, log=log, colours=coloured_output()) for chart in charts)


def _chart_text(chart: Chart, axis: str, width: int, height: int, *, log: bool, colours: bool) -> str:
    with needed():
        import plotille

    figure = plotille.Figure()
    figure.width, figure.height = width, height
    figure.color_mode = "names"
    figure.with_colors = colours
    figure.x_label, figure.y_label = axis, printable(chart.metric)
    figure.origin = False
    figure.x_ticks_fkt = lambda low, _high: _short(low, axis)
    figure.y_ticks_fkt = lambda low, _high: f"{10**low if log else low:.4g}".rjust(10)
    ys = [[math.log10(y) for y in curve.ys] if log else curve.ys for curve in chart.curves]
    figure.set_x_limits(*limits([x for curve in chart.curves for x in curve.xs], room=0.0))
    figure.set_y_limits(*limits([y for curve in ys for y in curve], room=0.05))
    for index, (curve, values) in enumerate(zip(chart.curves, ys, strict=True)):
        colour = _COLOURS[index % len(_COLOURS)] if colours else None
        if len(curve.xs) == 1:
            figure.scatter(curve.xs, values, lc=colour)
        else:
            figure.plot(curve.xs, values, lc=colour)
    title = f"{printable(chart.metric)} by {AXES[axis]}{', log scale' if log else ''}"
    return f"{title}\n{figure.show()}\n{_legend(chart, plotille, colours=colours)}\n"


def _legend(chart: Chart, plotille: Any, *, colours: bool) -> str:
    """Each run with its last value."""
    lines = []
    for index, curve in enumerate(chart.curves):
        mark = "──"
        if colours:
            mark = plotille.color(mark, fg=_COLOURS[index % len(_COLOURS)], mode="names")
        lines.append(f"  {mark} {printable(curve.label)}  last {curve.ys[-1]:.6g}")
    return "\n".join(lines)


def _short(value: float, axis: str) -> str:
    if axis == "wall":
        return datetime.fromtimestamp(value).astimezone().strftime("%H:%M:%S")
    return f"{value:.4g}" if abs(value) < 1e6 else f"{value:.3e}"


def limits(values: Sequence[float], room: float) -> tuple[float, float]:
    """From the least to the greatest, a little more on each side; never nothing."""
    low, high = min(values), max(values)
    if low == high:
        around = abs(low) * 0.1 or 0.5
        return low - around, high + around
    return low - (high - low) * room, high + (high - low) * room


# In a file


def _picture(charts: Sequence[Chart], axis: str, form: str, *, log: bool) -> bytes:
    import io
    import warnings

    with needed():
        import matplotlib as mpl

    target = io.BytesIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": "mlcli", "axes.unicode_minus": False}
    with mpl.rc_context(settings), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.simplefilter("ignore", UserWarning)  # a letter that the font has not
        metadata = {"Date": None} if form == "svg" else None
        _figure(charts, axis, log=log).savefig(target, format=form, dpi=150, metadata=metadata)
    return target.getvalue()


def _figure(charts: Sequence[Chart], axis: str, *, log: bool) -> Figure:
    from matplotlib.figure import Figure

    columns = 1 if len(charts) == 1 else 2
    rows = math.ceil(len(charts) / columns)
    figure = Figure(figsize=(7.0 * columns, 4.0 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for place, chart in zip(grid.flat, charts, strict=False):
        _draw(place, chart, axis, log=log)
    for place in list(grid.flat)[len(charts) :]:
        place.set_axis_off()
    return figure


def _draw(place: Axes, chart: Chart, axis: str, *, log: bool) -> None:
    for curve in chart.curves:
        xs: Any = [datetime.fromtimestamp(x).astimezone() for x in curve.xs] if axis == "wall" else curve.xs
        place.plot(xs, curve.ys, marker="o" if len(curve.xs) == 1 else None, linewidth=1.3)
    place.set_title(printable(chart.metric), parse_math=False)
    place.set_xlabel(AXES[axis])
    if log:
        place.set_yscale("log")
    place.grid(visible=True, alpha=0.3)
    shown = place.legend(place.get_lines(), [printable(curve.label) for curve in chart.curves], fontsize="small")
    for label in shown.get_texts():
        label.set_parse_math(False)


def _page(charts: Sequence[Chart], axis: str, *, log: bool) -> bytes:
    """A page that needs nothing else: the drawing, and the last values as a table."""
    drawing = _picture(charts, axis, "svg", log=log).decode()
    drawing = drawing[drawing.index("<svg") :]
    rows = "".join(
        f"<tr><td>{html.escape(printable(chart.metric))}</td><td>{html.escape(printable(curve.label))}</td>"
        f"<td>{curve.ys[-1]:.6g}</td><td>{min(curve.ys):.6g}</td><td>{max(curve.ys):.6g}</td></tr>\n"
        for chart in charts
        for curve in chart.curves
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Metrics</title>\n'
        "<style>body{font-family:sans-serif;margin:2em}svg{max-width:100%;height:auto}"
        "td,th{text-align:left;padding:.2em 1em .2em 0}</style>\n</head>\n<body>\n"
        f"{drawing}\n<table>\n<tr><th>metric</th><th>run</th><th>last</th><th>min</th><th>max</th></tr>\n{rows}</table>\n"
        "</body>\n</html>\n"
    ).encode()


@contextmanager
def needed() -> Iterator[None]:
    """Raises UnsupportedError where the libraries are not installed."""
    try:
        yield
    except ModuleNotFoundError as missing:
        raise UnsupportedError(
            f"plotting needs the package {missing.name!r}, which is not installed", hint="pip install 'mlcli[plot]'"
        ) from missing
