"""Files for a paper from a bundle: figures, the contrasts as CSV and LaTeX, methods, references, the manifest."""

from __future__ import annotations

import csv
import hashlib
import re
import shutil
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path
from typing import Any

import pytest

from hardwatt.analysis.comparison import compare
from hardwatt.analysis.deviations import Deviations
from hardwatt.analysis.results import analyse
from hardwatt.analysis.sessions import pool_sessions
from hardwatt.cli.console import SHIPPED, main
from hardwatt.core.errors import RefusedError
from hardwatt.report import references
from hardwatt.report.render import report
from hardwatt.testing.synthetic_bundle import Spec
from tests.report import cases
from tests.report.realistic import realistic
from tests.tables.test_paper import pdf_objects

NAMES = (
    "contrasts.csv", "contrasts.tex", "methods.tex", "references.bib", "manifest.json", "figures.sha256",
    "pairs.svg", "pairs.pdf", "contrasts.svg", "contrasts.pdf",
)  # fmt: skip


def figures_of(bundle: Path, folder: Path) -> Path:
    assert main(["report", str(bundle), "--output", str(folder / "out"), "--figures", str(folder / "figures")]) == 0
    return folder / "figures"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kind of bundle to its folder."""
    many = realistic(tmp_path_factory.mktemp("many") / "bundle", Spec(pairs=7, window_seconds=30, commits=2))
    three = tmp_path_factory.mktemp("three")
    cases.three_arms(three / "made")
    return {"shipped": SHIPPED, "many": many, "three": three / "made" / "bundle"}


@pytest.fixture(scope="module")
def made(bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kind of bundle to the folder of its figures."""
    return {kind: figures_of(bundle, tmp_path_factory.mktemp(kind)) for kind, bundle in bundles.items()}


KINDS = ("shipped", "many", "three")


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "contrasts.csv").read_text().splitlines()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_has_every_file_and_its_checksum(made: dict[str, Path], bundles: dict[str, Path], kind: str) -> None:
    folder = made[kind]
    assert {path.name for path in folder.iterdir()} == set(NAMES)
    listed = dict(line.split("  ")[::-1] for line in (folder / "figures.sha256").read_text().splitlines())
    assert set(listed) == set(NAMES) - {"figures.sha256"}
    assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == listed[name] for name in listed)
    assert (folder / "manifest.json").read_bytes() == (bundles[kind] / "manifest.json").read_bytes()
    assert listed["manifest.json"] in (folder / "methods.tex").read_text()


