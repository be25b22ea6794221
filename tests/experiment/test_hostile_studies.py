"""Each key of a study is what it is: the values of the settings' list are refused, or are text that is only shown."""

import copy
import tomllib
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from hardwatt.config.settings import ROOT, parse
from hardwatt.core.errors import LabError, SettingsError
from hardwatt.core.terminal import printable
from hardwatt.experiment.plan.study_file import list_studies, problems
from hardwatt.experiment.plan.study_model import Study
from tests.config.test_hostile_settings import NASTY

SHOWN = {
    "title", "question", "notes", "estimand.done", "estimand.boundary", "estimand.outside", "estimand.arms",
    "timing.short_phase_because", "primary.margin.because",
}  # fmt: skip
"""Sentences: printed with control characters escaped, and read by nothing."""
LEVELS = ("factors", "arm.", "full")
"""Values that the code of an arm, or another key's own kind, judges."""


def texts(data: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """Yield the dotted key of each text in a study."""
    for key, value in data.items():
        if "." in key:  # a key of another section, in full or in a level
            continue
        if isinstance(value, Mapping):
            yield from texts(value, f"{place}{key}.")
        elif isinstance(value, str) or (isinstance(value, list) and value and isinstance(value[0], str)):
            yield f"{place}{key}"


DATA = {name: tomllib.loads((ROOT / f"experiments/studies/{name}.toml").read_text()) for name in list_studies(ROOT)}
KEYS = [(name, key) for name, data in DATA.items() for key in texts(data)]


def read(name: str, key: str, value: str) -> Study:
    """Return the study with one text changed. Raises ``SettingsError``."""
    data = {"name": name, **copy.deepcopy(DATA[name])}
    place: Any = data
    *sections, last = key.split(".")
    for section in sections:
        place = place[section]
    place[last] = [value, *place[last][1:]] if isinstance(place[last], list) else value
    study = parse(Study, data, f"{name}.toml")
    if wrong := problems(study):
        raise SettingsError("; ".join(wrong))
    return study


def test_every_section_of_the_model_is_tried() -> None:
    tried = {key.partition(".")[0] for _, key in KEYS}
    wanted = {name for name, field in Study.model_fields.items() if "Literal" in str(field.annotation)}
    wanted |= {"title", "question", "arms", "estimand", "primary", "workload", "needs", "notes"}
    assert wanted <= tried | {"exclusions", "order"}, wanted - tried


@pytest.mark.parametrize("case", NASTY)
def test_a_text_of_another_kind_is_refused_or_only_shown(case: str) -> None:
    for name, key in KEYS:
        shown = any(key == text or key.startswith(f"{text}.") for text in SHOWN)
        try:
            read(name, key, NASTY[case])
        except LabError as error:
            assert printable(str(error)).replace("\n", "").replace("\t", "").isprintable(), (name, key)
            assert "Traceback" not in str(error)
        else:
            assert shown or key.startswith(LEVELS), f"{name}: {key} accepts {NASTY[case]!r:.40}"


@pytest.mark.parametrize("key", ["image", "manifests", "namespace", "app"])
@pytest.mark.parametrize("case", NASTY)
def test_what_reaches_paths_and_the_cluster_is_matched(key: str, case: str) -> None:
    with pytest.raises(LabError):
        parse(Study, {"name": "burst", **DATA["burst"], "workload": {key: NASTY[case]}}, "burst.toml")


def test_the_same_list_is_tried_on_numbers() -> None:
    numbers = [name for name, field in Study.model_fields["design"].annotation.model_fields.items()  # type: ignore[union-attr]
               if int in typing.get_args(field.annotation) or field.annotation in (int, float)]  # fmt: skip
    assert numbers
    for key in numbers:
        for value in NASTY.values():
            with pytest.raises(LabError):
                parse(Study, {"name": "burst", **DATA["burst"], "design": {"pairs": 2, key: value}}, "burst.toml")
