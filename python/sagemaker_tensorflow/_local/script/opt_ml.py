# SPDX-License-Identifier: Apache-2.0
"""Becomes a program that finds a job's folder at ``/opt/ml``, and alone does.

Run as a program, with the folder and the program's command as arguments. It imports the standard
library alone, to be there at once. The folder is mounted in a mount namespace that only the program
and its children have; who is not root gets a user namespace for that, with the same user in it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

OPT_ML = Path("/opt/ml")

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_BIND = 1 << 12
_MS_REC = 1 << 14
_MS_PRIVATE = 1 << 18
_PR_SET_PDEATHSIG = 1
_FAILED = 125  # as env(1) and others that run programs
_LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Mounts, and replaces this process by the program."""
    folder, *command = sys.argv[1:]
    try:
        _leave_namespaces()
        _show(folder)
        os.chdir(OPT_ML / "code")
    except OSError as error:
        print(
            f"cannot show the job's folder as {OPT_ML}: {error}. It takes root, or a system that "
            "allows user namespaces",
            file=sys.stderr,
        )
        sys.exit(_FAILED)
    # A change of user namespace undoes what the parent had asked for.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.execv(command[0], command)  # noqa: S606


def _leave_namespaces() -> None:
    user, group = os.geteuid(), os.getegid()
    if _LIBC.unshare(_CLONE_NEWNS) != 0:
        if _LIBC.unshare(_CLONE_NEWUSER | _CLONE_NEWNS) != 0:
            raise _error("unshare")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    # Nothing of what follows is seen outside.
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)


def _show(folder: str) -> None:
    # By file descriptor, for its path may be about to be hidden.
    source = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if not OPT_ML.is_dir():
        _make_mount_point()
    _mount(f"/proc/self/fd/{source}", str(OPT_ML), None, _MS_BIND | _MS_REC)


def _make_mount_point() -> None:
    """Puts a folder in place of /opt that holds the same, and ``ml``."""
    parent = OPT_ML.parent
    real = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    entries = list(parent.iterdir())
    kinds = {entry: (entry.is_symlink(), entry.is_dir()) for entry in entries}
    _mount("tmpfs", str(parent), "tmpfs", 0)
    for entry, (is_link, is_folder) in kinds.items():
        source = f"/proc/self/fd/{real}/{entry.name}"
        if is_link:
            entry.symlink_to(Path(source).readlink())
            continue
        if is_folder:
            entry.mkdir()
        else:
            entry.touch()
        _mount(source, str(entry), None, _MS_BIND | _MS_REC)
    OPT_ML.mkdir()


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    kind_bytes = None if kind is None else kind.encode()
    if _LIBC.mount(os.fsencode(source), os.fsencode(target), kind_bytes, flags, None) != 0:
        raise _error(f"mount {target}")


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
