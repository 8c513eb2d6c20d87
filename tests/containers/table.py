"""All files that the table of `bench/containers.py` is about."""

from tests.containers.cases import Maker
from tests.containers.changing_cases import CHANGING
from tests.containers.clock_cases import CLOCKS
from tests.containers.dash_cases import DASH
from tests.containers.edit_cases import COPIED, EDITED, TRIMMED
from tests.containers.packet_cases import PACKETS
from tests.containers.plain_cases import PLAIN

FILES: dict[str, Maker] = {
    **PLAIN,
    **PACKETS,
    **TRIMMED,
    **COPIED,
    **EDITED,
    **CHANGING,
    **CLOCKS,
    **DASH,
}
