"""What Grounding DINO (tiny) and SAM 2.1 (small) cost on 720p frames, with random weights.

    python bench/grounded_sam.py --threads 1

The networks have the official sizes and are loaded as in a build; random weights cost what trained
ones do, up to the few boxes that are kept. No table here says how well they find or cut things.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from transformers import (
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Sam2Config,
    Sam2ImageProcessor,
    Sam2Model,
    Sam2Processor,
)

from avipipe.annotators.base import Frames
from avipipe.annotators.full.grounding_dino import GroundingDinoDetector
from avipipe.annotators.full.sam2 import Sam2Segmenter

FPS = Fraction(24)
NUM_FRAMES = 4
PROMPTS = ["person playing violin", "dog", "car"]
HIERA_SMALL = {
    "model_type": "sam2_hiera_det_model",
    "blocks_per_stage": [1, 2, 11, 2],
    "global_attention_blocks": [7, 10, 13],
}


def write_grounding_dino(folder: Path) -> None:
    """The defaults of its config are those of the official tiny model."""
    GroundingDinoForObjectDetection(GroundingDinoConfig()).save_pretrained(folder)
    words = [f"[unused{n}]" for n in range(30_522)]
    words[100:104] = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words[0], words[1012], words[1029] = "[PAD]", ".", "?"
    words[2000:2005] = " ".join(PROMPTS).split()
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(words), encoding="utf-8")
    tokenizer = BertTokenizer(vocab=str(vocabulary), do_lower_case=True)
    processors: Any = GroundingDinoProcessor
    processors(GroundingDinoImageProcessor(), tokenizer).save_pretrained(folder)


def write_sam2(folder: Path) -> None:
    config = Sam2Config(vision_config={"backbone_config": HIERA_SMALL})
    Sam2Model(config).save_pretrained(folder)
    Sam2Processor(Sam2ImageProcessor()).save_pretrained(folder)


def write_lock(path: Path, *names: str) -> None:
    files = [{"name": "config.json"}, {"name": "model.safetensors"}]
    entry = {"url": "hf://random/weights", "licence": "none", "purpose": "a bench", "files": files}
    path.write_text(yaml.safe_dump(dict.fromkeys(names, entry)), encoding="utf-8")


def clip() -> Frames:
    """Four frames, of which the third is the sharpest, so that all four are looked at."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (NUM_FRAMES, 720, 1280, 3), np.uint8)
    return np.stack(
        [frame if n == 2 else cv2.blur(frame, (9, 9)) for n, frame in enumerate(frames)]
    )


def seconds(run: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds."""
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - cpu_s, time.perf_counter() - wall_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 2, 4])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    frames = clip()
    print("| network | batch | load s | CPU s per frame | wall s per frame | peak MB |")
    print("|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_lock(root / "lock.yaml", "grounding_dino", "sam2")
        os.environ["AVIPIPE_WEIGHTS_DIR"] = folder
        os.environ["AVIPIPE_WEIGHTS_LOCK"] = str(root / "lock.yaml")

        write_sam2(root / "sam2")
        segmenter = Sam2Segmenter()
        load_s = seconds(segmenter.setup)[1]
        segmenter.segment(frames[0], box=(300.0, 100.0, 800.0, 600.0))
        spent = seconds(
            lambda: [segmenter.segment(frame, box=(300, 100, 800, 600)) for frame in frames]
        )
        row("SAM 2.1 small", 1, load_s, spent)

        write_grounding_dino(root / "grounding_dino")
        detector = GroundingDinoDetector()
        load_s = seconds(detector.setup)[1]
        for batch_size in args.batch_sizes:
            detector.batch_size = batch_size
            spent = seconds(
                lambda: detector.detect(frames, fps=FPS, prompts=PROMPTS, localization=None)
            )
            row("Grounding DINO tiny", batch_size, load_s, spent)


def row(name: str, batch_size: int, load_s: float, spent: tuple[float, float]) -> None:
    """`ru_maxrss` is the largest so far, so it can only grow down the table."""
    cpu_s, wall_s = (value / NUM_FRAMES for value in spent)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| {name} | {batch_size} | {load_s:.1f} | {cpu_s:.2f} | {wall_s:.2f} | {peak_mb:.0f} |")


if __name__ == "__main__":
    main()
