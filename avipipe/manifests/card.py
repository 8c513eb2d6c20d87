"""README.md: the card of a published dataset, made from what was published and nothing else."""

import html
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from avipipe.manifests.dataset import DatasetIndex
from avipipe.manifests.tables import Row
from avipipe.text import MAX_NAME_CHARS, safe_text

CARD_NAME = "README.md"
MAX_LABELS = 50
"""Labels that the card lists; a choice, the manifest has all."""

# What Markdown reads as more than itself; an underscore within a word is none of it.
_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")


@dataclass(slots=True)
class ClipTally:
    """Counts over the rows of `clips.parquet`, taken in one at a time."""

    num_clips: int = 0
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Number of clips by (decision, reason)."""
    licences: Counter[str] = field(default_factory=Counter)
    """Number of kept clips by licence."""
    labels: Counter[str] = field(default_factory=Counter)
    num_upscaled: int = 0
    """Kept clips whose source has smaller pictures than theirs."""
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds of kept clips by label."""
    num_judged: int = 0
    sum_probability: float = 0.0
    """Sum over the `num_judged` kept clips that have a probability; older datasets have none."""

    def add(self, row: Row) -> None:
        self.num_clips += 1
        self.reasons[row["decision"], row["reason"]] += 1
        if row["decision"] == "keep":
            label = row["caption.label"] or "unknown"
            self.licences[row["licence"] or "unknown"] += 1
            self.labels[label] += 1
            self.seconds[label] += row["end_s"] - row["start_s"]
            source_px = row.get("look.source_short_side_px")
            self.num_upscaled += is_upscaled(source_px, row["cut.width"], row["cut.height"])
            if (probability := row.get("probability")) is not None:
                self.num_judged += 1
                self.sum_probability += probability


@dataclass(frozen=True, slots=True)
class DecisionFacts:
    """Facts on the decision: what clips were decided by.

    Attributes:
        model: name of the numbers; `data` is what they were fitted on, in words.
        min_probability: of a clip that is kept, to be good.
        limits: hard limit -> its value, of those that are set.
        figures: cross-validated figure -> value and 95 % interval, as text.
        uncalibrated: `ROLE (BACKEND)` of each annotator that the numbers were not fitted on.
    """

    model: str
    data: str
    min_probability: float
    limits: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, str] = field(default_factory=dict)
    uncalibrated: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Facts of the card that are in neither the index nor the rows.

    Attributes:
        title: of the dataset.
        decision: what clips were decided by.
        backends: (role, backend) of each annotator.
        weights: (name, licence) of the models among them.
        split_fractions: share of the groups by split.
        sources: line status -> number of lines.
    """

    title: str
    decision: DecisionFacts
    backends: Sequence[tuple[str, str]]
    weights: Sequence[tuple[str, str]]
    split_fractions: Mapping[str, float]
    sources: Mapping[str, int]


def render_card(index: DatasetIndex, tally: ClipTally, facts: CardFacts) -> str:
    """Render the card as Markdown, with the header that dataset hubs read."""
    kept = tally.reasons["keep", ""]
    hours = sum(tally.seconds.values()) / 3600
    sections = [
        _header(index, facts),
        f"# {_markdown(facts.title)}\n\n"
        f"{kept} clips, {hours:.2f} h, for audio-synchronised video instance editing: each clip"
        " shows one thing that sounds, with its mask in every frame, coarser masks by precision"
        " factor, and a caption. Built by avipipe; every clip that was considered stands in"
        " `manifest/clips.parquet` with the evidence for its decision.",
        _splits(index) + _upscaled(tally, kept),
        _labels(tally),
        _decisions(tally, facts),
        _decision(tally, facts.decision),
        _annotators(facts),
        _licences(tally),
        _READING.replace("SHARD", index.shards[0].name if index.shards else "shards/NAME.tar"),
        _LIMITS,
        f"## Versions\nGeneration {index.generation}, configuration `{index.config_hash[:16]}`.\n"
        + _table(("software", "version"), sorted(index.versions.items())),
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


_READING = """## Reading it
A plain `webdataset` reader is enough:

```python
import json, webdataset
from pycocotools import mask

for sample in webdataset.WebDataset("SHARD", shardshuffle=False):
    masks = json.loads(sample["masks.json"])
    codes = [{"size": masks["size"], "counts": c.encode()} for c in masks["frames"]]
    exact_THW = mask.decode(codes).transpose(2, 0, 1)
    facts = json.loads(sample["json"])
    print(sample["__key__"], facts["caption"]["text"], exact_THW.shape)
```

So is `datasets.load_dataset("webdataset", data_files=[…])` with the shards that `dataset.json`
lists, and any reader of Parquet for `manifest/`.

`mp4` is the video (24 fps), `flac` the reference sound (48 kHz, sample 2000 n belongs to frame n),
`pairs.json` the degraded masks and the law that made them; `edits.json`, in splits that have it,
what editors are asked for, as in `manifest/edits.parquet`. What differs from sample to sample in
its keys is JSON as text within `json`: `evidence`, `provenance`, and `origin` and `metadata` of
`source`. `dataset.json` lists the shards with their sha256; skip the keys that it lists under
`retracted`."""

_LIMITS = """## Limits
- Decisions, masks, labels and captions are made by machines with the backends above; nobody looked
  at every clip. The evidence is stored, and `probability` of each clip with it, so that more can
  be asked.
- Near-duplicates are found by fingerprints of three pictures and of the sound. A copy that was
  cropped, mirrored or slowed down may be missed, and the sound of clips under about 4 s is not
  compared.
