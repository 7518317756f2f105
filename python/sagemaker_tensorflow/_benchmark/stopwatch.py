# SPDX-License-Identifier: Apache-2.0
"""What a call takes."""

from __future__ import annotations

import dataclasses
import resource
import time
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a call took.

    Attributes:
        seconds: By the clock.
        cpu_seconds: User and system time of this process and of its ended children.
    """

    seconds: float
    cpu_seconds: float


def cost(call: Callable[[], object]) -> Cost:
    """Calls ``call`` and returns what that took."""
    cpu_begun = _cpu_seconds()
    begun = time.perf_counter()
    call()
    seconds = time.perf_counter() - begun
    return Cost(seconds, _cpu_seconds() - cpu_begun)


def _cpu_seconds() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
