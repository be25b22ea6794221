"""A download that is not what it has to be never reaches its place; run by a real shell."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from deploys.operations.download import commands

GOOD = b"what upstream published"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "upstream"
    file.write_bytes(GOOD)
    return file


def run(source: Path, dest: Path, *, sha256: str = "", fingerprint: str = "") -> subprocess.CompletedProcess[str]:
    script = "set -e\n" + "\n".join(
        commands(source.as_uri(), str(dest), sha256=sha256, fingerprint=fingerprint, mode="640")
    )
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, timeout=30)


def test_the_right_one_is_moved_to_its_place(source: Path, tmp_path: Path) -> None:
    dest = tmp_path / "new/folder/file"
    assert run(source, dest, sha256=hashlib.sha256(GOOD).hexdigest()).returncode == 0
    assert dest.read_bytes() == GOOD
    assert dest.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in dest.parent.iterdir()] == ["file"]


def test_another_content_leaves_what_was_there(source: Path, tmp_path: Path) -> None:
    dest = tmp_path / "file"
    dest.write_text("the one before")
    # the sum of the right file is the beginning of this one: no part of a sum is enough
    done = run(source, dest, sha256=hashlib.sha256(GOOD).hexdigest() + "0")
    assert done.returncode != 0
    assert "is pinned: it was deleted" in done.stderr
    assert dest.read_text() == "the one before"
    assert not (tmp_path / "file.part").exists()


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    dest = tmp_path / "file"
    assert run(tmp_path / "absent", dest, sha256="0" * 64).returncode != 0
    assert not dest.exists()


@pytest.mark.skipif(shutil.which("gpg") is None, reason="no gpg on this machine")
def test_a_key_is_taken_by_its_fingerprint_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    prints = []
    for name in ("one", "two"):
        make = [*gpg, "--passphrase", "", "--quick-generate-key", f"{name}@example.org", "ed25519", "sign", "never"]
        subprocess.run(make, check=True, capture_output=True, timeout=60)
        listed = subprocess.run(
            [*gpg, "--with-colons", "--fingerprint", name], check=True, capture_output=True, text=True
        )
        prints.append(next(line.split(":")[9] for line in listed.stdout.splitlines() if line.startswith("fpr")))
    one, both, dest = tmp_path / "one.asc", tmp_path / "both.asc", tmp_path / "key.asc"
    one.write_bytes(subprocess.run([*gpg, "--armor", "--export", "one"], check=True, capture_output=True).stdout)
    both.write_bytes(subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True).stdout)
    assert run(both, dest, fingerprint=prints[0]).returncode != 0, "a second key came along"
    assert run(one, dest, fingerprint=prints[1]).returncode != 0
    assert not dest.exists()
    assert run(one, dest, fingerprint=prints[0]).returncode == 0
    assert dest.read_bytes() == one.read_bytes()
