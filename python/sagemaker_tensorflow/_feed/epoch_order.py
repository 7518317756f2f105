# SPDX-License-Identifier: Apache-2.0
"""Which items a host gets in an epoch, in which order."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sagemaker_tensorflow._storage.objects import Item


def epoch_items(
    items: Sequence[Item],
    epoch: int,
    *,
    shuffle_seed: int | None,
    sharded: bool,
    host_index: int,
    host_count: int,
) -> Sequence[Item]:
    """Returns the items of one host in one epoch.

    As in the service, shuffling comes before sharding: each epoch, a host has another share.

    Args:
        items: All of them, in the order of their listing.
        epoch: From 0.
        shuffle_seed: The same seed gives the same order of an epoch, on every host; ``None``: the
            order is as it was.
        sharded: Whether each host has a share of its own. Shares differ by one item at most; with
            more hosts than items some are empty.
        host_index: From 0.
        host_count: At least 1.
    """
    if shuffle_seed is not None:
        items = random.Random(f"{shuffle_seed} {epoch}").sample(items, len(items))
    return items[host_index::host_count] if sharded else items
