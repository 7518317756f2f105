# SPDX-License-Identifier: Apache-2.0
"""For which TensorFlow a build is."""

import subprocess
import sys
from pathlib import Path

import pytest
from setup_helpers import BUILD_FOR, make_tensorflow

from build import tensorflows

pytestmark = pytest.mark.long


def find(monkeypatch, *folders):
    monkeypatch.setenv(BUILD_FOR, ":".join(map(str, folders)))
    return tensorflows.find_all()


def test_version_and_place(monkeypatch, tmp_path):
    package = make_tensorflow(tmp_path, "2.18.1")
    [found] = find(monkeypatch, tmp_path)
    assert found == (package, "2.18.1")
    assert found.minor == "2.18"


def test_several_in_their_order_and_each_once(monkeypatch, tmp_path):
    folders = [tmp_path / version for version in ("2.21.0", "2.14.1")]
    for folder in folders:
        make_tensorflow(folder, folder.name)
    found = find(monkeypatch, *folders, "", folders[0])
    assert [tensorflow.version for tensorflow in found] == ["2.21.0", "2.14.1"]


def test_the_one_of_this_environment(monkeypatch, tmp_path):
    monkeypatch.delenv(BUILD_FOR, raising=False)
    package = make_tensorflow(tmp_path, "2.18.1")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert tensorflows.find_all() == [(package, "2.18.1")]


def test_an_environment_without_one(monkeypatch, tmp_path):
    monkeypatch.delenv(BUILD_FOR, raising=False)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(tensorflows, "site_packages", lambda: [str(tmp_path)])
    assert tensorflows.find_all() == []


def test_a_distribution_without_metadata(monkeypatch, tmp_path):
    """Left by an installation that was interrupted."""
    make_tensorflow(tmp_path)
    (tmp_path / "left_behind-1.0.dist-info").mkdir()
    [found] = find(monkeypatch, tmp_path)
    assert found.version == "2.21.0"


def test_a_tensorflow_of_two_versions(monkeypatch, tmp_path):
    make_tensorflow(tmp_path)
    other = tmp_path / "tensorflow-2.20.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Name: tensorflow\nVersion: 2.20.0\n")
    (other / "RECORD").write_text("tensorflow/__init__.py,,\n")
    with pytest.raises(SystemExit, match=r"2 TensorFlow versions \(2.20.0, 2.21.0\); reinstall"):
        find(monkeypatch, tmp_path)


def test_none_where_one_is_named(monkeypatch, tmp_path):
    with pytest.raises(SystemExit, match=f"no TensorFlow in {tmp_path}"):
        find(monkeypatch, tmp_path)


@pytest.mark.parametrize(
    ("version", "is_release"),
    [
        ("2.21.0", True),
        ("2.22.0rc0", False),
        ("2.22.0.dev20260101", False),
        ("2.17.0+nv25.2", False),
    ],
)
def test_releases(version, is_release, tmp_path):
    assert tensorflows.TensorFlow(tmp_path, version).is_release is is_release


@pytest.mark.parametrize("system", [True, False])
def test_places_that_an_isolated_build_hides(monkeypatch, tmp_path, system):
    """Those of the Python below a virtual environment, and the user's, if it sees them."""
    options = ["--system-site-packages"] if system else []
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", *options, venv], check=True)
    base = tmp_path / "base" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    user = tmp_path / "user"
    monkeypatch.setattr(sys, "prefix", str(venv))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "base"))
    monkeypatch.setattr("site.getusersitepackages", lambda: str(user))
    places = [Path(place) for place in tensorflows.site_packages()]
    assert (base / "site-packages" in places) is system
    assert (user in places) is system


def test_the_users_place_outside_of_a_virtual_environment(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr("site.getusersitepackages", lambda: str(tmp_path / "user"))
    assert str(tmp_path / "user") in tensorflows.site_packages()
