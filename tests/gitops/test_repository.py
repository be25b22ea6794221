"""The lab's repository against real git: nothing of a person's is lost, nothing is committed twice."""

import shutil
import subprocess
from pathlib import Path

import pytest

from hardwatt.core.errors import CommandError, RefusedError
from hardwatt.gitops.errors import GitServerError
from hardwatt.gitops.repository import Repository
from tests.gitops.conftest import GENERATED, User

MADE = f"{GENERATED}/kustomization.yaml"
FILES = {"clusters/base/a.yaml": "a: 1\n", "clusters/lab/b.yaml": "b: 1\n", MADE: "made: 1\n"}


def publish(repo: Repository, files: dict[str, str]) -> list[str]:
    return repo.publish(files, generated=GENERATED)


def test_an_empty_repository_is_filled_and_then_left_alone(repo: Repository) -> None:
    assert publish(repo, FILES) == sorted(FILES)
    head = repo.fetch()
    assert {path: repo.text(head, path) for path in repo.tree(head)} == FILES
    assert publish(repo, FILES) == []
    assert repo.fetch() == head


def test_our_own_files_follow_the_checkout(repo: Repository) -> None:
    publish(repo, FILES)
    changed = {**FILES, "clusters/base/a.yaml": "a: 2\n", MADE: "made: 2\n"}
    del changed["clusters/lab/b.yaml"]
    assert publish(repo, changed) == ["clusters/base/a.yaml", MADE, "clusters/lab/b.yaml"]
    head = repo.fetch()
    assert {path: repo.text(head, path) for path in repo.tree(head)} == changed
    assert publish(repo, changed) == []


def test_a_persons_commits_elsewhere_survive(repo: Repository, user: User) -> None:
    publish(repo, FILES)
    user.commit("clusters/lab/app.yaml", "app: 1\n")
    theirs = user.commit("clusters/base/a.yaml", "a: mine\n")
    assert publish(repo, {**FILES, MADE: "made: 2\n"}) == [MADE]
    head = repo.fetch()
    assert repo.text(head, "clusters/lab/app.yaml") == "app: 1\n"
    assert repo.text(head, "clusters/base/a.yaml") == "a: mine\n"
    assert repo.git("rev-parse", f"{head}^").stdout.strip() == theirs


def test_a_persons_file_stays_theirs_after_a_later_commit_of_ours(repo: Repository, user: User) -> None:
    publish(repo, FILES)
    user.commit("clusters/base/a.yaml", "a: mine\n")
    publish(repo, {**FILES, MADE: "made: 2\n"})
    with pytest.raises(RefusedError, match=r"clusters/base/a\.yaml: .* by Ada"):
        publish(repo, {**FILES, MADE: "made: 2\n", "clusters/base/a.yaml": "a: 2\n"})


@pytest.mark.parametrize("text", ["made: by hand\n", None])
def test_a_changed_generated_file_is_refused_with_both_sides(repo: Repository, user: User, text: str | None) -> None:
    publish(repo, FILES)
    theirs = user.commit(MADE, text, "tune the lab")
    with pytest.raises(RefusedError) as caught:
        publish(repo, FILES)
    assert "by Ada" in caught.value.message
    assert "tune the lab" in caught.value.message
    assert "+made: 1" in caught.value.message
    if text:
        assert "-made: by hand" in caught.value.message
    assert "revert that commit" in caught.value.hint
    assert repo.fetch() == theirs


def test_after_taking_our_side_it_goes_on(repo: Repository, user: User) -> None:
    publish(repo, FILES)
    user.commit(MADE, "made: by hand\n")
    new = {**FILES, MADE: "made: 2\n"}
    with pytest.raises(RefusedError):
        publish(repo, new)
    user.commit(MADE, "made: 2\n")
    assert publish(repo, new) == []


def test_after_a_revert_it_goes_on(repo: Repository, user: User) -> None:
    publish(repo, FILES)
    user.commit(MADE, "made: by hand\n")
    user.git("revert", "--no-edit", "HEAD")
    user.git("push", "--quiet", "origin", "HEAD:main")
    assert publish(repo, {**FILES, MADE: "made: 2\n"}) == [MADE]


