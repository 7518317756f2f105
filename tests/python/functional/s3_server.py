# SPDX-License-Identifier: Apache-2.0
"""A real S3 server on loopback (SeaweedFS), and a proxy that cuts connections on purpose."""

import contextlib
import ctypes
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import boto3
import botocore.exceptions
from botocore.config import Config

ACCESS_KEY = "access-key-of-the-tests"
BUCKET = "bucket"  # one for all tests: each has volumes of its own
SECRET_KEY = "secret-key-of-the-tests"

_START_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1


class S3Server:
    """Runs ``weed server`` in ``folder`` until ``close``."""

    def __init__(self, folder):
        folder = Path(folder)
        config = folder / "s3.json"
        user = {
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        config.write_text(json.dumps({"identities": [user]}))
        (folder / "data").mkdir()
        roles = ["master", "volume", "filer", "s3"]
        ports = iter(_free_ports(2 * len(roles)))
        arguments = [
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-s3.ip.bind=127.0.0.1",
            f"-dir={folder / 'data'}",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=1024",
            "-volume.max=100",
            "-filer",
            "-s3",
            f"-s3.config={config}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.localSocket={folder / 's3.sock'}",
            f"-filer.localSocket={folder / 'filer.sock'}",
        ]
        for role in roles:
            port = next(ports)
            arguments += [f"-{role}.port={port}", f"-{role}.port.grpc={next(ports)}"]
        self.endpoint = f"http://127.0.0.1:{port}"
        self.port = port
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [shutil.which("weed"), "server", *arguments],
                cwd=folder,
                env={"HOME": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,
            )
        self.client = make_client(self.endpoint)
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def close(self):
        self._process.kill()
        self._process.wait()

    def _wait(self):
        deadline = time.monotonic() + _START_SECONDS
        while True:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            try:
                self.client.create_bucket(Bucket=BUCKET)
                self.client.put_object(Bucket=BUCKET, Key="ready", Body=b"ready")
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
                time.sleep(0.05)
            else:
                return


def make_client(endpoint):
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            max_pool_connections=16,
            connect_timeout=5,
            read_timeout=30,
            proxies={},
        ),
    )


class Proxy:
    """Hands bytes on between clients and a server of this machine; may be told to be bad at it.

    Attributes:
        endpoint: Its address, as a URL.
        bytes_sent: What it sent to clients.
        connections: How many were made.
        faults: How many of its answers it is still to cut.
        cut_at_byte: After so many bytes of an answer.
        is_hanging: Whether it cuts nothing, but sends nothing more either.
        is_refusing: Whether it ends every connection at once.
    """

    def __init__(self, port):
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.bytes_sent = 0
        self.connections = 0
        self.faults = 0
        self.cut_at_byte = 0
        self.is_refusing = False
        self.is_hanging = False
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._closed.set()
        for end in self._sockets:
            _shut(end)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                if self.is_refusing:
                    _shut(client)
                    continue
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._sockets += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(
                        target=self._copy, args=(source, target, source is server), daemon=True
                    ).start()

    def _copy(self, source, target, is_answer):
        sent = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if is_answer and self._cuts(sent + len(data)):
                    target.sendall(data[: max(0, self.cut_at_byte - sent)])
                    if self.is_hanging:
                        self._closed.wait()
                    break
                target.sendall(data)
                sent += len(data)
                if is_answer:
                    self.bytes_sent += len(data)
        _shut(source)
        _shut(target)

    def _cuts(self, sent):
        with self._lock:
            if self.is_refusing:
                return True
            if self.faults == 0 or sent < self.cut_at_byte:
                return False
            self.faults -= 1
            return True


def _shut(end):
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def _free_ports(count):
    """Ports that nobody has at this moment; each found while the others are held."""
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [each.getsockname()[1] for each in sockets]


def _die_with_parent():
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
