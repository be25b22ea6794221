import re
from pathlib import Path

import pydantic
import pytest

from hardwatt.config import settings
from hardwatt.core.errors import SettingsError


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "lab.toml"
    file.write_text(text)
    return file


def test_everything_is_optional(tmp_path: Path) -> None:
    loaded = settings.load(write(tmp_path, ""))
    assert loaded.machine == "auto"
    assert loaded.name == settings.default_name()


def test_two_checkouts_have_two_names(tmp_path: Path) -> None:
    assert settings.default_name(tmp_path / "a") != settings.default_name(tmp_path / "b")


def test_environment_overrides_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDWATT_LAB", "other")
    assert settings.load(write(tmp_path, 'name = "mine"')).name == "other"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('machin = "ssh"', "unknown key 'machin'; did you mean 'machine'?"),
        ('[host]\nadress = "10.0.0.1"', "unknown key 'host.adress'; did you mean 'address'?"),
        ("[mirror]\nzzzzqq = 1", "unknown key 'mirror.zzzzqq'; known keys: cache, mode, upstream"),
        ('machine = "cloud"', "machine: Input should be 'auto', 'embedded', 'vm' or 'ssh'"),
        ("[host]\nport = 70000", "host.port: Input should be less than or equal to 65535"),
        ('[kubernetes]\npod_cidr = "10.244.0.0/33"', "kubernetes.pod_cidr"),
        ('name = "Über"', "2 to 32 small letters"),
        ("machine =", "is not valid TOML"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load(write(tmp_path, text))
    assert says in caught.value.message
    assert "lab.toml" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("address", "jump", "same"),
    [
        ("192.0.2.1", "me@192.0.2.1:2222", True),
        ("gate.example.org", "Gate.Example.org:22", True),
        ("2001:db8::1", "me@[2001:0db8::0001]:2222", True),
        ("127.0.0.1", "me@192.0.2.1", False),
        ("192.0.2.10", "me@192.0.2.1", False),
    ],
)
def test_a_host_is_not_its_own_jump_host(tmp_path: Path, address: str, jump: str, same: bool) -> None:
    file = write(tmp_path, f'[host]\naddress = "{address}"\njump = "{jump}"\nport = 2200')
    if not same:
        assert settings.load(file).host.jump == jump
        return
    with pytest.raises(SettingsError, match="jump and address are one host"):
        settings.load(file)


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load(write(tmp_path, "[host]\nport = 0\nusr = 1"))
    assert "host.port" in caught.value.message
    assert "host.usr" in caught.value.message


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        settings.load(tmp_path / "none.toml")


def test_the_example_is_valid_and_complete() -> None:
    example = settings.ROOT / "lab.example.toml"
    loaded = settings.load(example)
    assert loaded.machine == "ssh"
    section, shown = "", set()
    for line in example.read_text().splitlines():
        if line.startswith("["):
            section = line[1:].partition("]")[0] + "."
        elif found := re.match(r"(?:# )?([a-z_]+) = ", line):
            shown.add(section + found.group(1))
    wanted = {
        f"{part}.{name}" if isinstance(value, dict) else part
        for part, value in settings.Settings().model_dump().items()
        for name in (value if isinstance(value, dict) else [""])
    }
    assert shown == wanted


@pytest.mark.parametrize("interval", ["", "100ms", "1s", "15s", "59s", "60s", "1m", "1500ms"])
def test_a_scrape_interval_is_a_duration_that_prometheus_can_keep(interval: str) -> None:
    assert (
        settings.Settings.model_validate({"prometheus": {"scrape_interval": interval}}).prometheus.scrape_interval
        == interval
    )


@pytest.mark.parametrize(
    "interval", ["0s", "99ms", "61s", "2m", "1h", "15", "15 s", "15s\n", "-1s", "1.5s", "\uff11s", "9" * 9 + "s"]
)
def test_another_scrape_interval_is_refused_with_the_range(interval: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="from 100ms to 1m: 15s is the default"):
        settings.Settings.model_validate({"prometheus": {"scrape_interval": interval}})
