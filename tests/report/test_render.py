"""The page and its twin: complete, honest about the source, and every number labelled."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from hardwatt.analysis.contract import parse
from hardwatt.analysis.model import Results
from hardwatt.analysis.sections import ResultFigure
from hardwatt.core import files
from hardwatt.core.errors import LabError
from hardwatt.report import numbers, plots
from hardwatt.report.render import html, markdown, write
from tests.analysis.test_results import numbers_outside_figures
from tests.report.cases import CASES

VOID = {"meta", "link", "br", "hr", "img", "line", "circle", "rect", "input"}
# Digits that are names, not measurements: code, names of pairs, commits and runs, file and plan names.
ALLOWED = (r"pair \d+", r"results\.json", r"\(2\^\d+\)")
SILENT = {"code", "style", "title", "script"}


class Numbers(HTMLParser):
    """Collects text with digits that stands in no element with data-unit and data-source."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, bool]] = []
        self.bare: list[str] = []
        self.labelled = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in VOID:
            self.open.append((tag, bool(given.get("data-unit")) and bool(given.get("data-source"))))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop()[0] == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if any(tag in SILENT for tag, _ in self.open) or not re.search(r"\d", data):
            return
        if any(labelled for _, labelled in self.open):
            self.labelled += 1
            return
        rest = data
        for pattern in ALLOWED:
            rest = re.sub(pattern, "", rest)
        if re.search(r"\d", rest):
            self.bare.append(data.strip())


def bare_numbers(page: str) -> tuple[list[str], int]:
    parser = Numbers()
    parser.feed(page)
    assert parser.open == []
    return parser.bare, parser.labelled


def test_a_page_shows_what_the_file_beside_it_holds(full: Path) -> None:
    stored = parse(Results, json.loads(full.with_name("results.json").read_text()))
    assert full.read_text() == html(stored)
    assert full.with_name("report.md").read_text() == markdown(stored)


def test_results_are_handed_over_in_memory(tmp_path: Path, full: Path) -> None:
    """Pages are made of the typed results: nothing is read from the folder that they are written to."""
    results = parse(Results, json.loads(full.with_name("results.json").read_text()))
    (tmp_path / "results.json").write_text("another file")
    page = write(results, tmp_path)
    names = ("results.json", "report.html", "report.md")
    assert [page.with_name(name).read_bytes() for name in names] == [
        full.with_name(name).read_bytes() for name in names
    ]


@pytest.mark.parametrize("which", list(CASES))
def test_no_number_lacks_its_unit_and_source(which: str, pages: Callable[[str], Path]) -> None:
    page = pages(which)
    bare, labelled = bare_numbers(page.read_text())
    assert bare == []
    assert labelled > 10
    results = next(path for path in page.parent.glob("*.json"))
    assert bare_in_json(json.loads(results.read_text())) == []


def bare_in_json(results: dict[str, Any]) -> list[str]:
    """Paths of numbers that are in no figure; places in an order are the short list of those that may."""
    places = (".position", ".commit")
    return [path for path in numbers_outside_figures(results) if not path.endswith(places)]


def test_the_check_of_json_finds_a_bare_one(results: dict[str, Any]) -> None:
    spoilt = copy.deepcopy(results)
    spoilt["primary"]["watts"] = 12.5
    spoilt["n"]["unit"] = ""
    assert sorted(bare_in_json(spoilt)) == [".n: a figure without unit or source", ".primary.watts"]


def test_the_check_of_numbers_finds_a_bare_one(quick: Path) -> None:
    page = quick.read_text().replace('<h2 id="checks">', '<p>about 12.5 W</p><h2 id="checks">')
    assert bare_numbers(page)[0] == ["about 12.5 W"]


def test_the_source_of_energy_comes_first(quick: Path) -> None:
    body = quick.read_text().split("<main", 1)[1]
    text = re.sub(r"<[^>]+>", " ", body)
    assert text.index("Source of energy: modelled") < text.index("CPU-seconds")
    assert body.index("Source of energy") < body.index("<h1") < body.index("What this does not show")
    twin = quick.with_suffix(".md").read_text()
    assert twin.index("Source of energy: modelled") < twin.index("CPU-seconds")


