"""The 80 things of COCO, by number, and the kinds that its own makers group them into.

Source: Lin et al., Microsoft COCO: common objects in context, ECCV 2014.
"""

from collections.abc import Mapping
from types import MappingProxyType

_GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "person": "person",
        "vehicle": "bicycle, car, motorcycle, airplane, bus, train, truck, boat",
        "outdoor": "traffic light, fire hydrant, stop sign, parking meter, bench",
        "animal": "bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe",
        "accessory": "backpack, umbrella, handbag, tie, suitcase",
        "sports": "frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, "
        "skateboard, surfboard, tennis racket",
        "kitchen": "bottle, wine glass, cup, fork, knife, spoon, bowl",
        "food": "banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake",
        "furniture": "chair, couch, potted plant, bed, dining table, toilet",
        "electronic": "tv, laptop, mouse, remote, keyboard, cell phone",
        "appliance": "microwave, oven, toaster, sink, refrigerator",
        "indoor": "book, clock, vase, scissors, teddy bear, hair drier, toothbrush",
    }
)

NAMES = tuple(name for names in _GROUPS.values() for name in names.split(", "))
"""Names of COCO's 80 classes in its order, without the numbers that it leaves out."""

KINDS = tuple(n for n, names in enumerate(_GROUPS.values()) for _ in names.split(", "))
"""Number of the supercategory of each class."""
