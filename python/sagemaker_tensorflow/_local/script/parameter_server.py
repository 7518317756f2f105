# SPDX-License-Identifier: Apache-2.0
"""The parameter server that the service runs beside each script; it runs until it is killed."""

from __future__ import annotations

import json
import os


def main() -> None:
    """Serves, as ``TF_CONFIG`` says."""
    import tensorflow as tf

    config = json.loads(os.environ["TF_CONFIG"])
    server = tf.distribute.Server(
        tf.train.ClusterSpec(config["cluster"]),
        job_name=config["task"]["type"],
        task_index=config["task"]["index"],
        # The script is to have the GPUs.
        config=tf.compat.v1.ConfigProto(device_count={"GPU": 0}),
    )
    server.join()


if __name__ == "__main__":
    main()