def test_the_page_stands_alone(quick: Path) -> None:
    page = quick.read_text()
    assert not re.search(r"(src|href)=\"(?!#|data:,)", page)
    assert "<script" not in page
    assert "url(" not in page and "@import" not in page


def test_page_and_twin_hold_the_same_answer(quick: Path, full: Path) -> None:
    for page in (quick, full):
        html_text = re.sub(r"<[^>]+>", "", page.read_text()).replace("\xa0", " ").replace("&nbsp;", " ")
        twin = page.with_suffix(".md").read_text()
        answer = re.search(r"\*\*([+\N{MINUS SIGN}][\d.]+ CPU-seconds)\*\*", twin)
        assert answer is not None
        assert answer[1] in html_text
        assert "no p-values" in twin if page is quick else "Wilcoxon" in twin


def test_a_report_without_a_complete_pair_says_so(results: dict[str, Any]) -> None:
    empty = copy.deepcopy(results)
    nothing = {"value": None, "unit": "CPU-seconds", "source": "no complete pair", "low": None, "high": None}
    first = empty["primary"]
    first |= {"estimate": nothing, "relative": nothing, "detectable": nothing}
    first["arms"] = dict.fromkeys(first["arms"], nothing)
    empty |= {"pairs": [], "runs": [], "namespaces": [], "secondaries": [], "joules": None, "per_commit": None}
    empty["delivery"] = {**empty["delivery"], "commits": []}
    empty["exclusions"] = [{"run": "p001-1-push", "arm": "push", "reason": "a pod did not start"}]
    page = html(empty)
    assert "There is no answer" in page
    assert "a pod did not start" in page
    assert bare_numbers(page)[0] == []
    assert "There is no answer" in markdown(empty)


def test_texts_of_a_study_cannot_become_markup(results: dict[str, Any]) -> None:
    hostile = copy.deepcopy(results)
    hostile["study"]["question"] = "<script>alert(1)</script>"
    hostile["exclusions"] = [{"run": "x", "arm": "push", "reason": "<img src=x onerror=y>"}]
    page = html(hostile)
    assert "<script" not in page
    assert "<img" not in page


@pytest.mark.parametrize(
    ("value", "low", "high", "written"),
    [
        (1.23456, 1.0, 1.5, "1.23"),
        (-1823.4, -2000.0, -1700.0, "\N{MINUS SIGN}1823"),
        (12345.6, 11000.0, 13000.0, "12\N{NARROW NO-BREAK SPACE}346"),
        (0.01234, None, None, "0.0123"),
        (3, 3, 3, "3"),
        (0.0, -0.5, 0.5, "0.0"),
        (None, None, None, "not measured"),
    ],
)
def test_a_figure_has_as_many_digits_as_its_interval_allows(
    value: float | None, low: float | None, high: float | None, written: str
) -> None:
    assert numbers.point(ResultFigure(value, "s", "test", low, high)) == written


def test_a_sign_is_written_where_it_is_asked_for() -> None:
    figure = ResultFigure(2.0, "s", "test", -0.51, 4.5)
    assert numbers.point(figure, sign=True) == "+2.0"
    assert numbers.interval(figure, sign=True) == "\N{MINUS SIGN}0.5 to +4.5"
    assert numbers.point(replace(figure, value=-0.001, low=-3, high=3), sign=True) == "0.0"


@pytest.mark.parametrize(
    ("value", "unit", "written"), [(1, "pairs", "1 pair"), (3, "pairs", "3 pairs"), (1, "s", "1 s")]
)
def test_one_is_written_in_the_singular(value: int, unit: str, written: str) -> None:
    assert numbers.plain(ResultFigure(value, unit, "test", value, value)) == written


def test_a_very_small_p_is_no_zero() -> None:
    tiny = ResultFigure(2.1e-9, "1", "test", None, None)
    assert numbers.plain(tiny) == "under 0.000001"
    assert numbers.point(replace(tiny, value=0.0)) == "0"
    assert numbers.point(replace(tiny, low=-1.0, high=1.0)) == "0.0"


