import pytest

from hardwatt.gitops.merge import Change, blob, changes

GENERATED = "clusters/generated/lab"
HAND = "clusters/base/a.yaml"
MADE = f"{GENERATED}/kustomization.yaml"


@pytest.mark.parametrize(
    ("path", "ours", "theirs", "base", "expected"),
    [
        (HAND, "1", None, None, "write"),
        (HAND, "1", "1", "1", None),
        (HAND, "2", "1", "1", "write"),
        (HAND, None, "1", "1", "delete"),
        (HAND, "1", "user", "1", None),
        (HAND, "1", None, "1", None),
        (HAND, "2", "user", "1", "conflict"),
        (HAND, None, "user", "1", "conflict"),
        (HAND, "1", "user", None, "conflict"),
        (HAND, "2", "2", "1", None),
        (MADE, "1", None, None, "write"),
        (MADE, "2", "1", "1", "write"),
        (MADE, "1", "user", "1", "conflict"),
        (MADE, "1", None, "1", "conflict"),
        (MADE, "2", "user", "1", "conflict"),
        (MADE, "user", "user", "1", None),
    ],
)
def test_a_persons_blob_is_never_overwritten(
    path: str, ours: str | None, theirs: str | None, base: str | None, expected: str | None
) -> None:
    def side(value: str | None) -> dict[str, str]:
        return {} if value is None else {path: value}

    found = changes(side(ours), side(theirs), side(base), generated=GENERATED)
    assert [change.kind for change in found] == ([] if expected is None else [expected])


def test_files_that_only_the_repository_has_are_not_our_business() -> None:
    assert changes({HAND: "1"}, {"notes.md": "x", HAND: "1"}, {}, generated=GENERATED) == []


def test_changes_are_sorted_by_path() -> None:
    found = changes({"b": "1", "a": "1"}, {}, {}, generated=GENERATED)
    assert found == [Change("a", "write"), Change("b", "write")]


def test_blob_is_gits_own_name() -> None:
    # printf 'hello\n' | git hash-object --stdin
    assert blob("hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
