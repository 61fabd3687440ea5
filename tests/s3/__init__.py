"""A real S3 server, Versity's gateway over a folder, for tests."""

from tests.s3 import program
from tests.s3.running import RunningS3, running_s3

__all__ = ["RunningS3", "program", "running_s3"]
