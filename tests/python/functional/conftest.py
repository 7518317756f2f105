# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that run TensorFlow."""

import pytest
from fork_server import ForkServer


@pytest.fixture(scope="session")
def fork_server():
    """Runs programs that have TensorFlow imported already; see fork_server.py."""
    with ForkServer() as server:
        yield server
