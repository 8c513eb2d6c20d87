"""Everything that a clip is judged by: each measure, described once.

What a check is called, what it measures and where, which values speak for a clip, what is the
matter where they do not, and how people are told. Decisions, configuration, `why` and the report
read these tables; a new measure is a row of one of them.
"""

from collections.abc import Mapping
from types import MappingProxyType

from avipipe.decision.check import Check
from avipipe.decision.checks_lips import LIPS
from avipipe.decision.checks_mask import MASK
from avipipe.decision.checks_motion import MOTION
from avipipe.decision.checks_names import NAMES
from avipipe.decision.checks_sound import SOUND
from avipipe.decision.hearing import Known

CHECKS: tuple[Check, ...] = (*SOUND, *MOTION, *LIPS, *NAMES, *MASK)
"""In the order in which hard limits are asked: the first that is missed gives the reason."""

KNOWN: Mapping[str, Check] = MappingProxyType({check.name: check for check in CHECKS})
"""Name -> check."""

LIMITS: Mapping[str, Check] = MappingProxyType(
    {check.limit: check for check in CHECKS if check.limit}
)
"""Field of `DecideConfig` -> the check that it limits."""


def measures(known: Known) -> dict[str, float | None]:
    """Name of each check whose evidence is there -> what is measured, None where it is unknown."""
    return {check.name: check.measure(known) for check in CHECKS if check.stage in known}
