# SPDX-License-Identifier: Apache-2.0
"""Becomes one rank of an MPI job: the script, with the variables of the host that it belongs to.

``mpirun`` runs it. Its argument is a JSON file: ``processes_per_host``, and for each host
``command``, ``cwd`` and ``environment``. Ranks go to hosts in blocks, as in the service.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Replaces this process by the script."""
    ranks = json.loads(Path(sys.argv[1]).read_text(encoding="ascii"))
    rank = int(os.environ["OMPI_COMM_WORLD_RANK"])
    host = ranks["hosts"][rank // ranks["processes_per_host"]]
    mpi = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("OMPI_", "PMIX_", "PRTE_", "OPAL_"))
    }
    os.chdir(host["cwd"])
    program = host["command"][0]
    os.execve(program, host["command"], {**host["environment"], **mpi})  # noqa: S606


if __name__ == "__main__":
    main()
