"""A real S3 API server with Object Lock on this machine: versitygw on a folder, where it was built (`make s3`)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).parents[2]
USER, PASSWORD = "archive-tester", "archive-tester-password"
BUCKET = "portcullis-archive"


def find_server() -> str | None:
    """Return the program, None where it is not there."""
    return shutil.which("versitygw", path=f"{ROOT / '.portcullis' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}")


@contextmanager
def s3_server(program: str, folder: Path) -> Iterator[str]:
    """Yield the endpoint of a server with one bucket that has Object Lock."""
    for name in ("data", "versions"):
        (folder / name).mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["posix", "--versioning-dir", str(folder / "versions"), str(folder / "data")]
    environment = {**os.environ, "ROOT_ACCESS_KEY": USER, "ROOT_SECRET_KEY": PASSWORD}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--port", f"127.0.0.1:{port}", *options], env=environment, stdout=log, stderr=log
        )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        _make_bucket(endpoint, process, folder / "log")
        yield endpoint
    finally:
        process.terminate()
        process.wait(30)


def client(endpoint: str) -> Any:
    """Return a client with the administrator's rights."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=USER,
        aws_secret_access_key=PASSWORD,
        region_name="us-east-1",
    )


def _make_bucket(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            client(endpoint).create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
        except (BotoCoreError, ClientError):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        else:
            return
