"""A protocol as a file: exported by one laboratory, run by others, so that their bundles can be pooled.

The file holds a study's definition and checksums of its code. It holds no code: arms and workloads are those of the
reader's checkout, and must have the same checksums.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hardwatt.config.settings import parse
from hardwatt.core.errors import SettingsError, VerifyError
from hardwatt.core.untrusted import mapping, read_json, show
from hardwatt.experiment.plan.run_table import RunTable, make_plan
from hardwatt.experiment.plan.study_file import missing_files, problems
from hardwatt.experiment.plan.study_model import Study

SCHEMA: Literal["hardwatt.protocol/1"] = "hardwatt.protocol/1"
SUFFIX = ".json"
"""An argument STUDY with this ending is a protocol file."""


class ProtocolFile(BaseModel):
    """The document; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    schema_: Literal["hardwatt.protocol/1"] = Field(alias="schema")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: Literal["quick", "full"]
    pairs: int = Field(ge=1, le=500)
    """Pairs of a session; another number is allowed."""
    definition: dict[str, Any]
    code: dict[str, str]


def written(plan: RunTable) -> str:
    """Return the text of a plan's protocol file, without what belongs to one session."""
    document = {
        "schema": SCHEMA,
        "sha256": plan.protocol_sha256,
        "size": plan.size,
        "pairs": plan.pairs,
        "definition": plan.study.model_dump(mode="json"),
        "code": dict(plan.code),
    }
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def is_protocol(study: str) -> bool:
    """Return True if an argument STUDY is the path of a protocol file."""
    return study.endswith(SUFFIX)


def read(root: Path, path: Path) -> tuple[ProtocolFile, Study]:
    """Return a protocol file and its study.

    Raises ``SettingsError`` or ``VerifyError`` for an unknown key, a value that does not fit, text that does not
    print, a part that the checkout ``root`` does not have, and a file that was changed after its export.
    """
    if not path.is_file():
        raise SettingsError(f"there is no protocol file {path}", hint="invoke experiment.plan STUDY --export FILE.json")
    data = mapping(read_json(path), str(path))
    if hidden := next(_unprintable(data), None):
        raise VerifyError(f"{path} holds text that does not print: {show(hidden)}", hint=_again(path))
    document = parse(ProtocolFile, dict(data), str(path))
    study = parse(Study, document.definition, f"{path}, definition")
    if mistakes := [*missing_files(root, study), *problems(study)]:
        raise SettingsError(f"{path}: " + "; ".join(mistakes), hint=_again(path))
    now = make_plan(study, seed=0, pairs=1, code=document.code, size=document.size).protocol_sha256
    if now != document.sha256:
        raise VerifyError(
            f"{path} was changed after its export: its protocol has the hash {now[:12]}, the file says "
            f"{document.sha256[:12]}",
            hint=_again(path),
        )
    return document, study


def refuse_other_code(path: Path, document: ProtocolFile, code: Mapping[str, str]) -> None:
    """Raise ``VerifyError`` if a file that decides what a run does is not the one that the protocol was made with."""
    wrong = sorted(name for name in {*code, *document.code} if code.get(name) != document.code.get(name))
    if wrong:
        names = ", ".join(name if name in code else show(name) for name in wrong)
        raise VerifyError(
            f"the protocol {path} was made with other code than this checkout's: {names}",
            hint="use the version of hardwatt that exported the protocol, with its experiments/",
        )


def _unprintable(value: object) -> Iterator[str]:
    """Yield each text of a document that holds characters that do not print."""
    if isinstance(value, str) and not value.replace("\n", " ").isprintable():
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _unprintable(key)
            yield from _unprintable(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _unprintable(inner)


def _again(path: Path) -> str:
    return f"export the protocol again where it was made: invoke experiment.plan STUDY --export {path.name}"
