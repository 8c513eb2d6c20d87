"""Weights with random numbers and the official sizes: they cost what trained ones cost.

`write` puts them where a build looks for them, so that the production loaders take them. What they
find, hear or cut out means nothing. Sizes are those of the official configurations, which for most
are the defaults of the library that holds the network.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from avipipe import weights
from avipipe.annotators import audioset

Network = Any

WORDS = "person dog car drum".split()
"""All that the tokenizers made here know."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """`build` makes a network of a weight's size, `save` writes it as its hub has it."""

    build: Callable[[], Network]
    save: Callable[[Network, Path], None] | None
    """None: random numbers would not cost what trained ones do."""


def size_gb(name: str) -> float:
    """Of the network in float32, without making it."""
    import torch

    with torch.device("meta"):
        network = RECIPES[name].build()
    return float(sum(parameter.numel() for parameter in network.parameters()) * 4 / 1e9)


def write(name: str, root: Path) -> Path:
    """Make `root`/`name` a weight; return a lock file that says so."""
    import torch

    recipe = RECIPES[name]
    assert recipe.save is not None, f"{name} has no random weights"
    torch.manual_seed(0)
    weight = weights.entry(name)
    path = root / name if weight.is_folder else root
    path.mkdir(parents=True, exist_ok=True)
    recipe.save(recipe.build().eval(), path)
    names = [str(p.relative_to(path)) for p in sorted(path.rglob("*")) if p.is_file()]
    lock = root / "lock.yaml"
    files = [{"name": file} for file in names]
    entry = {"url": weight.url, "licence": "none", "purpose": "a benchmark", "files": files}
    lock.write_text(yaml.safe_dump({name: entry}), encoding="utf-8")
    return lock


def _ast() -> Network:
    from transformers import ASTConfig, ASTForAudioClassification

    labels = dict(enumerate(audioset.classes()))
    label2id = {label: index for index, label in labels.items()}
    return ASTForAudioClassification(ASTConfig(id2label=labels, label2id=label2id))


def _save_ast(network: Network, folder: Path) -> None:
    from transformers import ASTFeatureExtractor

    network.save_pretrained(folder)
    extractors: Any = ASTFeatureExtractor
    extractors().save_pretrained(folder)


def _clap() -> Network:
    from transformers import ClapConfig, ClapModel

    return ClapModel(ClapConfig(audio_config={"enable_fusion": False}))


def _save_clap(network: Network, folder: Path) -> None:
    from transformers import ClapFeatureExtractor, ClapProcessor, RobertaTokenizer

    network.save_pretrained(folder)
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abcdefghijklmnopqrstuvwxyzĠ"]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = RobertaTokenizer(vocab=vocabulary, merges=[], model_max_length=77)
    extractor = ClapFeatureExtractor(truncation="rand_trunc")
    processors: Any = ClapProcessor
    processors(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(folder)


def _pe_av() -> Network:
    from transformers import PeAudioVideoConfig, PeAudioVideoModel

    return PeAudioVideoModel(PeAudioVideoConfig())


def _save_pe_av(network: Network, folder: Path) -> None:
    from transformers import PeAudioFeatureExtractor, PeVideoVideoProcessor

    network.save_pretrained(folder)
    PeAudioFeatureExtractor().save_pretrained(folder)
    PeVideoVideoProcessor(
        size={"height": 336, "width": 336},
        do_resize=True,
        do_rescale=True,
        do_normalize=True,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    ).save_pretrained(folder)


def _htdemucs() -> Network:
    from demucs.htdemucs import HTDemucs

    return HTDemucs(
        sources=["drums", "bass", "other", "vocals"],
        segment=Fraction(39, 5),
        bottom_channels=512,
    )


def _save_htdemucs(network: Network, folder: Path) -> None:
    from safetensors.torch import save_file

    kwargs = dict(network._init_args_kwargs[1])
    kwargs["segment"] = {"_type": "fraction", "numerator": 39, "denominator": 5}
    metadata = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps(kwargs)}
    tensors = {key: value.half().contiguous() for key, value in network.state_dict().items()}
    save_file(tensors, folder / "955717e8.safetensors", metadata=metadata)


def _pyannote() -> Network:
    """The two networks of the diarization pipeline, as parts of one module."""
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34
    from pyannote.audio.models.segmentation import PyanNet

    segmentation: Any = PyanNet(
        sincnet={"stride": 10},
        lstm={"hidden_size": 128, "num_layers": 4, "bidirectional": True, "dropout": 0.5},
        linear={"hidden_size": 128, "num_layers": 2},
    )
    segmentation.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=10.0,
        classes=["speaker1", "speaker2", "speaker3"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    embedding: Any = WeSpeakerResNet34()
    embedding.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=10.0
    )
    segmentation.build()
    embedding.build()
    return torch.nn.ModuleDict({"segmentation": segmentation, "embedding": embedding})


