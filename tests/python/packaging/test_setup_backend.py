# SPDX-License-Identifier: Apache-2.0
"""The build backend, and pip's ``--config-settings``."""

import os

import pytest

pytest.importorskip("setuptools")

from build import backend

pytestmark = pytest.mark.long

OPTION = "SAGEMAKER_TENSORFLOW_MKLDNN"


@pytest.mark.parametrize("hook", ["build_wheel", "build_editable"])
@pytest.mark.parametrize(
    ("settings", "theirs", "ours"),
    [
        (None, {}, None),
        ({"--global-option": "--quiet"}, {"--global-option": "--quiet"}, None),
        ({OPTION: "OFF", "editable_mode": "strict"}, {"editable_mode": "strict"}, "OFF"),
    ],
)
def test_our_option_goes_to_the_environment(monkeypatch, hook, settings, theirs, ours):
    """And setuptools gets all others."""
    # Set first, so that it is as before in the end.
    monkeypatch.setenv(OPTION, "")
    monkeypatch.delenv(OPTION)

    def build(folder, settings, metadata):
        return folder, settings, metadata, os.environ.get(OPTION)

    # The result is the path of the wheel, as a string.
    monkeypatch.setattr(backend.build_meta, hook, build)
    built = getattr(backend, hook)("folder", settings, "metadata")
    assert built == str(("folder", theirs, "metadata", ours))
