"""Arms: each is a small class in ``experiments/arms/NAME.py`` called ``Arm``.

An arm gets a ``RunContext`` and nothing else: the study, the names of the objects that it may use, and
changes to the cluster that put themselves back.
"""

import abc
import contextlib
import dataclasses
import importlib.util
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from hardwatt.cluster.changes import Changes, Manifest
from hardwatt.core.errors import LabError
from hardwatt.core.nearest import did_you_mean
from hardwatt.experiment.plan.study_model import ARMS, Level, Study


@dataclasses.dataclass(frozen=True)
class Commit:
    """One commit that is in the workload repository."""

    index: int
    """0 for the first of a window; -1 for the one before the window."""
    revision: str
    """The revision's name, which the application carries as an annotation."""
    sha: str


@dataclasses.dataclass(frozen=True)
class Action:
    """Something that an arm does inside the window at a time of its own."""

    seconds: float
    """After the start of the window."""
    do: Callable[[], None]
    """Must not wait: the window goes on meanwhile."""


@dataclasses.dataclass(frozen=True)
class Git:
    """Address of the workload repository, as the cluster sees it, and the keys to read it with."""

    url: str
    branch: str
    folder: str
    """Folder of the repository that holds the kustomization."""
    known_hosts: str
    """Content of a known_hosts file with the git server's host key."""
    keys: dict[str, str] = dataclasses.field(repr=False)
    """Private keys by name: ``flux`` and ``runner``, both read only."""


_RUN_LABEL = "hardwatt.dev/run"


@dataclasses.dataclass(frozen=True)
class RunContext:
    """Study, objects and changes that an arm works with."""

    study: Study
    """As it holds in this arm: factors that are keys of the study are set."""
    run_id: str
    changes: Changes
    git: Git
    images: dict[str, str]
    """Images by digest: ``runner``, ``app``, and ``buildbot`` where the mirror holds it."""
    namespaces: dict[str, str]
    """``workload`` (the application), ``ci`` (jobs that push), ``flux``; all exist."""
    levels: Mapping[str, Level] = dataclasses.field(default_factory=dict)
    """Level of each factor in this arm."""

    def level(self, factor: str) -> Level:
        """Return the level of a factor in this arm.

        Raises ``LabError`` where the study gives none.
        """
        if factor not in self.levels:
            raise LabError(
                f"the study {self.study.name} gives the arm of {self.run_id} no level of {factor!r}",
                hint="see factors and arm.NAME.levels in experiments/README.md",
            )
        return self.levels[factor]

    @property
    def labels(self) -> dict[str, str]:
        """Return the labels that mark an object as this run's."""
        return {_RUN_LABEL: self.run_id}

    @property
    def selector(self) -> str:
        """Selects this run's objects by ``labels``."""
        return f"{_RUN_LABEL}={self.run_id}"

    def apply(self, manifest: Manifest) -> None:
        """Create or change an object whose clean-up the arm has arranged otherwise."""
        self.changes.cluster.apply(manifest)


class BaseArm(abc.ABC):
    """The interface of an arm. One object serves one run."""

    def __init__(self, context: RunContext) -> None:
        self.context = context

    @classmethod
    def between_runs(cls, changes: Changes) -> AbstractContextManager[None]:
        """Hold what is to be off between the runs of a study too, beside Flux; nothing, in most arms."""
        return contextlib.nullcontext()

    @abc.abstractmethod
    def prepare(self) -> AbstractContextManager[None]:
        """Make the arm ready to deliver on entry, and take it away on exit.

        Everything goes through ``context.changes``, so that a killed run can be put back too.
        """

    @abc.abstractmethod
    def deliver(self, commit: Commit) -> None:
        """Do what starts the delivery of a commit that has just been pushed; do not wait for it."""

    def settle(self) -> None:  # noqa: B027 - most arms have nothing to do here
        """Do what is to be done between the delivery before the window, which is Ready now, and the window."""

    def actions(self) -> Sequence[Action]:
        """Return what the arm does in the window beside deliveries; nothing, in most arms."""
        return ()


def arms_of(root: Path, study: Study) -> list[type[BaseArm]]:
    """Return the code of a study's arms, each class once.

    Raises ``LabError`` naming the file and what is missing in it.
    """
    return [load_arm(root, name) for name in sorted({study.code_of(arm) for arm in study.arms})]


def load_arm(root: Path, name: str) -> type[BaseArm]:
    """Return the class ``Arm`` of ``experiments/arms/NAME.py``.

    Raises ``LabError`` naming the file and what is missing in it.
    """
    path = root / ARMS / f"{name}.py"
    if not path.exists():
        known = sorted(file.stem for file in (root / ARMS).glob("[a-z]*.py"))
        raise LabError(
            f"there is no arm {name!r}: {path} does not exist; {did_you_mean(name, known, 'arms')}",
            hint=f"choose from: {', '.join(known)}",
        )
    spec = importlib.util.spec_from_file_location(f"experiments.arms.{name}", path)
    if spec is None or spec.loader is None:
        raise LabError(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    arm = getattr(module, "Arm", None)
    if not (inspect.isclass(arm) and issubclass(arm, BaseArm)):
        raise LabError(f"{path} has no class Arm(BaseArm)", hint="see experiments/README.md")
    if missing := sorted(arm.__abstractmethods__):
        raise LabError(f"{path}: Arm lacks {', '.join(missing)}", hint="see experiments/README.md")
    return arm
