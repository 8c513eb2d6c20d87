"""Jobs of a published dataset: of each clip one that is told, or its own edit pairs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from avipipe.editor.common.shards import Sample, ShardDataset, index_folder
from avipipe.editor.common.tasks import Task
from avipipe.editor.edit.batch import Entry
from avipipe.editor.edit.job import EditSpec, Job, MaskSpec
from avipipe.editor.edit.method import Method
from avipipe.errors import ConfigError, ManifestError
from avipipe.files import write_whole
from avipipe.manifests.corrections import Corrections, corrected
from avipipe.manifests.edits import ClipEdit, EditKind, EditPair, read_edits
from avipipe.manifests.insertion import beside
from avipipe.manifests.rle import write_json
from avipipe.manifests.samples import EDITS_MEMBER

_TASKS: Mapping[EditKind, Task] = {"delete": "deletion", "insert": "insertion"}
"""What is no plain edit."""


@dataclass(frozen=True, slots=True)
class PairJobs:
    """The edit pairs of a split, as jobs.

    Attributes:
        entries: one for each pair, by clip and in the clip's own order; and one, which fails, for
            each clip whose pairs cannot be read.
        num_clips: of the split, of which `num_bare` have no pair.
        num_rejected: pairs that people rejected.
        num_sounds: pairs that ask for another sound.
    """

    entries: list[Entry]
    num_clips: int
    num_bare: int
    num_rejected: int
    num_sounds: int


def read_clips(
    url: str, split: str, spec: EditSpec, folder: Path, method: type[Method]
) -> list[Entry]:
    """A job for each clip of a published dataset, with its own mask and sound.

    Args:
        spec: what to do with each. The mask is the exact one, or that of `spec.mask.precision`.
        folder: gets the files of a clip when its turn comes.
        method: of one that reads how the scene is, the clip's caption is the source prompt, if
            there is none; else the prompt.
    Raises:
        ManifestError: there is no such dataset or split, or it is damaged.
    """
    dataset = ShardDataset(url, split, index=index_folder())
    return [
        Entry(sample.key, partial(_clip_job, dataset, sample, spec, place, method), place)
        for sample in dataset.samples
        for place in (folder / sample.key,)
    ]


def read_pairs(
    url: str,
    split: str,
    folder: Path,
    method: type[Method],
    *,
    audio: Literal["keep", "agent"],
    seed: int,
    corrections: Corrections,
) -> PairJobs:
    """A job for each edit pair of each clip of a published dataset.

    Args:
        folder: gets the files of a job when its turn comes.
        audio: whether the sound is edited, where a pair asks for that, or stays in all.
        corrections: of people, which go before what the dataset says.
    Raises:
        ConfigError: the method changes what is around an instance, or edits the sound itself where
            the agent is to; or no clip has an edit pair.
        ManifestError: there is no such dataset or split, it is damaged, or a pair was corrected
            that there is not.
    """
    if method.mask_tells == "stay":
        raise ConfigError(
            f"the method {method.name} changes what is around an instance, and edit pairs change "
            "the instance itself; choose another --method, or leave out --pairs"
        )
    if audio == "agent" and not method.keeps_sound:
        raise ConfigError(
            f"the method {method.name} edits the sound itself; leave out --audio agent"
        )
    dataset = ShardDataset(url, split, index=index_folder())
    entries: list[Entry] = []
    num_bare = num_rejected = num_sounds = 0
    for sample in dataset.samples:
        try:
            edits = _edits(dataset, sample)
        except ManifestError as error:
            entries.append(Entry(sample.key, partial(_fail, error)))
            continue
        num_bare += not edits
        kept = corrected(sample.key, edits, corrections)
        num_rejected += len(edits) - len(kept)
        for pair in kept:
            asked = ClipEdit(clip_id=sample.key, pair=pair)
            place = folder / asked.name
            spec = _asked_for(pair, method, audio, seed)
            load = partial(_pair_job, dataset, sample, asked, spec, place, method)
            entries.append(Entry(asked.name, load, place))
            num_sounds += pair.sound_instruction is not None
    num_clips = len(dataset.samples)
    if num_bare == num_clips:
        raise ConfigError(
            f"{url}: none of the {num_clips} clips of the split `{split}` has edit pairs; "
            "publish them with the dataset, into a new folder (`avipipe build --set "
            f"stages.publish.edit_splits=[{split}]`), choose another --split, or say with "
            "--instruction what to do, without --pairs"
        )
    return PairJobs(entries, num_clips, num_bare, num_rejected, num_sounds)


def _edits(dataset: ShardDataset, sample: Sample) -> tuple[EditPair, ...]:
    if EDITS_MEMBER not in sample.places:
        return ()
    content = dataset.read(sample, [EDITS_MEMBER])[EDITS_MEMBER]
    try:
        return read_edits(content)
    except ManifestError as error:
        raise ManifestError(f"{sample.shard}: {sample.key}: {error}") from error


def _fail(error: ManifestError) -> Job:
    raise error


def _asked_for(
    pair: EditPair, method: type[Method], audio: Literal["keep", "agent"], seed: int
) -> EditSpec:
    task = _TASKS.get(pair.kind, "edit")
    # A network that reads one prompt has words of its own for a place that something has left.
    is_read = method.reads_source or task != "deletion"
    agent = {"audio": "agent", "sound_instruction": pair.sound_instruction}
    return EditSpec(
        instruction=pair.instruction,
        prompt=pair.target_caption if is_read else None,
        source_prompt=pair.source_caption if method.reads_source else None,
        task=task,
        mask=MaskSpec(precision=pair.precision),
        seed=seed,
        **(agent if audio == "agent" and pair.sound_instruction is not None else {}),
    )


def _clip_job(
    dataset: ShardDataset, sample: Sample, spec: EditSpec, folder: Path, method: type[Method]
) -> Job:
    facts = json.loads(dataset.read(sample, ["json"])["json"])
    captioned = "source_prompt" if method.reads_source else "prompt"
    prompt = getattr(spec, captioned) or str(facts["caption"]["text"])
    spec = spec.model_copy(update={captioned: prompt})
    return _own_job(dataset, sample, spec, folder, method)


def _pair_job(
    dataset: ShardDataset,
    sample: Sample,
    asked: ClipEdit,
    spec: EditSpec,
    folder: Path,
    method: type[Method],
) -> Job:
    is_beside = asked.pair.kind == "insert"
    job = _own_job(dataset, sample, spec, folder, method, is_beside=is_beside)
    return job.model_copy(update={"asked": asked})


def _own_job(
    dataset: ShardDataset,
    sample: Sample,
    spec: EditSpec,
    folder: Path,
    method: type[Method],
    *,
    is_beside: bool = False,
) -> Job:
    """A job with the files of a clip: its video, its mask, and its sound where that is kept.

    Args:
        is_beside: the mask is to be beside the clip's instance, not on it.
    """
    members = dataset.read(sample, ("mp4", "flac", "masks.json", "pairs.json"))
    precision = spec.mask.precision or 0
    if precision > sample.num_levels:
        raise ConfigError(f"expected a precision of 0 to {sample.num_levels}, got {precision}")
    masks = json.loads(members["masks.json"])
    exact = masks["frames"]
    if precision:
        masks["frames"] = json.loads(members["pairs.json"])["levels"][precision - 1]["frames"]
    if is_beside:
        masks["frames"] = beside(exact, masks["frames"], tuple(masks["size"]))
    folder.mkdir(parents=True, exist_ok=True)
    video, sound, mask = (folder / name for name in ("video.mp4", "sound.flac", "masks.json"))
    write_whole(video, members["mp4"])  # another run may be reading it
    write_whole(sound, members["flac"])
    write_json(mask, masks)
    is_kept = spec.audio == "keep" and method.keeps_sound
    own = spec.model_copy(
        update={
            "mask": MaskSpec(file=mask, precision=precision),
            # The reference sound is kept, not the mp4's copy for players.
            "audio": str(sound) if is_kept else spec.audio,
        }
    )
    return Job(video=video, edits=(own,))
