"""The two JSON documents of a bundle: the plan, hashed before the first run, and the manifest, written last.

The JSON schemas beside this file are generated from these classes; a test keeps them equal.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hardwatt.core.errors import VerifyError

SCHEMA_VERSION: Literal[2] = 2
READABLE = (1, 2)
"""Schema 1 has no recordings: its windows are cut by readings at the edges and by scrapes."""

M = TypeVar("M", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Primary(BaseModel):
    """The one outcome that the verdict rests on."""

    model_config = ConfigDict(extra="allow", frozen=True)
    outcome: str = Field(description="name of an outcome of hardwatt.instruments, for example node_cpu_seconds")
    unit: str
    estimator: str


class PlannedRun(BaseModel):
    """One line of the run table, in the order in which it is to be run."""

    model_config = ConfigDict(extra="allow", frozen=True)
    run_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    block: int = Field(ge=0)
    position: int = Field(ge=0)
    arm: str
    repeat: int = Field(ge=0, default=0)


class Plan(BaseModel):
    """A study as it will be run. A study may keep further keys of its own here; they are hashed too."""

    model_config = ConfigDict(extra="allow", frozen=True)
    schema_version: Literal[1] = 1
    study: str
    seed: int = Field(ge=0)
    arms: list[str] = Field(min_length=1)
    window_seconds: float = Field(gt=0)
    primary: Primary
    runs: list[PlannedRun] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> "Plan":
        if unknown := {run.arm for run in self.runs} - set(self.arms):
            raise ValueError(f"runs of arms that are not listed: {', '.join(sorted(unknown))}")
        ids = [run.run_id for run in self.runs]
        if len(ids) != len(set(ids)):
            raise ValueError("a run id occurs twice")
        return self


class Tool(_Strict):
    """The tool that made the bundle."""

    name: Literal["hardwatt"] = "hardwatt"
    version: str
    git_sha: str = Field(description="commit of the toolkit; empty where it was not a git checkout")
    dirty: bool = Field(description="true where the checkout held uncommitted changes")


class CheckEntry(_Strict):
    """One check and its result."""

    name: str
    status: Literal["ok", "warning", "failed"]
    detail: str = ""


class FileEntry(_Strict):
    """One file of the bundle."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class RecordingEntry(_Strict):
    """A run's recording in short; the file itself is recording/RUN.gz."""

    node_kind: str = Field(description="what the node's CPU time was read from; unequal kinds are never compared")
    node_misses: str = Field(description="what that does not count, in words; empty where it misses nothing")
    ticks: int = Field(ge=1)
    tick_seconds: float = Field(gt=0)
    processes: int = Field(ge=1, description="more than one: the recorder was restarted")
    pods: int = Field(ge=0)
    zones: list[str]


class Manifest(_Strict):
    """Covers every file of a finished bundle but itself and results/."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    tool: Tool
    plan_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    protocol_sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="what all sessions of the experiment share; null: none"
    )
    session: int | None = Field(default=None, ge=0, description="number of this session; null in older bundles")
    seed: int = Field(ge=0)
    source: Literal["modelled", "rapl"]
    power_model: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    host: dict[str, Any] = Field(default_factory=dict)
    checks: list[CheckEntry] = Field(default_factory=list)
    discarded: list[str] = Field(
        default_factory=list, description="runs whose attempt was killed: their partial data was removed"
    )
    recordings: dict[str, RecordingEntry] = Field(
        default_factory=dict, description="run -> its recording, the primary record of its counters; none in schema 1"
    )
    files: dict[str, FileEntry]


def parse(model: type[M], document: Any, *, where: str) -> M:
    """Return ``document`` as ``model``; raise VerifyError that names ``where`` and every wrong key."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc'])) or 'the whole'}: {e['msg']}" for e in error.errors()]
        raise VerifyError(f"{where} is not valid:\n" + "\n".join(lines)) from None


def plan_text(plan: Mapping[str, Any]) -> str:
    """Return the plan as it is stored: validated, sorted keys, so that equal plans have equal bytes."""
    parse(Plan, plan, where="plan")
    return json.dumps(plan, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def plan_sha256(plan: Mapping[str, Any]) -> str:
    """Return the hexadecimal SHA-256 that names the plan before its first run."""
    return hashlib.sha256(plan_text(plan).encode()).hexdigest()


def json_schema(model: type[BaseModel]) -> str:
    """Return the JSON schema text that is committed beside this file."""
    return json.dumps(model.model_json_schema(), indent=2, sort_keys=True) + "\n"
