# SPDX-License-Identifier: Apache-2.0
"""What was found in objects, for people and as JSON."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sagemaker_tensorflow._datatools.scan import Findings, Group, ObjectSummary, Problem, describe
from sagemaker_tensorflow._datatools.sizes import Sizes

_BAR_CELLS = 30
_MAX_LISTED = 12


def print_findings(findings: Findings, console: Console) -> None:
    """Prints everything but problems and warnings."""
    for group in findings.groups.values():
        _print_group(group, console, complete=findings.complete)


def problem_lines(findings: Findings) -> Iterator[str]:
    """Yields what is wrong, and what may be, the first of each in full."""
    for problem in findings.problems[:_MAX_LISTED]:
        yield f"error: {problem.message}"
    if len(findings.problems) > _MAX_LISTED:
        yield f"error: and {len(findings.problems) - _MAX_LISTED:,} more problems: --json lists all"
    for warning in findings.warnings[:_MAX_LISTED]:
        yield f"warning: {warning}"
    if len(findings.warnings) > _MAX_LISTED:
        yield f"warning: and {len(findings.warnings) - _MAX_LISTED:,} more: --json lists all"
    if findings.empty:
        more = f" and {len(findings.empty) - 1:,} more" if len(findings.empty) > 1 else ""
        yield f"note: '{findings.empty[0]}'{more} without any record"


def _print_group(group: Group, console: Console, *, complete: bool) -> None:
    console.print(Text(_title(group), style="bold"))
    counts = Table.grid(padding=(0, 2))
    at_least = "" if complete else ", the first ones only (--max-records)"
    counts.add_row("records", f"{group.sizes.count:,}{at_least}")
    stored = sum(one.size for one in group.objects)
    counts.add_row("bytes", _stored_text(stored, group, complete=complete))
    if group.sizes.count:
        counts.add_row("record size", _sizes_text(group.sizes))
    console.print(counts)
    if 1 < len(group.objects) <= _MAX_LISTED:
        console.print(_objects_table(group.objects))
    bins = group.sizes.histogram()
    if len(bins) > 1:
        console.print(_histogram(bins))
    if group.are_examples:
        console.print(Text(_features_title(group), style="bold"), soft_wrap=True)
        console.print(_features_table(group))
    else:
        for number, record in enumerate(group.first_records):
            console.print(Text(f"record {number}: {record}"), soft_wrap=True)
    console.print()
    if group.sizes.count:
        # As it is to be pasted: never wrapped, no colours.
        console.print(Text(code(group)), soft_wrap=True)
        console.print()


def code(group: Group) -> str:
    """Returns the Python code that reads such records from a channel."""
    arguments = f'channel="training", record_format="{group.encoding.record_format}"'
    if group.encoding.compression:
        arguments += f', compression_type="{group.encoding.compression}"'
    if group.encoding.record_format == "RecordIO" and group.recordio_parts != "joined":
        arguments += f', recordio_parts="{group.recordio_parts}"'
    lines = ["import tensorflow as tf"] if group.are_examples else []
    lines += ["from sagemaker_tensorflow import PipeModeDataset", ""]
    if group.are_examples:
        lines += [group.table.code(), ""]
    lines.append(f"ds = PipeModeDataset({arguments}).batch(64)")
    if group.are_examples:
        lines.append("ds = ds.map(lambda records: tf.io.parse_example(records, FEATURES))")
    return "\n".join(lines)


def _title(group: Group) -> str:
    objects = (
        group.objects[0].name if len(group.objects) == 1 else f"{len(group.objects):,} objects"
    )
    what = "tf.train.Example" if group.are_examples else ""
    return f"{objects}: {describe(group.encoding)}" + (f" of {what}" if what else "")


def _stored_text(stored: int, group: Group, *, complete: bool) -> str:
    text = human_bytes(stored)
    if group.encoding.compression and complete and stored:
        text += f", {human_bytes(group.sizes.total)} of records when inflated"
    return text


def _sizes_text(sizes: Sizes) -> str:
    if sizes.least == sizes.most:
        return f"{sizes.least:,} bytes each"
    return f"{sizes.least:,} to {sizes.most:,} bytes, {sizes.mean:,.0f} on average"


def _objects_table(objects: list[ObjectSummary]) -> Table:
    # What all names begin with is said once.
    prefix = os.path.commonprefix([one.name for one in objects])  # noqa: RUF071 - cut at "/" below
    folder = prefix[: prefix.rfind("/") + 1]
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(Text(f"object in {folder}" if folder else "object"))
    for heading in ("bytes", "records"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in objects:
        table.add_row(Text(one.name.removeprefix(folder)), f"{one.size:,}", f"{one.sizes.count:,}")
    return table


def _histogram(bins: list[tuple[int, int, int]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("bytes of a record", justify="right", no_wrap=True)
    table.add_column("records", justify="right", no_wrap=True)
    table.add_column("")
    most = max(records for _, _, records in bins)
    for least, greatest, records in bins:
        sizes = f"{least:,}" if least == greatest else f"{least:,} to {greatest:,}"
        # Whatever is there is seen.
        bar = "█" * max(round(_BAR_CELLS * records / most), int(records > 0))
        table.add_row(sizes, f"{records:,}", bar)
    return table


def _features_table(group: Group) -> Table:
    examples = group.table.examples
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("feature", "kind"):
        table.add_column(heading)
    for heading in ("values", "in"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("for example", overflow="fold")
    for feature in group.table.features:
        table.add_row(
            Text(repr(feature.name)[1:-1]),
            " or ".join(feature.kinds) or "-",
            feature.counts(),
            "all" if feature.present == examples else f"{feature.present:,}",
            Text(feature.sample_text()),
        )
    return table


def _features_title(group: Group) -> str:
    examples = group.table.examples
    if examples == group.sizes.count:
        return "Features"
    return f"Features of {examples:,} records, the first ones and some of the others"


def to_json(findings: Findings) -> dict[str, Any]:
    """Returns everything as what ``json.dump`` takes."""
    return {
        "complete": findings.complete and not findings.problems,
        "groups": [_group_json(group) for group in findings.groups.values()],
        "empty": findings.empty,
        "problems": [_problem_json(problem) for problem in findings.problems],
        "warnings": findings.warnings,
    }


def _group_json(group: Group) -> dict[str, Any]:
    sizes = group.sizes
    return {
        "record_format": group.encoding.record_format,
        "compression": group.encoding.compression,
        "records": sizes.count,
        "record_bytes": {
            "total": sizes.total,
            "min": sizes.least,
            "mean": sizes.mean,
            "max": sizes.most,
            "histogram": [
                {"min": least, "max": most, "records": records}
                for least, most, records in sizes.histogram()
            ],
        },
        "payload": "tf.train.Example" if group.are_examples else None,
        "examples": group.table.examples if group.are_examples else 0,
        "features": [
            {
                "name": feature.name,
                "kind": feature.kinds[0] if len(feature.kinds) == 1 else feature.kinds or None,
                "min_values": feature.least,
                "max_values": feature.most,
                "present": feature.present,
                "spec": feature.spec(group.table.examples),
            }
            for feature in group.table.features
        ],
        "first_records": [] if group.are_examples else group.first_records,
        "code": code(group),
        "objects": [
            {
                "name": one.name,
                "bytes": one.size,
                "records": one.sizes.count,
                "corrupt_records": one.corrupt,
                "complete": one.complete,
            }
            for one in group.objects
        ],
    }


def _problem_json(problem: Problem) -> dict[str, Any]:
    return {
        "object": problem.data,
        "record": problem.record,
        "byte": problem.byte,
        "message": problem.message,
    }


def human_bytes(count: float) -> str:
    """Returns a number of bytes with three digits and an SI prefix."""
    for prefix, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {prefix}"
    return f"{count:.0f} bytes"