def _save_pyannote(network: Network, folder: Path) -> None:
    import torch

    # So that it hears one speaker all the time, and no step is spared.
    with torch.no_grad():
        network["segmentation"].classifier.bias[1] += 3.0
    for part, module in network.items():
        kind = type(module)
        checkpoint = {
            "state_dict": module.state_dict(),
            "hyper_parameters": dict(module.hparams),
            "pytorch-lightning_version": "2.6.0",
            "pyannote.audio": {
                "versions": {"torch": "2.8.0", "pyannote.audio": "4.0.0"},
                "architecture": {"module": kind.__module__, "class": kind.__name__},
                "specifications": module.specifications,
            },
        }
        (folder / part).mkdir()
        torch.save(checkpoint, folder / part / "pytorch_model.bin")
    plda = folder / "plda"
    plda.mkdir()
    lda = np.random.default_rng(0).standard_normal((256, 128))
    np.savez(plda / "xvec_transform.npz", mean1=np.zeros(256), mean2=np.zeros(128), lda=lda)
    np.savez(plda / "plda.npz", mu=np.zeros(128), tr=np.eye(128), psi=np.linspace(2.0, 0.1, 128))
    params = {part: f"$model/{part}" for part in ("segmentation", "embedding", "plda")}
    pipeline = {
        "name": "pyannote.audio.pipelines.SpeakerDiarization",
        "params": params | {"clustering": "VBxClustering", "embedding_exclude_overlap": True},
    }
    tuned = {
        "clustering": {"threshold": 0.6, "Fa": 0.07, "Fb": 0.8},
        "segmentation": {"min_duration_off": 0.0},
    }
    config = yaml.safe_dump({"pipeline": pipeline, "params": tuned})
    (folder / "config.yaml").write_text(config, encoding="utf-8")


def _grounding_dino() -> Network:
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    return GroundingDinoForObjectDetection(GroundingDinoConfig())


def _mm_grounding_dino() -> Network:
    from transformers import MMGroundingDinoConfig, MMGroundingDinoForObjectDetection

    return MMGroundingDinoForObjectDetection(MMGroundingDinoConfig())


def _save_grounding_dino(network: Network, folder: Path) -> None:
    from transformers import BertTokenizer, GroundingDinoImageProcessor, GroundingDinoProcessor

    network.save_pretrained(folder)
    pieces = [f"[unused{n}]" for n in range(30_522)]
    pieces[100:104] = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces[0], pieces[1012], pieces[1029] = "[PAD]", ".", "?"
    pieces[2000 : 2000 + len(WORDS)] = WORDS
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(pieces), encoding="utf-8")
    tokenizer = BertTokenizer(vocab=str(vocabulary), do_lower_case=True)
    processors: Any = GroundingDinoProcessor
    processors(GroundingDinoImageProcessor(), tokenizer).save_pretrained(folder)


def _sam2() -> Network:
    """SAM 2.1 small; the official checkpoint is of the video model."""
    from transformers import Sam2VideoConfig, Sam2VideoModel

    hiera_small = {
        "model_type": "sam2_hiera_det_model",
        "blocks_per_stage": [1, 2, 11, 2],
        "global_attention_blocks": [7, 10, 13],
    }
    return Sam2VideoModel(Sam2VideoConfig(vision_config={"backbone_config": hiera_small}))


def _save_sam2(network: Network, folder: Path) -> None:
    from transformers import Sam2ImageProcessor, Sam2VideoProcessor, Sam2VideoVideoProcessor

    network.save_pretrained(folder)
    processors: Any = Sam2VideoProcessor
    processors(Sam2ImageProcessor(), Sam2VideoVideoProcessor()).save_pretrained(folder)


def _xmem() -> Network:
    from avipipe.annotators.xmem.network import XMem

    return XMem()


def _save_xmem(network: Network, folder: Path) -> None:
    import torch

    torch.save(network.state_dict(), folder / "XMem.pth")


def _qwen3_vl() -> Network:
    """Qwen3-VL-4B."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    text = {
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    }
    vision = {
        "depth": 24,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "out_hidden_size": 2560,
        "deepstack_visual_indexes": [5, 11, 17],
    }
    config = Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True)
    return Qwen3VLForConditionalGeneration(config)


RECIPES = {
    "ast": Recipe(_ast, _save_ast),
    "clap": Recipe(_clap, _save_clap),
    "pe_av": Recipe(_pe_av, _save_pe_av),
    "htdemucs": Recipe(_htdemucs, _save_htdemucs),
    "pyannote_diarization": Recipe(_pyannote, _save_pyannote),
    "grounding_dino": Recipe(_grounding_dino, _save_grounding_dino),
    "mm_grounding_dino": Recipe(_mm_grounding_dino, _save_grounding_dino),
    "sam2": Recipe(_sam2, _save_sam2),
    "xmem": Recipe(_xmem, _save_xmem),
    "qwen3_vl": Recipe(_qwen3_vl, None),
}
"""Weights that are not here for everybody to use; how long a reply is only a trained one knows."""
