"""What a host answers that breaks off, or answers something else than it was asked."""

from pathlib import Path
from unittest import mock

import pytest

from hardwatt.connect import unreachable
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.errors import LabError, next_after
from hardwatt.provision import node_data

END = Endpoint(
    name="lab", kind="ssh", address="192.0.2.7", port=2222, user="root", key=Path("/k"), known_hosts=Path("/h"),
    controller_address="127.0.0.1", node_address="192.0.2.7",
)  # fmt: skip


@pytest.mark.parametrize("answer", ["", "welcome", "debian\nmany\n\n\ninfo", "\n\n\n\n"])
def test_a_garbled_answer_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    ssh = mock.MagicMock()
    ssh.return_value.__enter__.return_value.run.return_value.stdout = answer
    monkeypatch.setattr(node_data, "Ssh", ssh)
    with pytest.raises(LabError) as caught:
        node_data.Processor.of(END)
    assert caught.value.message == f"the answer of {unreachable.Place.of(END)} is not understood"
    assert "2222" in caught.value.hint and caught.value.hint.startswith("ssh -v")


def test_a_connection_that_broke_off_names_the_host_and_another_command() -> None:
    error = unreachable.broken(END, OSError("gone"))
    assert "root@192.0.2.7:2222" in error.message
    assert next_after("lab.status", error.hint).startswith("invoke lab.check; ssh -v")
    assert next_after("lab.check", error.hint).startswith("ssh -v")