def same(row: dict[str, str], name: str, figure: dict[str, Any]) -> bool:
    known = (figure["value"], figure["low"], figure["high"])
    return all(
        text == "" if number is None else float(text) == pytest.approx(number)
        for text, number in zip((row[name], row[f"{name}_low"], row[f"{name}_high"]), known, strict=True)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_csv_has_the_numbers_of_the_results(made: dict[str, Path], bundles: dict[str, Path], kind: str) -> None:
    results, rows = analyse(bundles[kind], write=False), table(made[kind])
    primary = next(row for row in rows if row["kind"] == "primary")
    assert same(primary, "difference", results["primary"]["estimate"])
    assert same(primary, "arm_mean", results["primary"]["arms"][primary["arm"]])
    assert (primary["blocks"], primary["level_percent"]) == (str(results["n"]["value"]), "95")
    secondaries = [row for row in rows if row["kind"] == "secondary"]
    assert [row["outcome"] for row in secondaries] == [row["name"] for row in results["secondaries"]] != []
    for row, contrast in zip(secondaries, results["secondaries"], strict=True):
        assert same(row, "difference", contrast["difference"])
        assert same(row, "baseline_mean", contrast["arms"][row["baseline"]])
        p = contrast["p"]
        assert row["p_holm"] == "" if p is None else float(row["p_holm"]) == pytest.approx(p["value"])
    arms = [row for row in rows if row["kind"] == "arm"]
    contrasts = results["several"]["contrasts"] if results["several"] else []
    assert [row["arm"] for row in arms] == [contrast["arm"] for contrast in contrasts]
    for row, contrast in zip(arms, contrasts, strict=True):
        assert same(row, "difference", contrast["difference"])
        assert float(row["p_holm"]) == pytest.approx(contrast["p"]["value"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["pairs", "contrasts"])
def test_svg_and_pdf_draw_the_same_inside_the_page(made: dict[str, Path], kind: str, name: str) -> None:
    root = ET.fromstring((made[kind] / f"{name}.svg").read_text())
    found = {tag: root.findall(f"{{http://www.w3.org/2000/svg}}{tag}") for tag in ("line", "circle", "text")}
    objects = pdf_objects((made[kind] / f"{name}.pdf").read_bytes())
    content = zlib.decompress(objects[4].partition(b"stream\n")[2].removesuffix(b"\nendstream")).decode("cp1252")
    drawn = {"line": content.count(" l S"), "text": content.count(" Tj ET")}
    drawn["circle"] = len(re.findall(r" c f$", content, re.MULTILINE))
    assert drawn == {tag: len(items) for tag, items in found.items()}
    rows = [row for row in table(made[kind]) if row["difference"]]
    pairs = int(rows[0]["blocks"])
    assert drawn["circle"] == (pairs + 1 if name == "pairs" else len(rows))
    height = float(root.attrib["height"])
    places = [float(item.attrib[key]) for items in found.values() for item in items for key in item.attrib if key in
              ("y", "y1", "y2", "cy")]  # fmt: skip
    assert all(0 <= y <= height for y in places)
    if name == "contrasts":
        texts = [item.text for item in found["text"]]
        assert {row["unit"] for row in rows} <= set(texts)
        assert len({item.attrib["cy"] for item in found["circle"]}) == len(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_of_latex_has_every_contrast(made: dict[str, Path], kind: str) -> None:
    text = (made[kind] / "contrasts.tex").read_text()
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 1 + len(table(made[kind]))
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {6}
    assert text.count("{") == text.count("}")


def test_digits_are_those_of_the_interval(made: dict[str, Path]) -> None:
    assert (
        r"CPU-seconds & 20.2 & 20.8 & +0.6 & $-$0.5 to +1.7 & -- \\" in (made["shipped"] / "contrasts.tex").read_text()
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_reference_of_the_methods_is_an_entry(made: dict[str, Path], kind: str) -> None:
    methods, entries = ((made[kind] / name).read_text() for name in ("methods.tex", "references.bib"))
    cited = re.findall(r"\\cite\{(.*)\}", methods)[0].split(",")
    assert cited == re.findall(r"^@\w+\{(\w+),", entries, re.MULTILINE)
    assert set(references._ENTRIES) > set(cited) - {"hardwatt"}
    assert entries.count("{") == entries.count("}")


def test_methods_name_the_statistics_that_were_used_and_no_other(made: dict[str, Path]) -> None:
    few, many, three = ((made[kind] / "methods.tex").read_text() for kind in KINDS)
    assert "3 pairs: mean paired difference, t interval with 2 degrees of freedom; level 95" in few
    assert "and no test" in few
    assert not re.search("Holm|Wilcoxon|permutation|bootstrap|mixed model|Friedman", few)
    assert all(key not in few for key in ("holm1979", "wilcoxon1945", "dwass1957", "patterson1971"))
    for word in ("t interval with 6 degrees", "Holm", "Wilcoxon", "Studentised bootstrap", "dwass1957", "hall1988"):
        assert word in many
    assert "mixed model" not in many and "friedman1937" not in many
    for word in ("mixed model, block random", "Friedman", "patterson1971", "friedman1937", "pull, idle with"):
        assert word in three
    # The two for differences that follow one another are worked out only where they do, which these do not.
    shown = {name for name, keys in references._ROBUST.items() if all(key in three for key in keys)}
    assert shown == set(references._ROBUST) - {"Block bootstrap", "Newey-West interval"}
    assert {key for keys in references._ROBUST.values() for key in keys} < set(references._ENTRIES)


def test_methods_say_how_an_analysis_departs_from_the_plan(bundles: dict[str, Path], tmp_path: Path) -> None:
    wanted = Deviations(confidence=0.9)
    report(bundles["shipped"], output=tmp_path / "out", deviations=wanted, figures=tmp_path / "figures")
    methods = (tmp_path / "figures" / "methods.tex").read_text()
    assert "departs from the plan" in methods and "analysis follows it" not in methods
    assert {row["level_percent"] for row in table(tmp_path / "figures")} == {"90"}


def test_a_bundle_without_an_answer_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases.failed(tmp_path / "made")
    command = ["report", str(tmp_path / "made" / "bundle"), "--output", str(tmp_path / "out")]
    assert main([*command, "--figures", str(tmp_path / "figures")]) == 1
    assert "no answer" in capsys.readouterr().err
    assert not (tmp_path / "figures").exists() and not (tmp_path / "out").exists()
    assert main(command) == 0


def test_the_same_bundle_gives_the_same_files(made: dict[str, Path], tmp_path: Path) -> None:
    again = figures_of(SHIPPED, tmp_path)
    assert all((made["shipped"] / name).read_bytes() == (again / name).read_bytes() for name in NAMES)


def test_a_file_of_the_user_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "references.bib").write_text("mine")
    command = ["report", "shipped", "--output", str(tmp_path / "out"), "--figures", str(tmp_path / "figures")]
    assert main(command) != 0
    assert "references.bib exists" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["references.bib"]
    assert (tmp_path / "figures" / "references.bib").read_text() == "mine"


@pytest.mark.parametrize("option", ["--figures", "--output"])
@pytest.mark.parametrize("below", ["", "raw/x"])
def test_nothing_is_written_among_the_files_of_a_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, below: str
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(SHIPPED, bundle)
    assert main(["report", str(bundle), option, str(bundle / below)]) != 0
    assert "lies among the files of the bundle" in capsys.readouterr().err
    with pytest.raises(RefusedError):
        analyse(bundle, output=bundle / below)
    assert not (bundle / "results").exists()
    assert main(["verify", str(bundle)]) == 0
    assert main(["report", str(bundle), option, str(bundle / "results" / "paper")]) == 0
    assert main(["verify", str(bundle)]) == 0


@pytest.mark.parametrize("command", ["compare", "pool"])
def test_nothing_about_several_bundles_is_written_among_the_files_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    bundles = [str(shutil.copytree(SHIPPED, tmp_path / name)) for name in ("first", "second")]
    for bundle in bundles:
        assert main([command, *bundles, "--output", bundle]) != 0
        assert f"{bundle} lies among the files of the bundle" in capsys.readouterr().err
        with pytest.raises(RefusedError, match="lies among"):
            {"compare": compare, "pool": pool_sessions}[command](bundles, Path(bundle))
        assert main(["verify", bundle]) == 0
