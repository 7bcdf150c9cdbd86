"""Files by their Iceberg path, opened by Arrow (local, S3) on whatever machine a task runs."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from pyarrow import fs


def open_path(location: str) -> tuple[fs.FileSystem, str]:
    """The file system and the path in it. Local paths, file: and s3:, s3a: addresses.

    S3 takes its keys and endpoint from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and,
    for anything but AWS, AWS_ENDPOINT_URL.
    """
    parts = urlsplit(location)
    if parts.scheme in ("", "file"):
        return fs.LocalFileSystem(), parts.path
    if parts.scheme in ("s3", "s3a"):
        known = {
            "endpoint_override": os.environ.get("AWS_ENDPOINT_URL"),
            "region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        }
        options = {name: value for name, value in known.items() if value}
        return fs.S3FileSystem(**options), parts.netloc + parts.path
    raise ValueError(f"{location}: files can be local or on S3")


def make_folder(location: str) -> None:
    """Make the folder of a file; nothing to do on S3."""
    system, path = open_path(location)
    if isinstance(system, fs.LocalFileSystem):
        system.create_dir(os.path.dirname(path), recursive=True)


def delete(location: str) -> None:
    """Delete a file; one that isn't there is fine."""
    system, path = open_path(location)
    if system.get_file_info(path).type != fs.FileType.NotFound:
        system.delete_file(path)
