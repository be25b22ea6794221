"""Bundles with a known truth, made once for all tests of this folder."""

from __future__ import annotations

from typing import Any

import pytest

from hardwatt.analysis.results import analyse
from hardwatt.testing.synthetic_bundle import Spec, Truth, make_bundle


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_bundle(tmp_path_factory.mktemp("three") / "bundle", Spec(pairs=3))


@pytest.fixture(scope="session")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_bundle(tmp_path_factory.mktemp("eight") / "bundle", Spec(pairs=8, effect=2.0, noise=0.3))


@pytest.fixture(scope="session")
def three_results(three: Truth) -> dict[str, Any]:
    """What the planned analysis of three pairs says; tests read it and change copies only."""
    return analyse(three.path, write=False)


@pytest.fixture(scope="session")
def eight_results(eight: Truth) -> dict[str, Any]:
    """The same of eight pairs."""
    return analyse(eight.path, write=False)
