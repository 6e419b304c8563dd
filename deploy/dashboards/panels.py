"""What a dashboard is made of here, and Grafana's JSON from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import (
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    VariableOption,
    VariableRefresh,
)

OURS: Final = 'namespace=~"$namespace",mailservice=~"$mailservice"'
"""The targets that the dashboard's variables choose."""
RATE: Final = "[$__rate_interval]"
_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
_TAGS: Final = ["mailkeep"]


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and how its series are called."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `unit` is Grafana's name of it; `single` shows the latest value instead of a graph; `width` of 24."""

    title: str
    text: str
    queries: tuple[Query, ...]
    unit: str = "short"
    width: int = 8
    single: bool = False
    stacked: bool = False
    bottom: float | None = 0
    top: float | None = None
    """The ends of the scale, where they are known."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a headline."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard; `name` is its file's, and its uid after `mailkeep-`."""

    name: str
    title: str
    text: str
    rows: tuple[Row, ...]
    whose: str = "mailkeep_build_info"
    """The metric whose labels the variables offer."""
    by_service: bool = True
    """Whether a MailService can be chosen."""


def panel(title: str, text: str, expr: str, legend: str, unit: str = "short", **more: Any) -> Panel:
    """A panel with one query."""
    return Panel(title, text, (Query(expr, legend),), unit, **more)


def json_text(board: Board) -> str:
    """The file."""
    built = _dashboard(board).build()
    return JSONEncoder(sort_keys=True, indent=2).encode(built) + "\n"


def _dashboard(board: Board) -> dashboard.Dashboard:
    made = (
        dashboard.Dashboard(board.title)
        .uid(f"mailkeep-{board.name}")
        .description(board.text)
        .tags(_TAGS)
        .readonly()
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in _variables(board):
        made = made.with_variable(variable)
    made = made.link(
        dashboard.DashboardLink("Mailkeep")
        .type(DashboardLinkType.DASHBOARDS)
        .tags(_TAGS)
        .as_dropdown(True)
        .keep_time(True)
    )
    for row in board.rows:
        made = made.with_row(dashboard.Row(row.title))
        for each in row.panels:
            made = made.with_panel(_panel(each))
    return made


def _variables(board: Board) -> Iterator[dashboard.QueryVariable]:
    yield _variable("namespace", "Namespace", f"label_values({board.whose}, namespace)")
    if board.by_service:
        chosen = f'{board.whose}{{namespace=~"$namespace"}}'
        yield _variable("mailservice", "Mail service", f"label_values({chosen}, mailservice)")


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """All of them is `.*`, which also takes targets without the label."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(_SOURCE)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .current(VariableOption(text="All", value="$__all"))
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def _panel(each: Panel) -> Any:
    """The builder of a panel."""
    made: Any = stat.Panel() if each.single else timeseries.Panel()
    made = made.title(each.title).description(each.text).unit(each.unit).datasource(_SOURCE).span(each.width)
    made = made.height(4 if each.single else 8)
    if each.bottom is not None:
        made = made.min(each.bottom)
    if each.top is not None:
        made = made.max(each.top)
    for number, query in enumerate(each.queries):
        made = made.with_target(_target(query, number, instant=each.single))
    return _single(made) if each.single else _graph(made, stacked=each.stacked)


def _target(query: Query, number: int, *, instant: bool) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(chr(ord("A") + number))
    return target.instant() if instant else target.range()


def _single(made: Any) -> Any:
    return made.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))


def _graph(made: Any, *, stacked: bool) -> Any:
    legend = VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
    made = made.legend(legend).tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI)).line_width(1)
    if not stacked:
        return made.fill_opacity(0)
    return made.fill_opacity(20).stacking(StackingConfig().mode(StackingMode.NORMAL))