- Media belong to their makers under the licences below; `unknown` means that nobody said."""


def _header(index: DatasetIndex, facts: CardFacts) -> str:
    files = "\n".join(
        f"      - split: {name}\n        path: shards/{name}-*.tar"
        for name, entry in sorted(index.splits.items())
        if entry.num_shards
    )
    configs = f"configs:\n  - config_name: default\n    data_files:\n{files}\n" if files else ""
    return (
        f"---\npretty_name: {json.dumps(safe_text(facts.title))}\nlicense: other\n"
        "task_categories:\n  - video-to-video\ntags:\n  - audio-visual\n  - webdataset\n"
        f"{configs}---"
    )


def _splits(index: DatasetIndex) -> str:
    rows = [
        (name, entry.num_samples, f"{entry.duration_s / 3600:.2f}", entry.num_shards)
        for name, entry in sorted(index.splits.items())
    ]
    retracted = (
        f"\n\n{len(index.retracted)} of them are retracted (see `dataset.json`)."
        if index.retracted
        else ""
    )
    return "## Splits\n" + _table(("split", "clips", "hours", "shards"), rows) + retracted


def is_upscaled(source_px: float | None, width: int, height: int) -> bool:
    """Whether a clip has larger pictures than its source, whose short side may be unknown."""
    return source_px is not None and source_px < min(width, height)


def _upscaled(tally: ClipTally, kept: int) -> str:
    if not kept:
        return ""
    share = tally.num_upscaled / kept
    return (
        f"\n\n{tally.num_upscaled} of {kept} kept clips ({share:.0%}) were scaled up: their sources"
        " have smaller pictures."
    )


def _labels(tally: ClipTally) -> str:
    rows: list[Sequence[Any]] = [
        (label, count, f"{tally.seconds[label] / 3600:.2f}")
        for label, count in _most_common(tally.labels)
    ]
    if len(rows) > MAX_LABELS:
        num_more = len(rows) - MAX_LABELS
        rows = [*rows[:MAX_LABELS], (f"and {num_more} more labels", "", "")]
    return "## What sounds\n" + _table(("label", "clips", "hours"), rows)


def _decisions(tally: ClipTally, facts: CardFacts) -> str:
    rows = [
        (decision, reason or "-", count)
        for (decision, reason), count in _most_common(tally.reasons)
    ]
    sources = ", ".join(f"{count} {status}" for status, count in sorted(facts.sources.items()))
    return (
        f"## Decisions\nSource lines: {sources or 'none'}. Clips considered: {tally.num_clips}.\n"
        + _table(("decision", "reason", "clips"), rows)
    )


def _decision(tally: ClipTally, facts: DecisionFacts) -> str:
    paragraphs = [
        "A clip is kept where its probability to be good, which adds up from all that was measured,"
        f" is at least **{facts.min_probability:g}**, and where it passes each hard limit. The"
        f" numbers are `{_code(facts.model)}`, fitted on {_markdown(facts.data)}."
    ]
    if tally.num_judged:
        mean = tally.sum_probability / tally.num_judged
        paragraphs.append(
            f"Expected precision: {mean:.2f}, the mean probability of the {tally.num_judged} kept"
            " clips that have one."
        )
    if facts.uncalibrated:
        paragraphs.append(
            f"Not calibrated for {_markdown(', '.join(facts.uncalibrated))}: what these measure"
            " counts by what the literature says, so probabilities are less sure."
        )
    tables = []
    if facts.figures:
        tables.append(
            "Cross-validated on labelled clips:\n"
            + _table(("figure", "value (95 % interval)"), facts.figures.items())
        )
    limits = [(name, f"{value:g}") for name, value in facts.limits.items()]
    tables.append(_table(("hard limit", "value"), limits) if limits else "No hard limit is set.")
    return "## The decision\n" + "\n\n".join(part.strip() for part in [*paragraphs, *tables])


def _annotators(facts: CardFacts) -> str:
    weights = (
        "\n\nModel weights:\n" + _table(("weights", "licence"), facts.weights)
        if facts.weights
        else "\n\nNo model weights were used."
    )
    fractions = ", ".join(f"{name} {share:g}" for name, share in facts.split_fractions.items())
    return (
        "## Annotators\n" + _table(("role", "backend"), facts.backends) + weights + "\n\n"
        "## How it was split\nClips are grouped by source, by channel or uploader, and by"
        " near-duplicate pictures or sound; a seeded hash of the group chooses its split"
        f" ({fractions}), so no group crosses a split. A published clip never moves."
    )


def _licences(tally: ClipTally) -> str:
    return "## Licences of the media\n" + _table(
        ("licence", "kept clips"), _most_common(tally.licences)
    )


def _most_common(counts: Counter[Any]) -> list[tuple[Any, int]]:
    """Most first; equal ones by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    lines += [" | ".join(_markdown(str(value)) for value in row) for row in rows]
    return "\n" + "\n".join(f"| {line} |" for line in lines)


def _code(text: str) -> str:
    """A name from outside within backquotes."""
    return safe_text(text, max_chars=MAX_NAME_CHARS).replace("`", "'")


def _markdown(text: str) -> str:
    """A text from outside in one line, shown as it is: no HTML, no picture, no emphasis, and no
    link that hides where it leads."""
    safe = html.escape(safe_text(text, max_chars=MAX_NAME_CHARS), quote=False)
    return _MARKUP.sub(r"\\\g<0>", safe)
