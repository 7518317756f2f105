# SPDX-License-Identifier: Apache-2.0
"""Which commit a build is of."""

import shutil
import subprocess

import pytest

from build import revision

pytestmark = pytest.mark.long


@pytest.fixture
def repository(tmp_path):
    """A repository with one commit of one file."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "file").write_text("text")
    commit = ["-c", "user.name=test", "-c", "user.email=test", "commit", "--quiet", "-m", "one"]
    for command in (["init", "--quiet"], ["add", "file"], commit):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def head(repository):
    command = ["git", "rev-parse", "HEAD"]
    done = subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_checkout(repository):
    assert revision.read(repository) == head(repository)
    (repository / "file").write_text("another text")
    assert revision.read(repository) == f"{head(repository)}+dirty"


def test_an_sdist(repository):
    """Its commit is in a file; that of a repository around it does not count."""
    sources = repository / "unpacked"
    sources.mkdir()
    assert revision.read(sources) == ""
    revision.write(sources, "0123abc+dirty")
    assert revision.read(sources) == "0123abc+dirty"


def test_a_checkout_without_git(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert revision.read(repository) == ""


def test_a_checkout_that_git_cannot_read(tmp_path):
    (tmp_path / ".git").write_text("gitdir: nowhere")
    assert revision.read(tmp_path) == ""
