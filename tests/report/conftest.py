"""Results and pages of bundles with a known truth, and one browser for all tests of this folder."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver

from hardwatt.analysis.results import analyse
from hardwatt.testing.synthetic_bundle import Spec
from tests.report.cases import CASES
from tests.report.chrome import chromium
from tests.report.realistic import realistic


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Name of a kind of page to its HTML file, each made once."""
    return functools.cache(lambda name: CASES[name](tmp_path_factory.mktemp(name) / "made"))


@pytest.fixture(scope="session")
def quick(pages: Callable[[str], Path]) -> Path:
    """A report of three pairs."""
    return pages("quick")


@pytest.fixture(scope="session")
def full(pages: Callable[[str], Path]) -> Path:
    """A report of twenty pairs."""
    return pages("full")


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return analyse(realistic(tmp_path_factory.mktemp("results") / "bundle", Spec(pairs=3)), write=False)


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    with chromium() as chrome:
        yield chrome
