"""The results between types and JSON: one way out, one way in, and the schemas of the files.

``python -m hardwatt.analysis.contract`` writes the schemas of ``hardwatt/data`` anew.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from hardwatt.analysis.model import Comparison, PooledSessions, Results
from hardwatt.analysis.sections import Section
from hardwatt.analysis.tables.model import TableResults
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_atomic

DATA = Path(__file__).parents[1] / "data"
KINDS: Mapping[str, type[Section]] = {
    "results": Results,
    "table": TableResults,
    "compare": Comparison,
    "pool": PooledSessions,
}
"""Name of a schema file in ``hardwatt/data`` to the type that it describes."""
OPTIONAL = ("systematic", "accuracy")
"""Keys that are written only where something is known."""
Kind = TypeVar("Kind", bound=Section)
_SHOWN = 3


class _Untitled(GenerateJsonSchema):
    """A schema without the titles that repeat a field's name, in which every key is required but ``OPTIONAL`` ones.

    Every other key is written, also one that is read with a default from the files of former versions.
    """

    def field_is_required(self, field: Any, total: bool) -> bool:
        return field.get("name") not in OPTIONAL

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def as_json(section: Any) -> Any:
    """Return plain dicts and lists of a section."""
    if is_dataclass(section) and not isinstance(section, type):
        values = {field.name: getattr(section, field.name) for field in fields(section)}
        return {key: as_json(value) for key, value in values.items() if value is not None or key not in OPTIONAL}
    if isinstance(section, Mapping):
        return {key: as_json(value) for key, value in section.items()}
    if isinstance(section, list | tuple):
        return [as_json(value) for value in section]
    return section


def parse(kind: type[Kind], results: Mapping[str, Any] | Kind, where: str = "the results") -> Kind:
    """Return results as *kind*; typed results are returned as they are.

    Raises `LabError` that names *where* and the first keys that are missing, unknown or of another type.
    """
    if isinstance(results, kind):
        return results
    try:
        return TypeAdapter(kind).validate_json(json.dumps(results))
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in error.errors()]
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise LabError(
            f"{where} cannot be rendered: {'; '.join(wrong[:_SHOWN])}{more}",
            hint="analyse again with this version: hardwatt report BUNDLE",
        ) from None


def schema(name: str) -> dict[str, Any]:
    """Return the JSON schema of a kind of results: ``results``, ``table``, ``compare`` or ``pool``."""
    document = TypeAdapter(KINDS[name]).json_schema(schema_generator=_Untitled, mode="serialization")
    for node in (document, *document["$defs"].values()):
        node.pop("title", None)
    title = document["properties"]["schema"]["const"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title} | document


def schema_text(name: str) -> str:
    """Return the text of a schema file."""
    return json.dumps(schema(name), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every schema file."""
    argparse.ArgumentParser(description="Write the schema files of results in hardwatt/data.").parse_args()
    for name in KINDS:
        write_atomic(DATA / f"{name}.schema.json", schema_text(name))


if __name__ == "__main__":
    main()
