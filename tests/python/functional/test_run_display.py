# SPDX-License-Identifier: Apache-2.0
"""What ``pipemode run`` shows on a terminal, and in its report."""

import fcntl
import itertools
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tarfile
import termios
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console
from run_helpers import Command, write_script
from sagemaker_tensorflow._feed.channel import Channel
from sagemaker_tensorflow._feed.channel_history import History, Row
from sagemaker_tensorflow._feed.channel_progress import ChannelProgress
from sagemaker_tensorflow._local.show import display, html_report, wording
from sagemaker_tensorflow.records import RecordWriter

pytestmark = pytest.mark.long


@pytest.fixture
def terminal():
    """Both ends of a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    yield ours, theirs
    os.close(ours)


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data"
    with RecordWriter(path, "TFRecord") as writer:
        for _ in range(1000):
            writer.write(bytes(1000))
    return path


def run(terminal, folder, *arguments, stdout=None):
    """Runs a command on the terminal; returns its exit status and all that was written there."""
    ours, theirs = terminal
    process = subprocess.Popen(
        [sys.executable, "-m", "sagemaker_tensorflow", "run", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm-256color"},
        stdin=subprocess.DEVNULL,
        stdout=theirs if stdout is None else stdout,
        stderr=theirs,
    )
    os.close(theirs)
    shown = read_all(ours)
    return process.wait(), shown


def read_all(terminal):
    """All that is written there until nobody has the other end any more."""
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:
            return shown
        shown += piece


ODD_OUTPUT = r"""
for piece in (b"first\n", b"\xff\xfe bytes\n", "\u00fc \U0001f600\n".encode(),
              b"\x1b[31mred\x1b[0m [bold]not markup[/bold] :smile: 123\n", b"half ", b"line\n",
              b"10%\r", b"100%\n", b"no end of line"):
    os.write(1, piece)
    time.sleep(0.05)
os.write(2, b"to stderr\n")
"""


def test_output_passes_through_the_live_table(terminal, tmp_path, data):
    script = write_script(tmp_path, "read()\n" + ODD_OUTPUT + "read(); os.write(1, b'the end')")
    status, shown = run(terminal, tmp_path, script, f"--channel=training={data}", "--job-name=j")
    assert status == 0, shown
    written = [
        b"first",
        b"\xff\xfe bytes",
        "\u00fc \U0001f600".encode(),
        b"\x1b[31mred\x1b[0m [bold]not markup[/bold] :smile: 123",
        b"half line",
        b"10%\r100%",
        b"no end of lineto stderr",
        b"the end",
    ]
    place = 0
    for line in written:
        found = shown.find(line + b"\r\n", place)  # the terminal adds the \r
        assert found >= 0, (line, shown[place:])
        place = found + len(line)
    assert b"training" in shown[:place]  # the table, meanwhile
    assert b"j: completed in" in shown[place:]
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l")  # the cursor is back


def test_redirected_output_is_the_same_bytes(terminal, tmp_path, data):
    script = write_script(tmp_path, "read()\n" + ODD_OUTPUT)
    with (tmp_path / "out").open("wb") as out:
        status, shown = run(terminal, tmp_path, script, f"--channel=training={data}", stdout=out)
    assert status == 0, shown
    assert (tmp_path / "out").read_bytes() == (
        b"first\n\xff\xfe bytes\n" + "\u00fc \U0001f600\n".encode() + b"\x1b[31mred\x1b[0m "
        b"[bold]not markup[/bold] :smile: 123\nhalf line\n10%\r100%\nno end of line"
    )
    assert b"to stderr\r\n" in shown


def test_place_of_an_error_below_the_live_table(terminal, tmp_path, data):
    content = bytearray(data.read_bytes())
    content[5 * 1016 + 12] ^= 1
    data.write_bytes(content)
    status, shown = run(
        terminal, tmp_path, write_script(tmp_path, "read()"), f"--channel=training={data}"
    )
    assert status == 1
    assert b"record 5 at byte 5080: " in shown
    last = shown.rstrip().rpartition(b"\r\n")[2]
    assert last.endswith(
        b"byte 5080 of the stream is byte 5080 of %b (object 1 of 1)" % bytes(data)
    )


def test_much_output(terminal, tmp_path):
    script = write_script(tmp_path, "for n in range(20000): print(n)")
    status, shown = run(terminal, tmp_path, script, "--env=PYTHONUNBUFFERED=")
    assert status == 0
    numbers = [int(line) for line in re.findall(rb"(?<![\d.])(\d+)\r\n", shown)]
    assert [n for n in numbers if n < 20000] == list(range(20000))


SAVES = """
def save(*_):
    (model / "saved").write_text("yes")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
