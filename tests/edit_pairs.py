"""Edit pairs, and published datasets whose samples have some."""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from avipipe.errors import ManifestError
from avipipe.manifests.dataset import plain_name
from avipipe.manifests.edits import EditKind, EditPair, edits_to_json, read_edits
from avipipe.manifests.rle import canonical_json
from avipipe.manifests.tables import EDITS_NAME


def edit_pair(kind: EditKind = "same_class", number: int = 1, **changes: Any) -> EditPair:
    """A pair that is whole; only what is told of it is another."""
    told: dict[str, Any] = {
        "name": f"{kind}-{number}",
        "kind": kind,
        "source_caption": "A dog barks in a garden.",
        "target_caption": f"A cat meows in a garden, {number}.",
        "source_label": "dog",
        "target_label": None if kind == "delete" else "cat",
        "instruction": "replace the dog with a cat",
        "sound_instruction": None,
        "precision": 0,
        "made_by": "template@1",
    }
    return EditPair.model_validate({**told, **changes})


def member_of(*pairs: EditPair) -> bytes:
    """The content of `edits.json`."""
    return canonical_json(edits_to_json(pairs))


def put_edits(dataset: Path, edits: Mapping[str, bytes]) -> None:
    """Write `edits.json` (clip -> its content) into the shards of a published dataset, and what can
    be read of them into its manifest."""
    listing = json.loads((dataset / "dataset.json").read_bytes())
    for entry in listing["shards"]:
        path, content = dataset / entry["name"], io.BytesIO()
        with tarfile.open(path) as old, tarfile.open(fileobj=content, mode="w") as new:
            for header in old:
                if header.name.endswith(".edits.json"):
                    continue
                new.addfile(header, old.extractfile(header))
                key, _, member = header.name.partition(".")
                if member == "flac" and key in edits:
                    added = tarfile.TarInfo(f"{key}.edits.json")
                    added.size = len(edits[key])
                    new.addfile(added, io.BytesIO(edits[key]))
        path.write_bytes(content.getvalue())
        entry["sha256"] = sha256(content.getvalue()).hexdigest()
    manifests = listing["manifests"]
    for name in [name for name in manifests if plain_name(name) == EDITS_NAME]:
        del manifests[name]
    manifests[EDITS_NAME] = _write_table(dataset / EDITS_NAME, list(_rows(edits)))
    (dataset / "dataset.json").write_text(json.dumps(listing))


def _rows(edits: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    for clip_id, content in edits.items():
        with suppress(ManifestError):
            for pair in read_edits(content):
                yield {"clip_id": clip_id, **pair.model_dump()}


def _write_table(path: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return its entry in the index."""
    types = dict.fromkeys(("clip_id", *EditPair.model_fields), pa.string())
    schema = pa.schema({**types, "precision": pa.int64()})
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    content = path.read_bytes()
    digest = sha256(content).hexdigest()
    return {"sha256": digest, "num_bytes": len(content), "num_rows": len(rows)}
