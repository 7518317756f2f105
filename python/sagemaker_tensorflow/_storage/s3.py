# SPDX-License-Identifier: Apache-2.0
"""Objects in S3, or in a store with its interface.

boto3 lists, looks up, and tells what went wrong; it finds credentials, region and endpoint in its
usual ways. Bodies come by obstore where it is installed, which takes Python 3.11: it reads outside
of Python's lock. Whatever it cannot get, boto3 tries again: obstore refuses some keys that S3
allows (``a//b``), and does not know ``AWS_CA_BUNDLE``.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from sagemaker_tensorflow._storage.objects import DataObject, SourceError

if TYPE_CHECKING:
    from typing_extensions import Buffer

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

_CONNECT_SECONDS = 10
_READ_SECONDS = 30
# How long a fault that may pass is fought.
_RETRY_SECONDS = 120.0
# What was never reached is rather a mistake than a fault that passes.
_FIRST_RETRY_SECONDS = 10.0
_FIRST_DELAY_SECONDS = 0.1
_LAST_DELAY_SECONDS = 5.0
_MAX_FAST_FAILURES = 3

_CHANGED = {"412", "PreconditionFailed", "416", "InvalidRange"}
_MISSING = {"404", "NoSuchKey", "NotFound"}
_REFUSED = {
    "400",  # what HEAD, which has no body to say more, answers to an expired token
    "403",
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}


class S3:
    """Lists and reads objects. Safe for use by several threads.

    Args:
        connections: How many threads read at once.

    Raises:
        SourceError: If boto3 is not installed, or its configuration is faulty.
    """

    def __init__(self, *, connections: int) -> None:
        try:
            import boto3
            import botocore.exceptions
        except ImportError:
            raise SourceError(
                "reading s3:// needs boto3: pip install 'sagemaker_tensorflow[s3]'"
            ) from None
        self._errors: Any = botocore.exceptions
        self._connections = connections
        self._closed = threading.Event()
        self._reached = False
        self._lock = threading.Lock()
        self._fast_readers: dict[str, _FastReader] = {}  # guarded by _lock
        try:
            self._session: Any = boto3.Session()
            self._client: Any = self._make_client()
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            raise SourceError(f"cannot use S3: {_configuration_hint(error)}") from None

    def list_objects(self, uri: str) -> list[DataObject]:
        """Returns all objects whose key begins with the prefix, a string like any other.

        Raises:
            SourceError: If there are none, or they cannot be listed.
        """
        bucket, prefix = split_uri(uri)
        objects: list[DataObject] = []
        request = {"Bucket": bucket, "Prefix": prefix}
        while True:
            page = self._ask(uri, lambda: self._client.list_objects_v2(**request))
            objects += [
                DataObject(
                    f"s3://{bucket}/{entry['Key']}",
                    entry["Size"],
                    entry["ETag"],
                    _relative_name(entry["Key"], prefix),
                )
                for entry in page.get("Contents", [])
                if entry["Size"] or not entry["Key"].endswith("/")  # consoles' "folders"
            ]
            if not page.get("IsTruncated"):
                break
            request["ContinuationToken"] = page["NextContinuationToken"]
        if not objects:
            raise SourceError(
                f"no object's key begins with '{uri}' (letter by letter, at {self._endpoint()})"
            )
        return objects

    def stat_object(self, uri: str, name: str) -> DataObject:
        """Returns the one object with this URI.

        Raises:
            SourceError: If there is none, or it cannot be looked up.
        """
        bucket, key = split_uri(uri)
        if not key:
            raise SourceError(f"'{uri}' is a bucket and no object")
        head = self._ask(uri, lambda: self._client.head_object(Bucket=bucket, Key=key))
        return DataObject(uri, head["ContentLength"], head["ETag"], name)

    def read(self, source: DataObject, start: int, end: int) -> Buffer:
        """Returns the bytes from ``start`` to ``end`` of the object as it was listed.

        Raises:
            SourceError: If it has changed or gone, or cannot be read in spite of all patience.
        """
        bucket, key = split_uri(source.uri)
        body = self._fast_reader(bucket).read(key, source.version, start, end)
        if body is not None:
            return body
        return self._ask(source.uri, lambda: self._read_range(bucket, key, source, start, end))

    def close(self) -> None:
        """Lets no call wait for a better time any more."""
        self._closed.set()

    def _read_range(self, bucket: str, key: str, source: DataObject, start: int, end: int) -> bytes:
        answer = self._client.get_object(
            Bucket=bucket, Key=key, IfMatch=source.version, Range=f"bytes={start}-{end - 1}"
        )
        with contextlib.closing(answer["Body"]) as body:
            data: bytes = body.read()
        if len(data) != end - start:
            raise self._errors.IncompleteReadError(
                actual_bytes=len(data), expected_bytes=end - start
            )
        return data

    def _fast_reader(self, bucket: str) -> _FastReader:
        with self._lock:
            if bucket not in self._fast_readers:
                client = self._client
                if _is_amazon(self._endpoint()):  # where a bucket answers in its region only
                    with contextlib.suppress(Exception):
                        head = client.head_bucket(Bucket=bucket)["ResponseMetadata"]
                        client = self._make_client(head["HTTPHeaders"]["x-amz-bucket-region"])
                self._fast_readers[bucket] = _FastReader(bucket, client.meta, self._session)
            return self._fast_readers[bucket]

    def upload(self, path: Path, uri: str) -> None:
        """Makes a file an object, in parts if it is large.

        Raises:
            Exception: One of boto3's.
        """
        bucket, key = split_uri(uri)
        self._client.upload_file(str(path), bucket, key)

    def try_upload(self, uri: str) -> None:
        """Finds out whether an object could be made, and makes none.

        Raises:
            SourceError: If not.
        """
        bucket, key = split_uri(uri)
        try:
            upload = self._client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
            with contextlib.suppress(self._errors.ClientError):  # it expires
                self._client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
        except self._errors.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            raise SourceError(
                f"'{uri}' cannot be written: S3 answers {code}. Is there that bucket, and do the "
                "credentials in use allow s3:PutObject?"
            ) from None
        except self._errors.BotoCoreError as error:
            raise SourceError(f"'{uri}' cannot be written: {_configuration_hint(error)}") from None

    def _make_client(self, region: str | None = None) -> Any:
        from botocore.config import Config

        options: dict[str, Any] = {
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": _READ_SECONDS,
            "retries": {"mode": "standard", "total_max_attempts": 3},
            "max_pool_connections": self._connections,
        }
        client: Any = self._session.client("s3", region_name=region, config=Config(**options))
        if _is_amazon(client.meta.endpoint_url):
            return client
        # Other stores answer to their own host name only, and not to bucket.host.
        options["s3"] = {"addressing_style": "path"}
        return self._session.client("s3", region_name=region, config=Config(**options))

    def _ask(self, uri: str, call: Callable[[], T]) -> T:
        """Returns what ``call`` does; tries again what may get better."""
        patience = _RETRY_SECONDS if self._reached else _FIRST_RETRY_SECONDS
        deadline = time.monotonic() + patience
        delay = _FIRST_DELAY_SECONDS
        while True:
            try:
                result = call()
                self._reached = True
                return result
            except self._errors.ClientError as error:
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                code = error.response.get("Error", {}).get("Code", "")
                if status < 500 and code not in ("SlowDown", "RequestTimeout", "429"):
                    self._refuse(uri, code, error.response["Error"].get("Message", ""))
                failure = f"S3 answers {status} {code}"
            except (
                self._errors.HTTPClientError,
                self._errors.ConnectionError,
                self._errors.IncompleteReadError,
            ) as error:
                failure = f"{type(error).__name__} at {self._endpoint()}"
            except self._errors.BotoCoreError as error:
                raise SourceError(f"'{uri}': {_configuration_hint(error)}") from None
            delay = min(2 * delay, _LAST_DELAY_SECONDS)
            pause = delay * random.uniform(0.5, 1)
            if time.monotonic() + pause > deadline or self._closed.wait(pause):
                raise SourceError(
                    f"'{uri}' cannot be read, tried for {patience:g} s: {failure}; is "
                    "the network up, and AWS_ENDPOINT_URL right if it is set?"
                ) from None

    def _refuse(self, uri: str, code: str, message: str) -> NoReturn:
        """Raises what a client's error means."""
        bucket, _ = split_uri(uri)
        if code in _CHANGED:
            problem = f"'{uri}' has changed since the job began: start the job again"
        elif code == "NoSuchBucket":
            problem = f"'{uri}': there is no bucket '{bucket}' at {self._endpoint()}"
        elif code in _MISSING:
            problem = f"'{uri}' does not exist at {self._endpoint()}"
        elif code in _REFUSED:
            problem = (
                f"'{uri}': S3 refuses access ({code}). Check the credentials in use, their region, "
                "and that they allow s3:ListBucket and s3:GetObject"
            )
        else:
            problem = f"'{uri}': S3 answers {code}: {message}"
        raise SourceError(problem) from None

    def _endpoint(self) -> str:
        return str(self._client.meta.endpoint_url)


