"""The report as HTML. Names come from recordings, which nobody vouches for: the template escapes everything."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from scenelake.quality.catalogue import CATALOGUE
from scenelake.quality.shift import LARGE_PSI, MIN_SCENES, SMALL_PSI, called
from scenelake.report.config import ReportConfig
from scenelake.report.figures import DayFigures, Row

OVERVIEW = "index.html"
SHIFTS_CHART = "shifts.png"


def page(
    figures: DayFigures,
    config: ReportConfig,
    pictures: Mapping[str, str],
    charts: Sequence[str],
    vehicle_pages: Mapping[str, str],
    vehicle: str | None = None,
) -> str:
    """The page of all vehicles, or of one.

    Args:
        pictures: relative URL of a scene's picture, by ``scene_id``.
        charts: relative URLs.
        vehicle_pages: relative URL of each vehicle's page.
        vehicle: ``fleet/vehicle``, or None for all.
    """
    worst = [row for row in figures.worst if vehicle in (None, row["vehicle"])][: config.nbr_worst_scenes]
    checks = merged_checks(figures.checks) if vehicle is None else figures.of(figures.checks, vehicle)
    shifts = called(figures.shifts_of(vehicle))
    return _template().render(
        figures=figures,
        vehicle=vehicle,
        vehicles=figures.vehicles if vehicle is None else figures.of(figures.vehicles, vehicle),
        checks=[row | {"has_finding": bool(row["nbr_bad"] + row["nbr_warn"])} for row in checks],
        sensors=[] if vehicle is None else figures.of(figures.sensors, vehicle),
        compared=figures.shifts_of(vehicle),
        shifts=shifts,
        drawn=shifts[: config.nbr_shift_plots],
        nbr_shifts=config.nbr_shifts,
        unit_of=unit_of,
        worst=worst,
        pictures=pictures,
        charts=charts,
        vehicle_pages=vehicle_pages,
        catalogue=CATALOGUE,
        shifts_chart=SHIFTS_CHART,
        small_psi=SMALL_PSI,
        large_psi=LARGE_PSI,
        min_scenes=MIN_SCENES,
        usd_per_job_hour=config.usd_per_job_hour,
        nbr_history_days=config.nbr_history_days,
    )


def merged_checks(checks: Sequence[Row]) -> list[Row]:
    """Rows of all vehicles together."""
    found: dict[str, Row] = {}
    for row in checks:
        sums = found.setdefault(row["check_name"], row | {name: 0 for name in row if name.startswith("nbr_")})
        for name in row:
            if name.startswith("nbr_"):
                sums[name] += row[name]
    return sorted(found.values(), key=lambda r: (-r["nbr_bad"], -r["nbr_warn"], r["check_name"]))


def unit_of(statistic: str) -> tuple[str, float]:
    """The unit in which a person reads a statistic, and what a value is multiplied by for it.

    Numbers that a check leaves in its evidence have no unit that is known here.
    """
    check = CATALOGUE.get(statistic)
    unit = check.unit if check is not None and check.unit != "1" else ""
    return ("ms", 1e-6) if unit == "ns" else (unit, 1.0)


def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("scenelake.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = _number
    environment.filters["size"] = _size
    environment.filters["clock"] = lambda ns: datetime.fromtimestamp(ns // 10**9, UTC).strftime("%H:%M:%S")
    return environment.get_template("day.html")


def _number(value: float | None, digits: int = 3) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"


def _size(value: int | None) -> str:
    amount, units = float(value or 0), ["B", "kB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return f"{amount:.3g} {units[0]}"
