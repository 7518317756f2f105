# SPDX-License-Identifier: Apache-2.0
"""How the scripts of several hosts find each other, all on the loopback interface.

TensorFlow's and Open MPI's work begins where this ends. The service gives each task a fixed port
(2222, 2223, 8890) on a host of its own; here, each has a port that was free when the job began.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagemaker_tensorflow._local.request.job import Job
from sagemaker_tensorflow._local.script import mpi_rank

_LOOPBACK = "127.0.0.1"


class ClusterError(Exception):
    """The hosts' scripts cannot be made a cluster; the message says what is missing."""


def tensorflow_configs(job: Job) -> tuple[list[str | None], list[str]]:
    """Returns each host's ``TF_CONFIG``, and one for the parameter server beside each script.

    They are JSON texts, as the TensorFlow toolkit makes them. No ``TF_CONFIG`` is ``None``.
    """
    count = len(job.hosts)
    if job.cluster == "multi_worker_mirrored":
        cluster = {"worker": _free_addresses(count)}
        return [_config(cluster, "worker", index) for index in range(count)], []
    if job.cluster == "parameter_server" and count > 1:
        addresses = _free_addresses(2 * count)
        cluster = {
            "master": addresses[:1],
            "ps": addresses[count:],
            "worker": addresses[1:count],
        }
        scripts = [_config(cluster, "worker", index) for index in range(count - 1)]
        servers = [_config(cluster, "ps", index) for index in range(count)]
        return [_config(cluster, "master", 0), *scripts], servers
    return [None] * count, []


def parameter_server_command() -> list[str]:
    """Returns how a parameter server is run; its ``TF_CONFIG`` says which."""
    return [sys.executable, "-m", "sagemaker_tensorflow._local.script.parameter_server"]


def mpi_command(job: Job, ranks_file: Path) -> list[str]:
    """Returns how ``mpirun`` runs the script on all hosts; see ``mpi_rank``.

    Raises:
        ClusterError: If there is no ``mpirun``.
    """
    mpirun = shutil.which("mpirun")
    if mpirun is None:
        raise ClusterError(
            "HyperParameters.sagemaker_mpi_enabled: there is no mpirun; install Open MPI: "
            "apt-get install openmpi-bin"
        )
    processes = len(job.hosts) * job.processes_per_host
    return [
        mpirun,
        "--allow-run-as-root",
        "--host",
        f"localhost:{processes}",
        "-np",
        str(processes),
        "--bind-to",
        "none",
        "--map-by",
        "slot",
        *shlex.split(job.mpi_options),
        sys.executable,
        "-I",
        mpi_rank.__file__,
        str(ranks_file),
    ]


def _config(cluster: Mapping[str, list[str]], task: str, index: int) -> str:
    config: dict[str, Any] = {
        "cluster": cluster,
        "environment": "cloud",
        "task": {"index": index, "type": task},
    }
    return json.dumps(config)


def _free_addresses(count: int) -> list[str]:
    with contextlib.ExitStack() as stack:
        # All at once, so that they are different.
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((_LOOPBACK, 0))
        return [f"{_LOOPBACK}:{one.getsockname()[1]}" for one in sockets]
