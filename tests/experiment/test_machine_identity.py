"""The identity of a machine is stable, anonymous, and the same for every lab on it."""

import pytest

from hardwatt.experiment.host import machine_identity, probe
from hardwatt.experiment.host.machine_identity import of_facts

ID = "0123456789abcdef0123456789abcdef"


def test_it_follows_from_the_machines_id_and_does_not_show_it() -> None:
    own = of_facts({"machine_id": ID, "board": "b"})
    assert own == of_facts({"machine_id": f"{ID} ", "board": "another user cannot read it"})
    assert own != of_facts({"machine_id": ID.replace("0", "1")})
    assert len(own) == 16
    assert own not in ID


@pytest.mark.parametrize("missing", [{}, {"machine_id": "uninitialized"}, {"machine_id": " "}])
def test_without_an_id_the_board_counts_and_without_both_nothing(missing: dict[str, str]) -> None:
    assert of_facts({**missing, "board": "b"}) == of_facts({"board": "b"}) != ""
    assert of_facts(missing) == ""


def test_the_look_at_a_machine_shows_its_processor() -> None:
    assert probe.local(("processor",))["processor"]
    assert machine_identity.of_facts(probe.local(probe.IDENTITY)) == of_facts(probe.local(probe.IDENTITY))
