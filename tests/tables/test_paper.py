"""What a paper takes: figures as SVG and PDF, the contrasts as CSV and LaTeX, methods and references."""

from __future__ import annotations

import csv
import re
import shlex
import subprocess
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path

import pytest

from hardwatt.analysis import Columns, TableRequest
from hardwatt.cli.console import main
from hardwatt.core.files import write_atomic
from hardwatt.report import paper, references, scene
from hardwatt.report.paper import tex
from hardwatt.report.render import table
from tests.tables.helpers import answer, long, sleep, write

NAMES = (
    "contrasts.csv", "contrasts.tex", "methods.tex", "references.bib", "figures.sha256",
    "contrasts.svg", "contrasts.pdf", "values.svg", "values.pdf",
)  # fmt: skip
ROWS = [(50 + k % 3, 53 + k % 4 / 2, 49 - k % 5) for k in range(9)]
ARMS = ("50%_base", "new & <b>{x}\\", "größer|$3 #1")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = write(tmp_path / "t.csv", long(ROWS, ARMS))
    table(path, TableRequest(unit="J", margin=9), output=tmp_path / "out", figures=tmp_path / "figures")
    return tmp_path / "figures"


def test_the_folder_has_every_file(made: Path) -> None:
    assert {path.name for path in made.iterdir()} == set(NAMES)


def pdf_objects(data: bytes) -> dict[int, bytes]:
    """Return the objects of a PDF by the places that its own table has for them."""
    start = int(data.rpartition(b"startxref\n")[2].split()[0])
    table_ = data[start:].split(b"trailer")[0].splitlines()
    assert table_[0] == b"xref" and table_[1].split()[1] == str(len(table_) - 2).encode()
    objects = {}
    for number, line in enumerate(table_[3:], start=1):
        assert len(line) == 19  # and its line feed: twenty bytes, as a reader seeks
        body = data[int(line[:10]) :]
        assert body.startswith(f"{number} 0 obj\n".encode())
        objects[number] = body.partition(b" obj\n")[2].partition(b"\nendobj")[0]
    return objects


@pytest.mark.parametrize("name", ["contrasts", "values"])
def test_svg_and_pdf_draw_the_same(made: Path, name: str) -> None:
    root = ET.fromstring((made / f"{name}.svg").read_text())
    shapes = {
        kind: len(root.findall(f"{{http://www.w3.org/2000/svg}}{kind}")) for kind in ("line", "circle", "text", "rect")
    }
    assert min(shapes["line"], shapes["circle"], shapes["text"]) > 1
    objects = pdf_objects((made / f"{name}.pdf").read_bytes())
    content = zlib.decompress(objects[4].partition(b"stream\n")[2].removesuffix(b"\nendstream")).decode("cp1252")
    assert content.count(" Tj ET") == shapes["text"]
    assert content.count(" l S") == shapes["line"]
    assert content.count(" re f") == shapes["rect"]
    assert len(re.findall(r" c f$", content, re.MULTILINE)) == shapes["circle"]
    height = float(root.attrib["height"])
    assert all(0 <= float(y) <= height for y in re.findall(r"Tf [-\d.]+ ([-\d.]+) Td", content))
    assert f"[0 0 760 {height:g}]".encode() in objects[3]


def test_letters_that_a_pdf_lacks_do_not_break_it() -> None:
    drawn = scene.Scene(100, 50, "x (1) \\ 😀", (scene.Words(1, 9, "größer \N{MINUS SIGN} 1 (a\\b) 中\n"),))
    objects = pdf_objects(scene.pdf(drawn))
    content = zlib.decompress(objects[4].partition(b"stream\n")[2].removesuffix(b"\nendstream")).decode("cp1252")
    assert "(größer \N{EN DASH} 1 \\(a\\\\b\\) ? ) Tj" in content
    ET.fromstring(scene.svg(drawn))


def test_the_csv_has_the_numbers_of_the_results(made: Path) -> None:
    rows = list(csv.DictReader((made / "contrasts.csv").read_text().splitlines()))
    found = answer(made.parent / "t.csv", TableRequest(unit="J", margin=9))
    assert [row["arm"] for row in rows] == [row["arm"] for row in found["contrasts"]] == list(ARMS[1:])
    for row, contrast in zip(rows, found["contrasts"], strict=True):
        assert float(row["difference_low"]) == pytest.approx(contrast["estimate"]["low"])
        assert float(row["p_holm"]) == pytest.approx(contrast["adjusted"]["value"])
        assert (row["unit"], row["n_arm"], row["level_percent"]) == ("J", "9", "97.5")


