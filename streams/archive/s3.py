"""Write-once objects in an S3-compatible store with Object Lock.

`If-None-Match: *` refuses a second object under a name, retention in COMPLIANCE mode refuses deletion by anybody, the
store's administrator too, and a SHA-256 checksum is checked by the store.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from streams.archive.store import ObjectDiffersError, StoreError, WrongStoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DAYS_A_YEAR: Final = 366
_EXISTS: Final = frozenset({409, 412})
_NOT_FOUND: Final = frozenset({"NoSuchKey", "404", "NotFound"})


class S3Store:
    """Objects of one bucket under one prefix; `years` is how long they are kept from when they are written."""

    def __init__(self, client: Any, bucket: str, prefix: str, years: int) -> None:  # noqa: ANN401 - made at run time
        self._client, self._bucket, self._prefix, self._years = client, bucket, prefix, years

    @classmethod
    def open(cls, url: str, years: int, *, connections: int) -> S3Store:
        """Open `s3://bucket/prefix?endpoint=https://host:port`; credentials as every AWS tool finds them.

        Raises: WrongStoreError where the bucket has no Object Lock, StoreError where it does not answer.
        """
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        config = Config(
            max_pool_connections=connections,
            retries={"mode": "standard", "total_max_attempts": 3},
            connect_timeout=5,
            read_timeout=30,
            signature_version="s3v4",
        )
        region = query.get("region", ["us-east-1"])[0]
        try:
            client = boto3.client(
                "s3", endpoint_url=query.get("endpoint", [None])[0], region_name=region, config=config
            )
            lock = client.get_object_lock_configuration(Bucket=parts.netloc)["ObjectLockConfiguration"]
        except ClientError as error:
            raise WrongStoreError(f"bucket {parts.netloc}: Object Lock required: {error}") from error
        except BotoCoreError as error:
            raise StoreError(f"bucket {parts.netloc}: {error}") from error
        if lock.get("ObjectLockEnabled") != "Enabled":
            raise WrongStoreError(f"bucket {parts.netloc}: Object Lock required, is not enabled")
        prefix = parts.path.strip("/")
        return cls(client, parts.netloc, f"{prefix}/" if prefix else "", years)

    def put_once(self, name: str, data: bytes, *, held: bool) -> None:
        """Write an object under a name that nothing has."""
        request = self._of(name) | {
            "Body": data,
            "IfNoneMatch": "*",
            "ContentType": "text/plain; charset=utf-8",
            "ChecksumSHA256": b64encode(hashlib.sha256(data).digest()).decode(),
            "ObjectLockMode": "COMPLIANCE",
            "ObjectLockRetainUntilDate": _until(self._years),
            **({"ObjectLockLegalHoldStatus": "ON"} if held else {}),
        }
        try:
            self._client.put_object(**request)
        except ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode") not in _EXISTS:
                raise StoreError(f"{name}: {error}") from error
            stored = self.get(name)
            if stored is None:
                raise StoreError(f"{name}: {error}") from error
            if stored != data:
                raise ObjectDiffersError(f"{name}: other bytes are there") from None
        except BotoCoreError as error:
            raise StoreError(f"{name}: {error}") from error

    def get(self, name: str) -> bytes | None:
        """Return an object's bytes."""
        try:
            body: bytes = self._client.get_object(**self._of(name))["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in _NOT_FOUND:
                return None
            raise StoreError(f"{name}: {error}") from error
        except BotoCoreError as error:
            raise StoreError(f"{name}: {error}") from error
        return body

    def names(self, prefix: str) -> Iterator[str]:
        """Yield names in order."""
        pages = self._client.get_paginator("list_objects_v2")
        try:
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for item in page.get("Contents", ()):
                    yield item["Key"].removeprefix(self._prefix)
        except (ClientError, BotoCoreError) as error:
            raise StoreError(f"{prefix}: {error}") from error

    def set_hold(self, name: str, *, held: bool) -> None:
        """Set an object's legal hold: under it nobody deletes it, whatever its retention."""
        self._call(name, "put_object_legal_hold", LegalHold={"Status": "ON" if held else "OFF"})

    def extend(self, name: str, years: int) -> None:
        """Retain an object longer; COMPLIANCE mode lets nobody shorten it."""
        written = self._call(name, "head_object")["LastModified"]
        until = max(written + timedelta(days=_DAYS_A_YEAR * years), datetime.now(UTC))
        kept = self._call(name, "get_object_retention")["Retention"]["RetainUntilDate"]
        if until > kept:
            self._call(name, "put_object_retention", Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until})

    def put_note(self, name: str, data: bytes | None) -> None:
        """Write or delete an object without retention."""
        if data is None:
            self._call(name, "delete_object")
        else:
            self._call(name, "put_object", Body=data, ChecksumAlgorithm="SHA256")

    def _call(self, name: str, operation: str, **more: object) -> Any:  # noqa: ANN401 - the client's answer
        try:
            return getattr(self._client, operation)(**self._of(name), **more)
        except (ClientError, BotoCoreError) as error:
            raise StoreError(f"{name}: {error}") from error

    def _of(self, name: str) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}


def _until(years: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=_DAYS_A_YEAR * years)
