"""GitHub and git over HTTPS, against a stand-in with real git: nothing half done, every fault one clear error."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT, Gitops, Settings
from hardwatt.core import credentials, process
from hardwatt.core.errors import CommandError, LabError, SettingsError
from hardwatt.gitops import deployment, git_remote
from hardwatt.gitops import github as api
from hardwatt.gitops.errors import GitServerError, explain
from hardwatt.gitops.github import GitHub
from hardwatt.gitops.repository import Repository
from tests.data.recordings import recorded
from tests.gitops.github import NAME, OWNER, TOKEN, StandIn, served

FILES = {"clusters/lab/a.yaml": "a: 1\n"}

GENERATED = "clusters/generated/lab"


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    monkeypatch.setenv("GIT_PASSWORD", TOKEN)
    with served(tmp_path, "127.0.0.1") as found:
        yield found


def settings(standin: StandIn, **more: Any) -> Gitops:
    values = {"kind": "github", "owner": OWNER, "repository": NAME, "hostname": standin.hostname}
    return Gitops.model_validate({**values, "ssh_hostname": standin.ssh_hostname, "ca_file": str(standin.ca), **more})


def lab(tmp_path: Path, gitops: Gitops) -> Lab:
    return Lab(Settings(name="test", gitops=gitops), ROOT, tmp_path / "lab")


def repository(tmp_path: Path, gitops: Gitops) -> Repository:
    return git_remote.repository(lab(tmp_path, gitops), "lab", endpoint=None)


def test_a_repository_is_made_filled_and_left_alone(standin: StandIn, tmp_path: Path) -> None:
    found = GitHub(settings(standin), TOKEN)
    assert found.exists() is False
    found.create()
    assert found.exists() is True
    repo = repository(tmp_path, settings(standin))
    assert repo.publish(FILES, generated=GENERATED) == list(FILES)
    assert repo.publish(FILES, generated=GENERATED) == []
    assert standin.calls.count("POST /api/v3/user/repos") == 1


def test_the_same_over_https_from_a_server_of_ones_own(standin: StandIn, tmp_path: Path) -> None:
    standin.make()
    url = f"https://{standin.hostname}/{OWNER}/{NAME}.git"
    given = Gitops(url=url, username="ada", ca_file=str(standin.ca))
    repo = repository(tmp_path, given)
    assert repo.publish(FILES, generated=GENERATED) == list(FILES)
    assert repo.fetch()


def test_nothing_that_can_be_read_holds_the_token(standin: StandIn, tmp_path: Path) -> None:
    standin.make()
    repo = repository(tmp_path, settings(standin))
    repo.publish(FILES, generated=GENERATED)
    assert TOKEN not in repr(repo) + repr(git_remote.git_remote_of(lab(tmp_path, settings(standin))))
    for path in (tmp_path / "lab").rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"down": True}, "answers 503"),
        ({"push": False}, "may read ada/lab but not push to it"),
        ({"admin": False}, "not add the deploy key"),
    ],
)
def test_what_the_api_says_no_to_is_one_clear_error(standin: StandIn, change: dict[str, bool], says: str) -> None:
    standin.make()
    for name, value in change.items():
        setattr(standin, name, value)
    with pytest.raises(LabError, match=says) as caught:
        GitHub(settings(standin), TOKEN).exists()
    assert caught.value.hint


def test_a_wrong_token_is_refused_by_both(standin: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    standin.make()
    with pytest.raises(LabError, match=r"refuses the token \(Bad credentials\)"):
        GitHub(settings(standin), "wrong").exists()
    monkeypatch.setenv("GITHUB_TOKEN", "wrong")
    with pytest.raises(GitServerError, match="refuses the password or token"):
        repository(tmp_path, settings(standin)).fetch()


def test_a_push_that_only_git_refuses_is_one_clear_error(standin: StandIn, tmp_path: Path) -> None:
    standin.make()
    standin.writable = False
    with pytest.raises(GitServerError, match="can be read but not pushed to"):
        repository(tmp_path, settings(standin)).publish(FILES, generated=GENERATED)


def test_a_server_that_is_down_is_one_clear_error(standin: StandIn, tmp_path: Path) -> None:
    standin.make()
    standin.down = True
    with pytest.raises(GitServerError, match="does not answer"):
        repository(tmp_path, settings(standin)).fetch()
    nobody = settings(standin, hostname="localhost:9")
    with pytest.raises(LabError, match="localhost:9 does not answer"):
        GitHub(nobody, TOKEN).exists()
    with pytest.raises(GitServerError, match="does not answer"):
        repository(tmp_path, nobody).fetch()


def test_an_authority_that_nobody_knows_is_refused(standin: StandIn, tmp_path: Path) -> None:
    standin.make()
    unknown = settings(standin, ca_file="")
    with pytest.raises(LabError, match="does not answer") as caught:
        GitHub(unknown, TOKEN).exists()
    assert "gitops.ca_file" in caught.value.hint
    with pytest.raises(GitServerError, match="certificate that this machine does not trust"):
        repository(tmp_path, unknown).fetch()
    with pytest.raises(SettingsError, match="is not there"):
        repository(tmp_path, settings(standin, ca_file=str(tmp_path / "none")))


def test_ssl_cert_file_is_enough(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(standin.ca))
    assert GitHub(settings(standin, ca_file=""), TOKEN).exists() is False


def test_somebody_elses_name_is_not_made(standin: StandIn) -> None:
    with pytest.raises(SettingsError, match="it is ada's"):
        GitHub(settings(standin, owner="eve"), TOKEN).create()


def test_a_redirect_would_carry_the_token_elsewhere(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def moved(self: StandIn, method: str, path: str, body: Any) -> tuple[int, Any]:
        return 301, {"message": "Moved Permanently"}

    monkeypatch.setattr(StandIn, "api", moved)
    with pytest.raises(LabError, match="ada/lab has moved"):
        GitHub(settings(standin), TOKEN).exists()


def test_host_keys_come_over_tls(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = GitHub(settings(standin), TOKEN).host_keys()
    assert line == f"{standin.ssh_hostname} ssh-rsa {standin.host_key.get_base64()}"
    monkeypatch.setattr(StandIn, "api", lambda *_: (200, {}))
    with pytest.raises(LabError, match="does not publish its SSH host keys"):
        GitHub(settings(standin), TOKEN).host_keys()


def test_all_pages_of_deploy_keys_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    found = GitHub(Gitops(kind="github", owner="a", repository="b"), TOKEN)
    asked: list[str] = []

    def call(method: str, path: str) -> tuple[int, Any]:
        asked.append(path)
        return 200, [{"key": f"ssh-ed25519 {len(asked)}"}] * (100 if len(asked) == 1 else 1)

    monkeypatch.setattr(found, "_call", call)
    assert len(found.deploy_keys()) == 101
    assert [path.rpartition("page=")[2] for path in asked] == ["1", "2"]


def test_the_public_one_has_its_own_address() -> None:
    assert GitHub(Gitops(kind="github", owner="a", repository="b"), TOKEN)._base == "https://api.github.com"
    assert api.ca_bundle(Gitops()) is None


def test_secrets_come_from_the_environment_or_a_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", " abc\n")
    assert credentials.ask("GITHUB_TOKEN", "token") == " abc", "blanks may be part of a password"
    monkeypatch.delenv("GITHUB_TOKEN")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(SettingsError, match="GITHUB_TOKEN is not set"):
        credentials.ask("GITHUB_TOKEN", "token")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    asked: list[str] = []

    def typed(prompt: str) -> str:
        asked.append(prompt)
        return "typed"

    monkeypatch.setattr("getpass.getpass", typed)
    credentials._prompt.cache_clear()
    assert [credentials.ask("GITHUB_TOKEN", "token") for _ in range(2)] == ["typed", "typed"]
    assert len(asked) == 1
    credentials._prompt.cache_clear()


def test_other_commands_do_not_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in process.SECRETS:
        monkeypatch.setenv(name, "abc")
    seen = process.run(["env"]).stdout
    assert not [name for name in process.SECRETS if f"{name}=" in seen]
    assert "GITHUB_TOKEN=abc" in process.run(["env"], env={"GITHUB_TOKEN": os.environ["GITHUB_TOKEN"]}).stdout


@pytest.mark.parametrize(
    ("gitops", "says"),
    [
        ({"kind": "github"}, "needs owner and repository"),
        ({"kind": "github", "owner": "a", "repository": "b", "url": "https://x/y"}, "url belongs to"),
        ({"url": "http://x/y"}, "url is https"),
        ({"url": "https://ada:pw@x/y"}, "never a password"),
        ({"url": "https://ada@x/y"}, "names no user with https"),
        ({"url": "ssh://git@x/y"}, "needs known_host"),
        ({"branch": "--force"}, "branch"),
        ({"kind": "github", "owner": "a", "repository": "c", "hostname": "10.0.0.1:8443"}, "hostname"),
        ({"kind": "github", "owner": "a/b", "repository": "c"}, "owner"),
    ],
)
def test_settings_that_cannot_work_are_refused(gitops: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Gitops.model_validate(gitops)


def test_a_server_of_ones_own_over_ssh_is_reached_with_the_labs_key_and_its_host_key(tmp_path: Path) -> None:
    given = Gitops(url="ssh://git@git.example.org/lab.git", known_host="git.example.org ssh-rsa AAAA")
    found = git_remote.git_remote_of(lab(tmp_path, given))
    assert found.kind == "ssh"
    assert "HostKeyAlgorithms=rsa-sha2-512" in found.env["GIT_SSH_COMMAND"]
    assert (tmp_path / "lab/gitops/url_known_hosts").read_text() == "git.example.org ssh-rsa AAAA\n"
    assert found.key == tmp_path / "lab/keys/git-controller"
    assert found.known_hosts == (given.known_host,)


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (recorded("git-push-moved"), "moved meanwhile"),
        (recorded("git-401"), "refuses the password or token"),
        (recorded("git-403"), "not pushed to"),
        (recorded("git-push-declined"), "not pushed to"),
        (recorded("git-ssh-key-refused"), "does not know the lab's key"),
        (recorded("git-ssh-host-key"), "another host key"),
        (recorded("git-untrusted"), "does not trust"),
        (recorded("git-ssh-refused"), "does not answer"),
        (recorded("git-refused"), "does not answer"),
        (recorded("git-no-name"), "does not answer"),
        (recorded("git-502"), "does not answer"),
        (recorded("git-404"), "holds no such repository"),
        (recorded("git-no-repository"), "holds no such repository"),
        # of servers and of runs of Flux that cannot be had here
        ("✗ failed to push manifests: non-fast-forward update: refs/heads/main", "moved meanwhile"),
        ("remote: Invalid\nfatal: Authentication failed for 'https://x/'", "refuses the password or token"),
        ("✗ failed to clone repository: authentication required", "refuses the password or token"),
        ("remote: Permission to a/b denied to c.\nfatal: unable to access: The requested URL returned error: 403",
         "not pushed to"),
        ("remote: error: GH006: protected branch hook declined", "not pushed to"),
        ("SSL certificate problem: unable to get local issuer certificate", "does not trust"),
        ("remote: Repository not found.", "holds no such repository"),
        ("✗ bootstrap failed with 1 health check failure(s): timed out waiting for all", "is not healthy"),
    ],
)  # fmt: skip
def test_what_git_and_flux_say_becomes_one_sentence(said: str, means: str) -> None:
    found = explain("https://x", CommandError(["git"], 128, stderr=said))
    assert isinstance(found, GitServerError)
    assert means in found.message
    assert "\n" not in found.message
    assert found.hint


def test_what_is_not_understood_is_shown_whole() -> None:
    error = CommandError(["git"], 1, stderr="out of memory")
    assert explain("x", error) is error


@pytest.fixture
def argv(tmp_path: Path) -> Callable[[Gitops], tuple[list[str], dict[str, str]]]:
    """What ``flux bootstrap`` would be called with."""

    def found(gitops: Gitops) -> tuple[list[str], dict[str, str]]:
        made = deployment.GitOpsDeployment.__new__(deployment.GitOpsDeployment)
        made._lab, made._settings = lab(tmp_path, gitops), gitops
        made.__dict__["home"] = git_remote.git_remote_of(made._lab)
        return made._source(), made._secrets()

    return found


def test_flux_gets_its_secret_by_the_environment_alone(standin: StandIn, argv: Any) -> None:
    source, secrets = argv(settings(standin))
    assert source[0] == "github"
    assert {f"--hostname={standin.hostname}", "--personal=true", "--private=true", f"--ca-file={standin.ca}"} <= set(
        source
    )
    assert secrets == {"GITHUB_TOKEN": TOKEN}
    url = f"https://{standin.hostname}/x.git"
    source, secrets = argv(Gitops(url=url, username="ada"))
    assert source == ["git", f"--url={url}", "--silent", "--token-auth", "--username=ada"]
    assert secrets == {"GIT_PASSWORD": TOKEN}
