# SPDX-License-Identifier: Apache-2.0
"""What the training toolkit tells a script: its arguments, and the variables ``SM_*``.

All of it follows from the three JSON files of the job. ``tools/compare_toolkit.py`` compares it
with what the public toolkit, sagemaker-training 5.1.4, makes of the same files.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagemaker_tensorflow._local.folders.host_folders import Layout
from sagemaker_tensorflow._local.request import request as requests

Variables = dict[str, str]

_PLATFORM_PREFIX = "sagemaker_"
# The toolkit's own; all others with the prefix are for frameworks.
_TOOLKIT_HYPERPARAMETERS = {
    "_tuning_objective_metric",
    "default_user_module_name",
    "sagemaker_container_log_level",
    "sagemaker_enable_cloudwatch_metrics",
    "sagemaker_job_name",
    "sagemaker_program",
    "sagemaker_region",
    "sagemaker_s3_output",
    "sagemaker_submit_directory",
}
# Each makes the instance group one whose hosts work together.
_CLUSTER_HYPERPARAMETERS = (
    "sagemaker_distributed_dataparallel_enabled",
    "sagemaker_mpi_enabled",
    "sagemaker_multi_worker_mirrored_strategy_enabled",
    "sagemaker_parameter_server_enabled",
    "sagemaker_pytorch_ddp_enabled",
    "sagemaker_pytorch_xla_multi_worker_enabled",
    "sagemaker_torch_distributed_enabled",
)
_INFO = 20
_DRIVER_SECONDS = 60.0


def arguments(hyperparameters: Mapping[str, str]) -> list[str]:
    """Returns the script's arguments: ``--name value`` for each that is not the platform's."""
    result = []
    for name, value in sorted(_of_user(_decoded(hyperparameters)).items()):
        result.append(f"--{name}" if len(name) > 1 else f"-{name}")
        if isinstance(value, dict):
            result.append(",".join(f"{key}={item}" for key, item in sorted(value.items())))
        else:
            result.append("" if value is None else str(value))
    return result


def variables(
    layout: Layout,
    hyperparameters: Mapping[str, str],
    input_data_config: Mapping[str, Any],
    resource_config: Mapping[str, Any],
    inherited: Mapping[str, str],
) -> Variables:
    """Returns the variables that a script has beside those of its surroundings.

    Args:
        layout: The host's folders.
        hyperparameters: What ``hyperparameters.json`` holds.
        input_data_config: What ``inputdataconfig.json`` holds.
        resource_config: What ``resourceconfig.json`` holds.
        inherited: The surroundings.
    """
    decoded = _decoded(hyperparameters)
    values = _values(layout, decoded, input_data_config, resource_config, inherited)
    user = values["hyperparameters"]
    named = {
        **{name: values[name] for name in _NAMED},
        "framework_params": values["additional_framework_parameters"],
        "hps": user,
        "channels": sorted(values["channel_input_dirs"]),
        "training_env": values,
        "user_args": arguments(hyperparameters),
        **{f"channel_{name}": path for name, path in values["channel_input_dirs"].items()},
        **{f"hp_{name}": value for name, value in user.items()},
    }
    python_path = [str(layout.code_dir), *filter(None, [inherited.get("PYTHONPATH")])]
    return {
        **{f"SM_{name.upper()}": _as_text(value) for name, value in named.items()},
        "CURRENT_HOST": values["current_host"],
        "SAGEMAKER_JOB_NAME": _as_text(decoded.get("sagemaker_job_name")),
        "SAGEMAKER_REGION": _as_text(
            decoded.get("sagemaker_region", inherited.get("AWS_DEFAULT_REGION"))
        ),
        "SAGEMAKER_BASE_DIR": str(layout.base),
        "PYTHONPATH": os.pathsep.join(python_path),
    }


# Those of _values whose variable has the same name.
_NAMED = (
    "current_host",
    "current_instance_group",
    "current_instance_group_hosts",
    "current_instance_type",
    "distribution_instance_groups",
    "framework_module",
    "hosts",
    "input_config_dir",
    "input_data_config",
    "input_dir",
    "instance_groups",
    "instance_groups_dict",
    "is_hetero",
    "log_level",
    "model_dir",
    "module_dir",
    "module_name",
    "network_interface_name",
    "num_cpus",
    "num_gpus",
    "num_neurons",
    "output_data_dir",
    "output_dir",
    "output_intermediate_dir",
    "resource_config",
    "user_entry_point",
)


def _values(
    layout: Layout,
    hyperparameters: Mapping[str, Any],
    input_data_config: Mapping[str, Any],
    resource_config: Mapping[str, Any],
    inherited: Mapping[str, str],
) -> dict[str, Any]:
    """Returns what ``SM_TRAINING_ENV`` holds."""
    framework = {
        name: value
        for name, value in hyperparameters.items()
        if name.startswith(_PLATFORM_PREFIX) and name not in _TOOLKIT_HYPERPARAMETERS
    }
    hosts = resource_config["hosts"]
    groups = {group["instance_group_name"]: group for group in resource_config["instance_groups"]}
    group = resource_config["current_group_name"]
    enabled = any(framework.get(name) for name in _CLUSTER_HYPERPARAMETERS)
    together = framework.get("sagemaker_distribution_instance_groups", [group] if enabled else [])
    workers = [host for name in groups if name in together for host in groups[name]["hosts"]]
    master = (workers or hosts)[0]
    program = str(hyperparameters["sagemaker_program"])
    return {
        "additional_framework_parameters": framework,
        "channel_input_dirs": {name: str(layout.data_dir / name) for name in input_data_config},
        "current_host": resource_config["current_host"],
        "current_instance_group": group,
        "current_instance_group_hosts": groups[group]["hosts"],
        "current_instance_type": resource_config["current_instance_type"],
        "distribution_hosts": workers,
        "distribution_instance_groups": together,
        "framework_module": inherited.get("SAGEMAKER_TRAINING_MODULE"),
        "hosts": hosts,
        "hyperparameters": _of_user(hyperparameters),
        "input_config_dir": str(layout.config_dir),
        "input_data_config": input_data_config,
        "input_dir": str(layout.base / "input"),
        "instance_groups": list(groups),
        "instance_groups_dict": groups,
        "is_hetero": len(groups) > 1,
        "is_master": resource_config["current_host"] == master,
        # Of a library for PyTorch.
        "is_modelparallel_enabled": None,
        "is_smddpmprun_installed": False,
        "is_smddprun_installed": False,
        "job_name": inherited.get("TRAINING_JOB_NAME"),
        "log_level": hyperparameters.get("sagemaker_container_log_level", _INFO),
        "master_hostname": master,
        "model_dir": str(layout.model_dir),
        "module_dir": str(hyperparameters.get(requests.SUBMIT_DIRECTORY, str(layout.code_dir))),
        "module_name": program.removesuffix(".py"),
        "network_interface_name": resource_config["network_interface_name"],
        "num_cpus": os.cpu_count(),
        "num_gpus": _gpus(),
        "num_neurons": 0,
        "output_data_dir": str(layout.output_data_dir),
        "output_dir": str(layout.output_dir),
        "output_intermediate_dir": str(layout.output_dir / "intermediate"),
        "resource_config": resource_config,
        "topology": [],
        "user_entry_point": program,
    }


def _decoded(hyperparameters: Mapping[str, str]) -> dict[str, Any]:
    return {name: requests.decoded(value) for name, value in hyperparameters.items()}


def _of_user(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in hyperparameters.items()
        if not name.startswith(_PLATFORM_PREFIX) and name not in _TOOLKIT_HYPERPARAMETERS
    }


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


@functools.cache
def _gpus() -> int:
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    try:
        listed = subprocess.run(  # noqa: S603
            [program, "--list-gpus"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_DRIVER_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):  # a driver that hangs is as good as none
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def command(python: str, program: str, code_dir: Path) -> list[str]:
    """Returns how ``program`` is run, without its arguments; by the toolkit's rules."""
    if (code_dir / "setup.py").is_file():
        return [python, "-m", program.removesuffix(".py")]
    if program.endswith(".py"):
        return [python, "--", program]
    return ["/bin/sh", "-c", f'./{program} "$@"', program]
