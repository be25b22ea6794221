"""Bundles with a known truth, made once for all tests of this folder."""

from __future__ import annotations

import pytest

from hardwatt.bundle.synthetic import Spec, Truth, make_bundle


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_bundle(tmp_path_factory.mktemp("three") / "bundle", Spec(pairs=3))


@pytest.fixture(scope="session")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_bundle(tmp_path_factory.mktemp("eight") / "bundle", Spec(pairs=8, effect=2.0, noise=0.3))
