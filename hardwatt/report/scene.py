"""A drawing of lines, boxes, dots and words, written as SVG and as PDF: vectors, and no font to embed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

INK, SOFT, GRID, FILL = "#1c1d1f", "#575b63", "#d9d6cd", "#efece4"
FIRST, SECOND = "#a8480a", "#1756c4"
_ROUND = 0.5523
"""Handles of four Bezier curves that make a circle."""
_REPLACED = {"\N{MINUS SIGN}": "\N{EN DASH}", "\N{NARROW NO-BREAK SPACE}": " ", "\N{HORIZONTAL ELLIPSIS}": "..."}
"""Characters that the standard fonts of PDF lack, each with its substitute."""


@dataclass(frozen=True)
class Line:
    """A straight line."""

    x1: float
    y1: float
    x2: float
    y2: float
    colour: str = INK
    width: float = 1.0


@dataclass(frozen=True)
class Box:
    """A filled rectangle with an outline."""

    x: float
    y: float
    width: float
    height: float
    colour: str = FILL


@dataclass(frozen=True)
class Dot:
    """A filled circle."""

    x: float
    y: float
    radius: float
    colour: str = INK


@dataclass(frozen=True)
class Words:
    """One line of text; *anchor* is ``start``, ``middle`` or ``end``."""

    x: float
    y: float
    text: str
    anchor: str = "start"
    colour: str = INK
    bold: bool = False


Item = Line | Box | Dot | Words
SIZE = 13.0


@dataclass(frozen=True)
class Scene:
    """A drawing, in points from the upper left corner."""

    width: float
    height: float
    title: str
    items: tuple[Item, ...]


def svg(scene: Scene) -> str:
    """Return the drawing as a file of SVG."""
    size = f'width="{scene.width:g}" height="{scene.height:g}" viewBox="0 0 {scene.width:g} {scene.height:g}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="Helvetica, Arial, sans-serif">'
    return "\n".join([head, f"<title>{escape(scene.title)}</title>", *map(_element, scene.items), "</svg>"]) + "\n"


def _element(item: Item) -> str:
    if isinstance(item, Line):
        ends = f'x1="{item.x1:g}" y1="{item.y1:g}" x2="{item.x2:g}" y2="{item.y2:g}"'
        return f'<line {ends} stroke="{item.colour}" stroke-width="{item.width:g}"/>'
    if isinstance(item, Box):
        place = f'x="{item.x:g}" y="{item.y:g}" width="{item.width:g}" height="{item.height:g}"'
        return f'<rect {place} fill="{item.colour}" stroke="{GRID}"/>'
    if isinstance(item, Dot):
        return f'<circle cx="{item.x:g}" cy="{item.y:g}" r="{item.radius:g}" fill="{item.colour}"/>'
    weight = ' font-weight="bold"' if item.bold else ""
    place = f'x="{item.x:g}" y="{item.y:g}" text-anchor="{item.anchor}" font-size="{SIZE:g}" fill="{item.colour}"'
    return f"<text {place}{weight}>{escape(item.text)}</text>"


def pdf(scene: Scene) -> bytes:
    """Return the drawing as a PDF of one page. Letters outside Windows' Latin become question marks."""
    lines = (line for item in scene.items for line in _operators(item, scene.height))
    packed = zlib.compress("\n".join(lines).encode("cp1252", "replace"))
    fonts = "/Font << /F1 5 0 R /F2 6 0 R >>"
    box = f"[0 0 {scene.width:g} {scene.height:g}]"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Resources << {fonts} >> /Contents 4 0 R >>".encode(),
        f"<< /Length {len(packed)} /Filter /FlateDecode >>\nstream\n".encode() + packed + b"\nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
        b"<< /Title " + _literal(scene.title).encode("cp1252", "replace") + b" /Producer (hardwatt) >>",
    ]
    return _file(objects)


def _file(objects: list[bytes]) -> bytes:
    """Return objects, numbered from 1, with their table of places; the first is the catalogue, the last the title."""
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{place:010} 00000 n \n".encode() for place in places)
    trailer = f"<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>"
    out += f"trailer\n{trailer}\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def _operators(item: Item, height: float) -> Iterator[str]:
    """Yield drawing operators; the y axis of PDF points up."""
    colour = " ".join(f"{int(item.colour[k : k + 2], 16) / 255:.3f}" for k in (1, 3, 5))
    if isinstance(item, Line):
        yield f"{colour} RG {item.width:g} w {item.x1:g} {height - item.y1:g} m {item.x2:g} {height - item.y2:g} l S"
    elif isinstance(item, Box):
        yield f"{colour} rg {item.x:g} {height - item.y - item.height:g} {item.width:g} {item.height:g} re f"
    elif isinstance(item, Dot):
        yield f"{colour} rg {_circle(item.x, height - item.y, item.radius)} f"
    else:
        text = _printable(item.text)
        wide = _width(text)
        x = item.x - {"start": 0.0, "middle": wide / 2, "end": wide}[item.anchor]
        font = "F2" if item.bold else "F1"
        yield f"BT {colour} rg /{font} {SIZE:g} Tf {x:.2f} {height - item.y:g} Td {_literal(text)} Tj ET"


def _circle(x: float, y: float, r: float) -> str:
    h = _ROUND * r
    quarters = (
        (x + r, y + h, x + h, y + r, x, y + r), (x - h, y + r, x - r, y + h, x - r, y),
        (x - r, y - h, x - h, y - r, x, y - r), (x + h, y - r, x + r, y - h, x + r, y),
    )  # fmt: skip
    curves = " ".join(" ".join(f"{value:.2f}" for value in quarter) + " c" for quarter in quarters)
    return f"{x + r:.2f} {y:.2f} m {curves}"


def _printable(text: str) -> str:
    for known, instead in _REPLACED.items():
        text = text.replace(known, instead)
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _literal(text: str) -> str:
    inside = _printable(text).replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    return f"({inside})"


def _width(text: str) -> float:
    """Return about how wide Helvetica sets a text: digits are exact, which axes need."""
    narrow, wide = set(".,:;'|!ijl "), set("mwMW%@")
    return SIZE * sum(0.278 if letter in narrow else 0.85 if letter in wide else 0.556 for letter in text)
