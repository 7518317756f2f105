# SPDX-License-Identifier: Apache-2.0
"""Progress in words and numbers that people read."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from sagemaker_tensorflow._feed.channel_history import Row, Sample

# Of the time, and in seconds: from here on, waiting for the source is worth a word.
_STARVED = 0.2
_STARVED_SECONDS = 5.0
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB", "EB")


def size(count: float) -> str:
    """Returns a number of bytes with three digits and a unit."""
    units = iter(_UNITS)
    unit = next(units)
    while count >= 999.5:
        count /= 1000
        unit = next(units)
    return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.3g} {unit}"


def rate_text(bytes_per_second: float) -> str:
    """Returns a rate with three digits and a unit."""
    return f"{size(bytes_per_second)}/s"


def duration(seconds: float) -> str:
    """Returns a time: tenths of seconds below a minute, then minutes, then hours."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def label(row: Row, rows: Sequence[Row]) -> str:
    """Returns the name of a row's channel, and of its host if there are several."""
    several = len({one.host for one in rows}) > 1
    return f"{row.host} {row.channel.name}" if several else row.channel.name


def epochs(row: Row) -> str:
    """Returns how many epochs were read, and how many of them only in part."""
    progress = row.progress
    if row.channel.mode != "Pipe":
        return "-"
    count = progress.epochs_finished + progress.epochs_closed_early
    if not progress.epochs_closed_early:
        return str(count)
    return f"{count} ({progress.epochs_closed_early} closed early)"


def state(row: Row) -> str:
    """Returns what a channel does now, or who waits for whom."""
    if row.channel.mode != "Pipe":
        doing = "filling the folder" if is_filling(row) else "files in a folder"
        return f"{row.channel.mode} mode: {doing}"
    return row.progress.state


def is_filling(row: Row) -> bool:
    """Whether the folder of a channel in File or FastFile mode is not complete yet."""
    return row.channel.mode != "Pipe" and row.progress.state != "stopped"


def never_opened(row: Row) -> bool:
    """Whether the script has read nothing of a channel."""
    progress = row.progress
    begun = progress.epochs_finished or progress.epochs_closed_early or progress.bytes_written
    return row.channel.mode == "Pipe" and not begun


def share(row: Row) -> str:
    """Returns how much of the epoch is sent, if that is known."""
    progress = row.progress
    if not progress.total_bytes:
        return ""
    return f"{min(100, 100 * progress.epoch_bytes_written // progress.total_bytes)}%"


def remarks(rows: Sequence[Row]) -> list[str]:
    """Returns what somebody should know who does not read tables."""
    result = []
    for row in rows:
        progress = row.progress
        source = progress.seconds_waiting_for_source
        if never_opened(row):
            result.append(f"channel '{label(row, rows)}' was never opened by the script")
        elif source > _STARVED * (active := active_seconds(row)) and source > _STARVED_SECONDS:
            result.append(
                f"channel '{label(row, rows)}': the script could have had its data sooner; "
                f"{source / active:.0%} of the time went into fetching or inflating it"
            )
    return result


def active_seconds(row: Row) -> float:
    """Returns how long the channel did, or waited for, anything."""
    progress = row.progress
    return (
        progress.seconds_writing
        + progress.seconds_waiting_for_reader
        + progress.seconds_waiting_for_source
    )


def rate(before: Sample, now: Sample, index: int) -> float:
    """Returns a row's bytes per second between two samples."""
    seconds = now.seconds - before.seconds
    if seconds <= 0:
        return 0.0
    written = now.rows[index].progress.bytes_written - before.rows[index].progress.bytes_written
    return written / seconds


SUMMARY_COLUMNS = (
    "channel",
    "epochs",
    "sent",
    "rate",
    "sending",
    "waited for script",
    "waited for source",
)


def summary_rows(rows: Sequence[Row]) -> list[list[str]]:
    """Returns what each channel did, by ``SUMMARY_COLUMNS``."""
    result = []
    for row in rows:
        progress = row.progress
        if row.channel.mode != "Pipe":
            laid_out = size(progress.bytes_written)
            result.append([label(row, rows), f"{row.channel.mode} mode", laid_out, *[""] * 4])
            continue
        active = active_seconds(row)
        result.append(
            [
                label(row, rows),
                "never opened" if never_opened(row) else epochs(row),
                size(progress.bytes_written),
                rate_text(progress.bytes_written / active) if active else "-",
                duration(progress.seconds_writing),
                duration(progress.seconds_waiting_for_reader),
                duration(progress.seconds_waiting_for_source),
            ]
        )
    return result


def summary(rows: Sequence[Row]) -> Table:
    """Returns the table of all channels at the end of a job."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(SUMMARY_COLUMNS):
        # Where the terminal is narrow, words are wrapped: figures that are cut off say nothing.
        table.add_column(name, justify="right" if number else "left", no_wrap=number == 0)
    for cells in summary_rows(rows):
        table.add_row(*cells)
    return table
