"""Read a published dataset with plain webdataset: masks, a degraded mask, audio and video.

    python examples/read_shards.py demo/dataset

Needs webdataset, pycocotools, numpy and av; not avipipe.
"""

import io
import json
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import webdataset
from pycocotools import mask as coco


def decode_masks(counts: list[str], size: list[int]) -> npt.NDArray[np.bool_]:
    """COCO run-length codes to a bool array (T, H, W)."""
    codes = [{"size": size, "counts": code.encode()} for code in counts]
    return np.stack([coco.decode(code) for code in codes]).astype(bool)


def describe(sample: dict[str, Any]) -> str:
    facts = json.loads(sample["json"])
    masks = json.loads(sample["masks.json"])
    pairs = json.loads(sample["pairs.json"])
    exact = decode_masks(masks["frames"], masks["size"])
    box = decode_masks(pairs["levels"][-1]["frames"], masks["size"])
    with av.open(io.BytesIO(sample["mp4"]), "r") as video:
        num_frames = len(list(video.decode(video=0)))
    with av.open(io.BytesIO(sample["flac"]), "r") as audio:
        num_samples = sum(frame.samples for frame in audio.decode(audio=0))
    return (
        f"{sample['__key__']}: {facts['caption']['text']}\n"
        f"  {num_frames} frames, {num_samples} audio samples, masks {exact.shape}, "
        f"the instance fills {exact.mean():.1%} of the picture, its box {box.mean():.1%}"
    )


def main(dataset: Path) -> None:
    shards = sorted(str(path) for path in dataset.glob("shards/*.tar"))
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        print(describe(sample))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
