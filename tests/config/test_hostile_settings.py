"""Each setting is what it is: values of another kind are refused at the border, the same list for every setting."""

import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from hardwatt.config import settings
from hardwatt.config.settings import Settings
from hardwatt.core.errors import SettingsError

NASTY = {
    "newline": "a\nProxyCommand touch x",
    "trailing newline": "main\n",
    "carriage return": "a\rb",
    "leading dash": "-oProxyCommand=x",
    "two dashes": "--upload-pack=x",
    "parents": "../../x",
    "parents inside": "a/../../x",
    "percent": "%h%d",
    "space": "a b",
    "blank": " ",
    "quotes": "a'b\"c",
    "substitution": "$(touch x)",
    "backticks": "`touch x`",
    "semicolon": "a;touch x",
    "ampersand": "a&b",
    "pipe": "a|b",
    "star": "*",
    "variable": "${HOME}",
    "long": "a" * 10_000,
    "emoji": "🙂",
    "BOM": "\ufeffmain",
    "zero": "a\0b",
    "escape": "\x1b[2J",
    "C1": "\x9b2J",
    "direction": "a\u202eb",
    "surrogate": "a\udcff",
    "top": "/",
    "tilde": "~root/x",
    "password": "https://me:secret@host/x",
}
NO_PATH = {"newline", "trailing newline", "carriage return", "leading dash", "two dashes", "long", "BOM", "zero",
           "escape", "C1", "direction", "surrogate"}  # fmt: skip
"""What no path of this machine is; everything else may be the name of somebody's file."""
PATHS = {"host.key", "mirror.cache", "gitops.ca_file"}
FREE = {
    **dict.fromkeys(PATHS, set(NASTY) - NO_PATH),
    "results": set(NASTY) - NO_PATH - {"parents", "parents inside", "blank", "top"},
    "gitops.known_host": set(NASTY) - (NO_PATH - {"long"}),
}
"""Setting -> cases that it accepts: none but for paths and a line that is given to no shell."""
SSH = {"kind": "git", "url": "ssh://git@git.example.org/lab.git", "known_host": "h t k"}


def texts(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the name of each setting whose value is text."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from texts(kind, f"{prefix}{name}.")
        elif kind is str or typing.get_origin(kind) in (typing.Literal, types.UnionType):
            yield f"{prefix}{name}"


SETTINGS = sorted(texts(Settings))


def parsed(name: str, value: Any) -> Settings:
    section, _, key = name.rpartition(".")
    return settings.parse(Settings, {section: {key: value}} if section else {key: value}, "lab.toml")


def test_the_list_of_settings_is_read_from_the_model() -> None:
    assert {"host.address", "host.jump", "gitops.url", "results", "machine", "mirror.upstream"} <= set(SETTINGS)
    assert len(SETTINGS) > 25


@pytest.mark.parametrize("case", NASTY)
@pytest.mark.parametrize("name", SETTINGS)
def test_a_value_of_another_kind_is_refused(name: str, case: str) -> None:
    if case in FREE.get(name, set()):
        parsed(name, NASTY[case])
        return
    with pytest.raises(SettingsError) as caught:
        parsed(name, NASTY[case])
    shown = str(caught.value)
    assert name.partition(".")[0] in shown and shown.replace("\n", "").isprintable() and len(shown) < 2000
    assert "secret" not in shown


GOOD = {
    "host.address": ["192.0.2.1", "::1", "2001:db8::1", "localhost", "node-1.lab_2.example.org", "a"],
    "host.user": ["root", "ada", "svc_lab", "first.last", "1and1"],
    "host.jump": ["gate", "me@gate", "me@gate:2222", "[2001:db8::1]:22", "me@[::1]", "192.0.2.1:22"],
    "host.key": ["~/.ssh/id_ed25519", "/keys/my key", "schlüssel"],
    "mirror.upstream": ["http://127.0.0.1:8080", "https://proxy.example.org/mirror/", "http://[::1]:80/x"],
    "kubernetes.pod_cidr": ["10.244.0.0/16", "172.16.0.0/12", "fd00::/48"],
    "gitops.branch": ["main", "feature/x", "v1.2"],
    "gitops.path": ["clusters/lab", "a", "x_1/y.2/z-3"],
    "gitops.username": ["git", "ada@example.org"],
    "results": ["results", "my results", "/data/results", "a/b"],
    "meter.model": ["auto", "intel-sandy-bridge", "generic"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_a_value_of_its_kind_is_accepted(name: str, value: str) -> None:
    parsed(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host.address", "-x"), ("host.address", "a..b"), ("host.address", "300.1.1.1"),
        ("host.address", "fe80::1%eth0"),
        ("host.address", "a@b"), ("host.address", "a:22"), ("host.jump", "a@b@c d"), ("host.jump", "me@gate:0"),
        ("host.jump", "me@gate:65536"), ("host.jump", "me@-gate"), ("host.jump", "-me@gate"), ("host.jump", "@gate"),
        ("host.jump", "me@"), ("host.jump", "me@gate:22:23"), ("mirror.upstream", "https://me@host/"),
        ("mirror.upstream", "https://host/?a=b"), ("mirror.upstream", "https://host/../x"),
        ("mirror.upstream", "file:///etc"), ("mirror.upstream", "https://host:99999/"), ("mirror.upstream", "host"),
        ("gitops.branch", "a..b"), ("gitops.branch", "a/"), ("gitops.branch", "a//b"), ("gitops.branch", "a.lock"),
        ("gitops.branch", "a/.b"), ("gitops.path", "/etc"), ("gitops.path", "a/"), ("gitops.path", "."),
        ("gitops.path", ""), ("results", ""), ("results", "."), ("results", "a/.."), ("results", "//"),
        ("kubernetes.pod_cidr", "0.0.0.0/0"), ("kubernetes.pod_cidr", "::/0"), ("kubernetes.pod_cidr", "127.0.0.0/8"),
        ("kubernetes.pod_cidr", "224.0.0.0/8"), ("kubernetes.pod_cidr", "10.96.0.0/16"),
        ("kubernetes.pod_cidr", "10.0.0.0/8"), ("kubernetes.service_cidr", "10.244.1.0/24"),
        ("kubernetes.pod_cidr", "10.244.0.1/16"),
    ],
)  # fmt: skip
def test_a_near_miss_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError):
        parsed(name, value)


@pytest.mark.parametrize(
    "url",
    ["ssh://-oProxyCommand=x/y", "ssh://-a@host/y", "ssh://git@-host/y", "ssh://git@host/$(x)", "https://host/a b",
     "ssh://git@host/../x", "ssh://git:secret@host/y", "https://host/y#z", "ssh://@host/y"],
)  # fmt: skip
def test_a_git_address_that_a_program_reads_as_an_option_is_refused(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.parse(Settings, {"gitops": {**SSH, "url": url}}, "lab.toml")
    assert "secret" not in str(caught.value)
    settings.parse(Settings, {"gitops": SSH}, "lab.toml")


def test_a_mark_of_windows_at_the_beginning_of_lab_toml_is_read_over(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_bytes(b"\xef\xbb\xbf" + f"name = {json.dumps('mine')}\r\n".encode())
    assert settings.load(file).name == "mine"


@pytest.mark.parametrize("case", NASTY)
def test_the_name_from_the_environment_is_checked(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab.toml").write_text("")
    if case == "zero":
        return  # no environment holds one
    monkeypatch.setenv("HARDWATT_LAB", NASTY[case])
    with pytest.raises(SettingsError):
        settings.load(tmp_path / "lab.toml")
