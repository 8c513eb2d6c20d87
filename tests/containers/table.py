"""All files that the table of `bench/containers.py` is about."""

from tests.containers.cases import Maker
from tests.containers.plain_cases import PLAIN

FILES: dict[str, Maker] = {**PLAIN}