Path(HERE, "ready").write_text("")
time.sleep(1000)
"""


def saved_model(folder):
    with tarfile.open(folder / "j" / "output" / "model.tar.gz") as archive:
        return archive.extractfile("saved").read()


def test_closing_the_terminal_ends_the_job_and_keeps_its_model(terminal, tmp_path):
    ours, theirs = terminal
    command = Command(
        tmp_path,
        write_script(tmp_path, SAVES),
        "--job-name=j",
        stdout=theirs,
        stderr=theirs,
        preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    with command:
        command.wait_for_file("ready")
        os.dup2(os.open(os.devnull, os.O_RDWR), ours)  # closed, but for the fixture
        assert command.process.wait(60) == 0
        command.assert_nothing_is_left()
    assert saved_model(tmp_path) == b"yes"


def test_nobody_reads_standard_error(tmp_path):
    reader, writer = os.pipe()
    command = Command(tmp_path, write_script(tmp_path, SAVES), "--job-name=j", stderr=writer)
    os.close(writer)
    with command:
        command.wait_for_file("ready")
        os.close(reader)
        command.send(signal.SIGTERM)
        assert command.process.wait(60) == 0
        command.assert_nothing_is_left()
    assert saved_model(tmp_path) == b"yes"


@pytest.mark.parametrize("status", [0, 3])
def test_standard_error_is_a_full_disk(tmp_path, status):
    text = f"(model / 'saved').write_text('yes'); sys.exit({status})"
    with Path("/dev/full").open("w") as full:
        command = Command(
            tmp_path, write_script(tmp_path, text), "--job-name=j", "--report=r.html", stderr=full
        )
    with command:
        assert command.process.wait(60) == status
        command.assert_nothing_is_left()
    assert saved_model(tmp_path) == b"yes"
    assert (tmp_path / "r.html").exists()


def row(seconds=0.0, name="training", host="algo-1", mode="Pipe", **progress):
    return Row(host, Channel(name, "/data", mode=mode), ChannelProgress(**progress))


def test_lines_where_there_is_no_terminal(capfd):
    with display.create("title") as shown:
        assert isinstance(shown, display.PlainDisplay)
        for tenth in range(250):
            seconds = tenth / 10
            shown.show(seconds, [row(bytes_written=int(seconds * 2e6), state="sending")])
        shown.say("[bold]words")
    output, errors = capfd.readouterr()
    assert output == ""
    assert errors.splitlines() == [
        "pipemode: 10.0 s  training: epoch 0, 20 MB sent, 2 MB/s, sending",
        "pipemode: 20.0 s  training: epoch 0, 40 MB sent, 2 MB/s, sending",
        "pipemode: [bold]words",
    ]


def test_filling_a_folder_is_shown_and_then_the_clock_begins_anew(capfd):
    filling = {"mode": "File", "total_bytes": 40_000_000}
    with display.create("title") as shown:
        for tenth in range(150):
            rows = [
                row(bytes_written=tenth * 200_000, epoch_bytes_written=tenth * 200_000, **filling)
            ]
            shown.show(tenth / 10, rows)
        for tenth in range(150):
            shown.show(tenth / 10, [row(mode="File", state="stopped", bytes_written=40_000_000)])
    assert capfd.readouterr().err.splitlines() == [
        "pipemode: 10.0 s  training: 20 MB 50%, 2 MB/s, File mode: filling the folder"
    ]


def test_live_table_while_a_folder_is_filled(terminal):
    ours, theirs = terminal
    console = Console(file=os.fdopen(theirs, "w"), force_terminal=True, width=100)
    with display.LiveDisplay(console, "title") as shown:
        for seconds in (8.0, 9.0):
            count = int(seconds * 1e6)
            filling = row(
                mode="File", bytes_written=count, epoch_bytes_written=count, total_bytes=10**7
            )
            shown.show(seconds, [filling])
        shown.show(0.1, [row(mode="File", state="stopped")])
    console.file.close()
    text = read_all(ours)
    assert b"90%" in text
    assert b"1 MB/s" in text
    assert b"File mode: filling the folder" in text
    assert b"File mode: files in a folder" in text


def test_summary():
    rows = [
        row(
            epochs_finished=2,
            epochs_closed_early=1,
            bytes_written=3_000_000,
            seconds_writing=2.0,
            seconds_waiting_for_source=1.0,
        ),
        row(name="files", mode="File", bytes_written=12),
        row(name="other", seconds_waiting_for_reader=3700.0),
    ]
    cells = wording.summary_rows(rows)
    assert cells[0] == [
        "training",
        "3 (1 closed early)",
        "3 MB",
        "1 MB/s",
        "2.0 s",
        "0.0 s",
        "1.0 s",
    ]
    assert cells[1][:3] == ["files", "File mode", "12 B"]
    assert cells[2][1] == "never opened"
    assert cells[2][5] == "1:01:40 h"
    console = Console(width=120)
    with console.capture() as captured:
        console.print(wording.summary(rows))
    assert "3 (1 closed early)" in captured.get()
    console = Console(width=70)
    with console.capture() as captured:
        console.print(wording.summary(rows))
    assert "…" not in captured.get()
    assert max(map(len, captured.get().splitlines())) <= 70


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (1234567, "1.23 MB"),
        (99_960_000, "100 MB"),
        (999_600_000, "1 GB"),
        (5e18, "5 EB"),
    ],
)
def test_sizes(count, text):
    assert wording.size(count) == text


def test_remarks():
    rows = [
        row(epochs_finished=1, seconds_waiting_for_source=6.0, seconds_waiting_for_reader=6.0),
        row(name="fast", epochs_finished=1, seconds_waiting_for_reader=60.0),
        row(name="short", epochs_finished=1, seconds_waiting_for_source=1.0),
        row(name="other"),
    ]
    starved, never = wording.remarks(rows)
    assert "channel 'training': the script could have had its data sooner; 50% of" in starved
    assert never == "channel 'other' was never opened by the script"


def test_totals_begin_with_the_script():
    history = History()
    assert history.totals == []
    history.add(0.0, [row(seconds_waiting_for_source=3.0, bytes_written=7)])
    history.add(9.0, [row(seconds_waiting_for_source=5.0, bytes_written=9)], last=True)
    [total] = history.totals
    assert total.progress.seconds_waiting_for_source == 2.0
    assert total.progress.bytes_written == 9


def test_history_is_bounded_and_even():
    history = History()
    for tenth in range(100_000):
        history.add(tenth / 10, [row(bytes_written=tenth)])
    history.add(10_000.0, [row(bytes_written=100_000)], last=True)
    times = [sample.seconds for sample in history.samples]
    assert len(times) <= 1201
    assert times[0] == 0
    assert times[-1] == 10_000.0
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert max(gaps) < 4 * min(gaps[:-1])


def test_plots_are_valid_and_tell_the_rates():
    history = History()
    for second in range(100):
        history.add(
            second,
            [
                row(),
                row(
                    name="b",
                    bytes_written=int(5e6 * second),
                    epoch=second // 50,
                    seconds_writing=second / 2,
                    seconds_waiting_for_source=second / 2,
                ),
            ],
        )
    curves = html_report._Curves(history, 1)
    assert curves.rates == pytest.approx([5.0] * 99)
    assert curves.shares["sending"] == pytest.approx([50.0] * 99)
    assert curves.shares["source"] == pytest.approx([50.0] * 99)
    assert curves.epoch_begins == [50]
    plots = [html_report._plots(history, index) for index in (0, 1)]
    names = []
    for plot in plots:
        tree = ElementTree.fromstring(plot[plot.index("<svg") :])
        names.append({element.get("id") for element in tree.iter()} - {None})
    assert not names[0] & names[1]  # they are on one page


def test_plot_of_a_moment():
    history = History()
    history.add(0.0, [row()])
    history.add(0.0, [row(bytes_written=1)], last=True)
    assert "<svg" in html_report._plots(history, 0)


def test_live_table(terminal):
    ours, theirs = terminal
    console = Console(file=os.fdopen(theirs, "w"), force_terminal=True, width=100)
    shown = display.LiveDisplay(console, "title")
    with shown:
        shown.show(1.0, [row(epoch=3, epoch_bytes_written=50, total_bytes=200, bytes_written=9)])
        shown.say("a word")
    console.file.close()
    text = read_all(ours)
    assert b"25%" in text
    assert b"pipemode: a word" in text
