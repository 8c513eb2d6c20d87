import pyarrow as pa

from avipipe.manifests.tables import clips_schema, sources_schema


def test_evidence_has_a_column_for_each_scalar() -> None:
    schema = clips_schema()
    assert schema.field("listen.speech_ratio").type == pa.float64()
    assert schema.field("listen.num_speakers").type == pa.int64()
    assert schema.field("listen.tags").type == pa.map_(pa.string(), pa.float64())
    assert schema.field("fingerprint.audio_chromaprint").type == pa.list_(pa.int64())
    # Lists of turns have no place in a table; the column `evidence` has them.
    assert "listen.speech" not in schema.names
    assert schema.names[-2:] == ["evidence", "provenance"]


def test_names_are_as_the_contract_says() -> None:
    assert clips_schema().names[:9] == [
        "clip_id",
        "source_id",
        "source_uri",
        "start_s",
        "end_s",
        "decision",
        "reason",
        "split",
        "shard",
    ]
    assert {"source_id", "source_uri", "status", "reason"} <= set(sources_schema().names)
