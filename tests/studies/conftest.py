"""A lab of its own for the long tests of this folder, with the image of the CI server in it."""

import os
from collections.abc import Iterator

import pytest

from hardwatt.config.lab import open_lab
from hardwatt.config.settings import default_name
from tests.e2e.support import Story


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    if os.geteuid() != 0:
        pytest.fail("the embedded node needs root: run make test-long as root, or with sudo")
    folder = tmp_path_factory.mktemp("studies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARDWATT_LAB", "studies-" + default_name().removeprefix("lab-"))
        config = folder / "lab.toml"
        config.write_text(f'machine = "embedded"\nresults = "{folder}/results"\n')
        patch.setenv("HARDWATT_CONFIG", str(config))
        made = Story(open_lab(), dict(os.environ))
        made.invoke("lab.down", "--yes")
        made.invoke("mirror.fill", "--only", "ci")
        made.invoke("lab.up")
        yield made
        made.invoke("lab.down", "--yes")
