# SPDX-License-Identifier: Apache-2.0
"""Puts results into a Markdown document, so that nobody types a number.

A part of the document belongs to the results from a line ``<!-- begin NAME -->`` to a line
``<!-- end NAME -->``. Names: ``environment``, ``goals``, ``tfrecord`` (all sizes side by side), and
the name of any case.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sagemaker_tensorflow._benchmark import goals, tables
from sagemaker_tensorflow._benchmark.results import Results, Turn
from sagemaker_tensorflow._benchmark.tables import Table

_PART = re.compile(r"(<!-- begin ([\w-]+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)
_TFRECORD_SIZES = {
    "tfrecord-100b": "100 B",
    "tfrecord-1kb": "1 KB",
    "tfrecord-10kb": "10 KB",
    "tfrecord-100kb": "100 KB",
    "tfrecord-1mb": "1 MB",
}


class DocumentError(ValueError):
    """A document asks for what the results do not say."""


def update(document: str, results: Results) -> str:
    """Returns ``document`` with its marked parts made from ``results``.

    Raises:
        DocumentError: If nothing is marked, or what is marked was not measured.
    """
    parts = {
        "environment": _environment,
        "goals": lambda results: tables.of_goals(goals.reached(results)).markdown(),
        "tfrecord": _tfrecord,
        **{case.name: _case(case.name) for case in results.cases},
    }

    def replaced(match: re.Match[str]) -> str:
        begin, name, end = match.groups()
        if name not in parts:
            raise DocumentError(f"the document wants '{name}', which the results do not have")
        return f"{begin}\n{parts[name](results)}\n\n{end}"

    updated, count = _PART.subn(replaced, document)
    if count == 0:
        raise DocumentError("no part of the document lies between <!-- begin NAME --> and its end")
    return updated


def _case(name: str) -> Callable[[Results], str]:
    def markdown(results: Results) -> str:
        (case,) = (case for case in results.cases if case.name == name)
        return tables.of_case(case).markdown()

    return markdown


def _environment(results: Results) -> str:
    where = results.environment
    extensions = where.get("vector extensions")
    busy = goals.busy(results)
    return (
        f"Measured on {where['date'][:10]}: {where['processor']}, "
        f"{f'{extensions}, ' if extensions else ''}{where['cores']} cores, "
        f"Linux {where['kernel']}, Python {where['python']}, TensorFlow {where['tensorflow']}; "
        f"{results.settings['rounds']} rounds of turns of about {results.settings['seconds']:g} s."
        f"{f' {busy}' if busy else ''}"
    )


def _tfrecord(results: Results) -> str:
    """Returns a table of MB/s, and one of CPU time, by contender and size."""
    rates = _by_size(results, lambda turn: turn.megabytes_per_second)
    cpu = _by_size(results, lambda turn: turn.cpu_seconds_per_gigabyte)
    return (
        f"MB/s:\n\n{rates.markdown()}\n\n"
        f"CPU seconds for a GB, without the writer's:\n\n{cpu.markdown()}"
    )


def _by_size(results: Results, value: Callable[[Turn], float]) -> Table:
    columns = []
    for name in _TFRECORD_SIZES:
        result = results.throughput(name)
        if result is None:
            raise DocumentError(f"the document wants '{name}', which was not measured")
        columns.append(result.entries)
    rows = [
        (entries[0].label, *(tables.three_digits(entry.median(value)) for entry in entries))
        for entries in zip(*columns, strict=True)
    ]
    return Table("", ("", *_TFRECORD_SIZES.values()), rows)
