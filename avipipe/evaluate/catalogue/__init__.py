"""All metrics by name and protocol, the lists that runs, reports and docs go by.

`METRICS` are of a case each, `SETS` of all cases of a method together; `LISTED` are both.

A name is `metric.protocol`; numbers of two protocols are never compared. What a metric with weights
computes with is imported when it is used, so that one without weights loads none of it.
"""

from collections.abc import Sequence

from avipipe.errors import ConfigError
from avipipe.evaluate.catalogue.hearing import HEARING
from avipipe.evaluate.catalogue.joint import JOINT
from avipipe.evaluate.catalogue.judged import JUDGED
from avipipe.evaluate.catalogue.lips import LIPS
from avipipe.evaluate.catalogue.masks import MASKS
from avipipe.evaluate.catalogue.motion import MOTION
from avipipe.evaluate.catalogue.networks import NETWORKS
from avipipe.evaluate.catalogue.objects import OBJECTS
from avipipe.evaluate.catalogue.pictures import PICTURES
from avipipe.evaluate.catalogue.sets import SETS
from avipipe.evaluate.catalogue.sounds import SOUNDS
from avipipe.evaluate.catalogue.synchrony import SYNCHRONY
from avipipe.evaluate.catalogue.words import WORDS
from avipipe.evaluate.metric import Metric
from avipipe.evaluate.set_metric import SetMetric

METRICS: dict[str, Metric] = {
    **PICTURES,
    **NETWORKS,
    **MOTION,
    **MASKS,
    **WORDS,
    **OBJECTS,
    **JUDGED,
    **SOUNDS,
    **SYNCHRONY,
    **HEARING,
    **JOINT,
    **LIPS,
}
"""Those without weights, those with, and those by a judge; reports have them by family."""


LISTED: dict[str, Metric | SetMetric] = {**METRICS, **SETS}


def chosen(names: Sequence[str]) -> list[str]:
    """The metrics that were asked for, in the order of the list; all of them for nothing.

    Args:
        names: of metrics, of what stands before the point, or of families.
    Raises:
        ConfigError: one is not in the list.
    """
    if not names:
        return list(LISTED)
    found: set[str] = set()
    for asked in names:
        own = {
            name
            for name, metric in LISTED.items()
            if asked in (name, name.split(".")[0], metric.family)
        }
        if not own:
            raise ConfigError(
                f"there is no metric {asked!r}; `avipipe eval metrics` lists {len(LISTED)} of them"
            )
        found |= own
    return [name for name in LISTED if name in found]
