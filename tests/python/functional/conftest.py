# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that run TensorFlow."""

from importlib import metadata

import pytest
from fork_server import ForkServer


@pytest.fixture(scope="session")
def fork_server():
    """Runs programs that have TensorFlow imported already; see fork_server.py."""
    with ForkServer() as server:
        yield server


@pytest.fixture(scope="session")
def keras_2_server(fork_server):
    """The same with Keras 2 as ``tf.keras``, which is TensorFlow's own before 2.16."""
    if metadata.version("keras").startswith("2."):
        yield fork_server
        return
    pytest.importorskip("tf_keras")
    with ForkServer(TF_USE_LEGACY_KERAS="1") as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """A real S3 server; see s3_server.py."""
    from s3_server import S3Server

    server = S3Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.close()