class _FastReader:
    """Reads the objects of one bucket by obstore, if there is one and it can."""

    def __init__(self, bucket: str, client_meta: Any, session: Any) -> None:
        self._store: Any = None
        self._failures = 0
        try:
            import obstore
            from obstore.auth.boto3 import Boto3CredentialProvider
            from obstore.store import S3Store

            self._get: Any = obstore.get
            self._store = S3Store(
                bucket,
                endpoint=client_meta.endpoint_url,
                region=_region(client_meta.region_name),
                credential_provider=Boto3CredentialProvider(session),
                virtual_hosted_style_request=False,
                client_options={
                    "allow_http": True,
                    "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
                    "read_timeout": timedelta(seconds=_READ_SECONDS),
                    "timeout": timedelta(seconds=10 * _READ_SECONDS),
                },
                retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=_READ_SECONDS)},
            )
        except Exception:
            _LOG.debug("obstore is not used for bucket '%s'", bucket, exc_info=True)

    def read(self, key: str, etag: str, start: int, end: int) -> Buffer | None:
        """Returns the bytes, or ``None`` whatever goes wrong: boto3 finds out what it is."""
        if self._store is None or self._failures >= _MAX_FAST_FAILURES:
            return None
        try:
            options = {"if_match": etag, "range": (start, end)}
            body: Buffer = self._get(self._store, key, options=options).bytes()
        except ValueError:  # a key that it does not take
            return None
        except Exception:
            self._failures += 1
            return None
        self._failures = 0
        return body if len(memoryview(body)) == end - start else None


def split_uri(uri: str) -> tuple[str, str]:
    """Returns bucket and key of an ``s3://`` URI; nothing in a key has a meaning."""
    bucket, _, key = uri[len("s3://") :].partition("/")
    return bucket, key


def _relative_name(key: str, prefix: str) -> str:
    """Returns where a key lies in the folder of a channel in File mode."""
    rest = key[len(prefix) :]
    if prefix and not prefix.endswith("/") and not rest.startswith("/"):
        # The prefix ends within a name, or is the whole key.
        return key[prefix.rfind("/") + 1 :]
    return rest.lstrip("/")


def _region(name: str | None) -> str:
    return "us-east-1" if name in (None, "aws-global") else str(name)


def _is_amazon(endpoint: str) -> bool:
    host = endpoint.partition("://")[2].partition("/")[0].partition(":")[0]
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))


def _configuration_hint(error: Exception) -> str:
    name = type(error).__name__
    if not any(word in name for word in ("Credential", "Token", "Profile", "SSO")):
        return str(error)
    # What a credential process printed, for one, is for nobody's eyes: the name must do.
    return (
        f"no usable AWS credentials ({name}). Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, or run 'aws configure'"
    )