def test_the_csv_of_a_stratified_design_has_its_strata(tmp_path: Path) -> None:
    lines = ["arm,load,joules", *(f"{'ab'[k % 2]},{('low', 'high')[k // 2 % 2]},{k % 2 + k % 5}" for k in range(40))]
    path = write(tmp_path / "t.csv", lines)
    table(path, TableRequest(Columns(value="joules")), output=tmp_path / "o", figures=tmp_path / "f")
    rows = list(csv.reader((tmp_path / "f" / "contrasts.csv").read_text().splitlines()))
    assert {len(row) for row in rows} == {len(rows[0])} and [row[2] for row in rows] == ["stratum", "", "low", "high"]


def test_nothing_of_a_name_is_a_command_of_latex(made: Path) -> None:
    text = (made / "contrasts.tex").read_text()
    assert tex(ARMS[1]) == r"new \& \textless{}b\textgreater{}\{x\}\textbackslash{}"
    assert all(tex(arm) in text for arm in ARMS)
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [5, 5, 5]
    assert text.count("{") == text.count("}") and "$-$" in text


def test_every_reference_of_the_methods_is_an_entry(made: Path) -> None:
    methods, entries = (made / "methods.tex").read_text(), (made / "references.bib").read_text()
    cited = re.findall(r"\\cite\{(.*)\}", methods)[0].split(",")
    assert cited == re.findall(r"^@\w+\{(\w+),", entries, re.MULTILINE)
    assert {"hardwatt", "welch1947", "welch1951", "mann1947", "cliff1993", "holm1979", "schuirmann1987"} <= set(cited)
    assert "wilcoxon1945" not in cited
    assert entries.count("{") == entries.count("}")
    assert set(references._ENTRIES) > set(cited) - {"hardwatt"}


def test_a_paired_design_cites_other_statistics(tmp_path: Path) -> None:
    path = sleep(tmp_path / "sleep.csv")
    assert (
        main(["table", str(path), "--pair", "pair", "--figures", str(tmp_path / "f"), "--output", str(tmp_path / "o")])
        == 0
    )
    methods = (tmp_path / "f" / "methods.tex").read_text()
    assert "wilcoxon1945" in methods and "welch1947" not in methods
    assert "paired by pair: 10 complete pairs" in methods
    assert "$d_z$" in (tmp_path / "f" / "contrasts.tex").read_text()


def test_the_same_table_gives_the_same_files(made: Path, tmp_path: Path) -> None:
    table(tmp_path / "t.csv", TableRequest(unit="J", margin=9), output=tmp_path / "out", figures=tmp_path / "again")
    assert all((made / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in NAMES)


def test_files_of_an_earlier_call_are_replaced_and_those_of_the_user_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sleep(tmp_path / "sleep.csv")
    folder = tmp_path / "my figures"
    command = ["table", str(path), "--figures", str(folder), "--output", str(tmp_path / "o")]
    assert main(command) == 0
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert main([*command, "--pair", "pair"]) == 0
    after = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert before.keys() == after.keys() and before["methods.tex"] != after["methods.tex"]
    (folder / "methods.tex").write_text("my own words")
    capsys.readouterr()
    assert main(command) != 0
    said = capsys.readouterr().err
    assert f"{folder / 'methods.tex'} exists" in said
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == after | {"methods.tex": b"my own words"}
    away = re.findall(r"mv '.*?' '.*?'", said)[0]
    subprocess.run(shlex.split(away), check=True)
    assert main(command) == 0
    assert (folder / "methods.tex.kept").read_text() == "my own words"
    assert all((folder / name).read_bytes() == before[name] for name in NAMES)


def test_an_interrupted_call_can_be_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paper.put({"a.tex": "1", "b.tex": "1"}, tmp_path)
    written: list[str] = []

    def interrupted(path: Path, data: bytes) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path.name)
        write_atomic(path, data)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(paper, "write_atomic", interrupted)
        paper.put({"a.tex": "2", "b.tex": "2"}, tmp_path)
    assert written == ["figures.sha256", "a.tex"]
    paper.put({"a.tex": "3", "b.tex": "3"}, tmp_path)
    assert [(tmp_path / name).read_text() for name in ("a.tex", "b.tex")] == ["3", "3"]
    assert len((tmp_path / "figures.sha256").read_text().splitlines()) == 2