def test_another_labs_generated_file_is_not_ours(repo: Repository, remote: Path, tmp_path: Path) -> None:
    publish(repo, FILES)
    other = Repository(tmp_path / "other.git", str(remote), "main", "other")
    with pytest.raises(RefusedError, match="by hardwatt"):
        publish(other, {**FILES, MADE: "made: for another lab\n"})


def test_a_push_in_between_is_built_upon(repo: Repository, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(repo, FILES)
    push = Repository._push
    raced: list[str] = []

    def race(self: Repository, commit: str) -> None:
        if not raced:
            raced.append(user.commit("notes.md", "in between\n"))
        push(self, commit)

    monkeypatch.setattr(Repository, "_push", race)
    assert publish(repo, {**FILES, MADE: "made: 2\n"}) == [MADE]
    head = repo.fetch()
    assert repo.git("rev-parse", f"{head}^").stdout.strip() == raced[0]
    assert repo.text(head, MADE) == "made: 2\n"


def test_a_push_that_fails_for_good_is_an_error(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def fail(self: Repository, commit: str) -> None:
        tries.append(commit)
        raise CommandError(["git", "push"], 1, stderr="no space left")

    monkeypatch.setattr(Repository, "_push", fail)
    with pytest.raises(CommandError, match="no space left"):
        publish(repo, FILES)
    assert len(tries) == 1


def test_a_killed_run_leaves_the_repository_as_it_was(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(repo, FILES)
    head = repo.fetch()

    def killed(self: Repository, commit: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Repository, "_push", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(repo, {**FILES, MADE: "made: 2\n"})
    assert repo.fetch() == head
    assert publish(repo, {**FILES, MADE: "made: 2\n"}) == [MADE]


def test_the_difference_shows_the_repository_first(repo: Repository) -> None:
    publish(repo, FILES)
    new = {**FILES, MADE: "made: 2\n"}
    text = repo.difference(new, repo.plan(new, generated=GENERATED))
    assert text.splitlines()[2:] == ["@@ -1 +1 @@", "-made: 1", "+made: 2"]
    assert repo.difference(FILES, repo.plan(FILES, generated=GENERATED)) == ""


def test_the_users_git_configuration_does_not_matter(
    repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text("[commit]\n\tgpgsign = true\n[core]\n\tautocrlf = true\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    publish(repo, FILES)
    author = repo.git("log", "-1", "--format=%ae%n%B", repo.fetch()).stdout
    assert author.startswith("hardwatt@lab.invalid")
    assert "Hardwatt-Lab: test" in author


def test_a_node_that_was_made_anew_is_filled_again(repo: Repository, remote: Path) -> None:
    publish(repo, FILES)
    shutil.rmtree(remote)
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(remote)], check=True)
    assert repo.fetch() == ""
    assert publish(repo, FILES) == sorted(FILES)


def test_the_lock_of_a_killed_git_is_no_obstacle(repo: Repository, user: User) -> None:
    publish(repo, FILES)
    theirs = user.commit("notes.md", "x\n")
    (repo.path / "refs/remotes/lab/main.lock").touch()
    assert repo.fetch() == theirs


def test_a_server_that_does_not_answer_is_one_clear_error(repo: Repository, remote: Path) -> None:
    shutil.rmtree(remote)
    with pytest.raises(GitServerError, match=r"remote\.git holds no such repository") as caught:
        publish(repo, FILES)
    assert "[gitops]" in caught.value.hint


def test_a_branch_that_somebody_rewrote_is_filled_again(repo: Repository, user: User, remote: Path) -> None:
    publish(repo, FILES)
    subprocess.run(["git", "-C", str(remote), "config", "receive.denyNonFastForwards", "false"], check=True)
    user.git("checkout", "--quiet", "--orphan", "fresh")
    user.git("commit", "--quiet", "--allow-empty", "-m", "start again")
    user.git("push", "--quiet", "--force", "origin", "HEAD:main")
    assert publish(repo, FILES) == sorted(FILES)
    assert publish(repo, FILES) == []