def test_warnings_stand_beside_the_answer(results: dict[str, Any]) -> None:
    worried = copy.deepcopy(results)
    worried["checks"] = [{"name": "load", "status": "warning", "detail": "load 25 on 2 cores"}]
    card = html(worried).split('class="answer"')[1].split("</section>")[0]
    assert "Checks with a warning" in card and "load" in card
    assert "Checks with a warning: load." in markdown(worried)
    worried["checks"][0]["status"] = "ok"
    assert "with a warning" not in html(worried) + markdown(worried)


def test_results_that_are_not_as_their_schema_demands_are_refused_by_name(results: dict[str, Any]) -> None:
    without_level = {key: value for key, value in results["primary"].items() if key != "level"}
    for spoilt, said in (
        ({"primary": without_level}, "primary.level"),
        ({"n": results["n"] | {"value": "3"}}, "n.value"),
        ({"watts": 12.5}, "watts"),
        ({"verdict": results["verdict"] | {"word": "yes"}}, "verdict.word"),
    ):
        found = results | spoilt
        for render in (html, markdown):
            with pytest.raises(LabError, match=re.escape(said)):
                render(found)


def test_marks_stand_where_their_values_are(results: dict[str, Any]) -> None:
    for width in (plots.WIDE, plots.NARROW):
        plot = plots.changes(parse(Results, results), width)
        assert plot is not None
        inside = [row["mark"].x for row in plot.rows] + [plot.extra["x"], plot.extra["low"], plot.extra["high"]]
        assert all(0 < x < width for x in inside)
        assert plot.extra["low"] < plot.extra["x"] < plot.extra["high"]
        values = [row["difference"]["value"] for row in results["pairs"]]
        order = sorted(range(len(values)), key=values.__getitem__)
        assert order == sorted(range(len(values)), key=[row["mark"].x for row in plot.rows].__getitem__)


@pytest.mark.parametrize(("low", "high"), [(-0.9, 0.7), (0, 1), (99.9, 100.3), (0.0002, 0.0031), (-1e5, 3e5)])
def test_labels_of_ticks_are_where_they_stand(low: float, high: float) -> None:
    scale = plots.Scale.over([low, high], 60, 740)
    for tick in scale.ticks(6):
        value = float(tick.label.replace(numbers.MINUS, "-").replace(numbers.NARROW, ""))
        assert scale.at(value) == pytest.approx(tick.at, abs=0.02)


@pytest.mark.parametrize("values", [[0.0], [5.0, 5.0], [0.001, 0.0012], [-1e6, 1e6], []])
def test_every_axis_has_a_few_round_ticks(values: list[float]) -> None:
    ticks = plots.Scale.over(values, 60, 740).ticks(6)
    assert 2 <= len(ticks) <= 13
    assert all(60 <= tick.at <= 740 for tick in ticks)


def test_a_report_is_written_where_there_are_no_file_modes(
    results: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Constructed for Windows: neither os.fchmod nor opening a folder exists there."""
    monkeypatch.setattr(files, "WINDOWS", True)
    monkeypatch.delattr(os, "fchmod")
    real = os.open

    def no_folders(path: str, *given: Any, **named: Any) -> int:
        assert not Path(path).is_dir(), "Windows cannot open a folder"
        return real(path, *given, **named)

    monkeypatch.setattr(os, "open", no_folders)
    target = tmp_path / "report.md"
    files.write_atomic(target, markdown(results))
    assert target.read_text(encoding="utf-8") == markdown(results)


def test_a_break_even_off_time_is_shown_with_its_parts(results: dict[str, Any]) -> None:
    def figure(value: float, unit: str) -> dict[str, Any]:
        return {"value": value, "unit": unit, "source": "node meter", "low": value * 0.99, "high": value * 1.01}

    asleep = copy.deepcopy(results)
    asleep["off_time"] = {
        "blocks": figure(4, "blocks"), "saved": figure(0.0213, "CPU-seconds per s"),
        "wake_up": figure(1.57, "CPU-seconds"), "seconds": figure(73.7, "s"), "why": "Longer than this pays.",
    }  # fmt: skip
    page = html(asleep)
    assert bare_numbers(page)[0] == []
    for text in (page, markdown(asleep)):
        assert "How long off until it pays" in text
        assert "73.7" in text
        assert "1.57" in text
    assert "How long off until it pays" not in html(results) + markdown(results)
