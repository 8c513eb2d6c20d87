"""What to train on, and in which sizes and roles."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from avipipe.editor.avi_edit.sizes import Bucket
from avipipe.editor.common.shards import index_folder

BUCKETS = tuple(
    Bucket(num_frames, *size)
    for num_frames in (81, 49)
    for size in ((704, 1280), (1280, 704), (960, 960))
)
"""Frames, height and width in pixels: 4 n + 1 frames and multiples of 32 px, as Wan2.2's
autoencoder needs."""


class EncoderConfig(BaseModel):
    """The models that turn video, text and sound into features."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Literal["wan2.2", "tiny"] = Field(
        "wan2.2",
        description="`tiny`: text and sound by random weights, pictures by mean colours of blocks; "
        "needs no files.",
    )
    wan: Path | None = Field(
        None, description="Folder with vae, text_encoder and tokenizer; else the pulled weights."
    )
    wav2vec2: Path | None = Field(None, description="Folder; else the pulled weights.")
    precision: Literal["bf16", "fp32"] = Field("bf16", description="Of weights and features.")


class DataConfig(BaseModel):
    """What of a published dataset is learnt from, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(description="Folder or fsspec URL with a dataset.json.")
    split: str = "train"
    buckets: tuple[Bucket, ...] = Field(
        BUCKETS, min_length=1, description="Sizes; a clip goes into the largest that it fills."
    )
    seed: int = Field(0, ge=0, description="Of order, spans, crops, masks and tasks.")
    takes: PositiveInt | None = Field(
        None,
        description="Parts of a clip that are taken in turn, one a pass; a cache holds so many. "
        "Without: another one at every pass.",
    )
    insertion: float = Field(
        0.1, ge=0, le=1, description="Share of samples that are given the bounding box."
    )
    deletion: float = Field(
        0.1, ge=0, le=1, description="Share with a moved mask, over background, and no sound."
    )
    deletion_text: str = Field(
        "The empty background of the scene.", description="Caption of a deletion."
    )
    max_precision: PositiveInt = Field(4, description="P of the dataset and the network.")
    latents: Literal["mode", "sample"] = Field(
        "mode", description="What is taken of the VAE's distribution."
    )
    encoders: EncoderConfig = EncoderConfig()
    cache: Path | None = Field(
        None, description="Folder of `avipipe train cache`; without, features are made on the fly."
    )
    index: Path = Field(
        default_factory=index_folder,
        description="Folder for what is noted of shards, each read whole and checked once.",
    )
    workers: int = Field(4, ge=0, description="Processes that read and decode, for each trainer.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.insertion + self.deletion > 1:
            raise ValueError("insertion + deletion: expected at most 1")
        if self.cache is not None and self.takes is None:
            raise ValueError("cache needs `takes`, the number of parts of each clip that it holds")
        return self
