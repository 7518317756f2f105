# SPDX-License-Identifier: Apache-2.0
"""For which TensorFlow ``setup.py`` builds."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SETUP = Path(__file__).resolve().parents[3] / "setup.py"
VARIABLE = "SAGEMAKER_TENSORFLOW_BUILD_FOR"


@pytest.fixture
def setup(monkeypatch):
    """What is defined in ``setup.py``."""
    for module in ("pybind11", "setuptools"):
        pytest.importorskip(module)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(SETUP.parent)
    monkeypatch.setattr(sys, "argv", ["setup.py", "--quiet", "--version"])
    return runpy.run_path(str(SETUP))


def make_tensorflow(folder, version="2.21.0"):
    """A site-packages with a TensorFlow, as far as ``setup.py`` looks at it."""
    package = folder / "tensorflow"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    metadata = folder / f"tensorflow_cpu-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Name: tensorflow-cpu\nVersion: {version}\n")
    (metadata / "RECORD").write_text("tensorflow/__init__.py,,\n")
    return package


def find(setup, monkeypatch, *folders):
    monkeypatch.setenv(VARIABLE, ":".join(map(str, folders)))
    return setup["find_tensorflows"]()


def test_version_and_place(setup, monkeypatch, tmp_path):
    package = make_tensorflow(tmp_path, "2.18.1")
    [found] = find(setup, monkeypatch, tmp_path)
    assert found == (package, "2.18.1")
    assert found.minor == "2.18"


def test_a_distribution_without_metadata(setup, monkeypatch, tmp_path):
    """Left by an installation that was interrupted."""
    make_tensorflow(tmp_path)
    (tmp_path / "left_behind-1.0.dist-info").mkdir()
    [found] = find(setup, monkeypatch, tmp_path)
    assert found.version == "2.21.0"


def test_none_where_one_is_named(setup, monkeypatch, tmp_path):
    with pytest.raises(SystemExit, match=f"no TensorFlow in {tmp_path}"):
        find(setup, monkeypatch, tmp_path)


@pytest.mark.parametrize("version", ["2.22.0rc0", "2.22.0.dev20260101", "2.17.0+nv25.2"])
def test_what_is_no_release_is_left_to_build_op(setup, monkeypatch, tmp_path, version):
    """A library is named after the minor: the final release would take it for its own."""
    from setuptools.dist import Distribution

    make_tensorflow(tmp_path, version)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    command = setup["BuildWithCMake"](Distribution({"name": "x", "packages": []}))
    warnings = []
    monkeypatch.setattr(command, "warn", warnings.append)
    command.finalize_options()
    assert command.tensorflows == []
    assert [extension.name for extension in command.distribution.ext_modules] == [setup["NATIVE"]]
    assert f"TensorFlow {version} is no release" in warnings[0]
    assert "build-op" in warnings[0]


@pytest.mark.parametrize("system", [True, False])
def test_places_that_an_isolated_build_hides(setup, monkeypatch, tmp_path, system):
    """Those of the Python below a virtual environment, and the user's, if it sees them."""
    options = ["--system-site-packages"] if system else []
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", *options, venv], check=True)
    base = tmp_path / "base" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    user = tmp_path / "user"
    monkeypatch.setattr(sys, "prefix", str(venv))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "base"))
    monkeypatch.setattr("site.getusersitepackages", lambda: str(user))
    places = [Path(place) for place in setup["site_packages"]()]
    assert (base / "site-packages" in places) is system
    assert (user in places) is system


def test_the_users_place_outside_of_a_virtual_environment(setup, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr("site.getusersitepackages", lambda: str(tmp_path / "user"))
    assert str(tmp_path / "user") in setup["site_packages"]()
