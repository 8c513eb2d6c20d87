"""XMem against numbers of the official implementation."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from avipipe.annotators.xmem.inference import Tracker
from avipipe.annotators.xmem.memory import (
    Keys,
    KeyValueStore,
    MemoryLimits,
    affinity,
    consolidate,
    similarity,
    survivors,
)
from avipipe.annotators.xmem.network import Widths, XMem, aggregate
from tests.parity import xmem_fixtures as fixtures
from tests.parity.xmem_fixtures import SCENARIO, Array, Arrays, arrays, check

pytestmark = pytest.mark.usefixtures("one_thread")

NET_TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}
MEMORY_TOLERANCE = {"atol": 1e-5, "rtol": 1e-4}


@pytest.fixture(scope="module")
def network() -> XMem:
    return fixtures.network()


def test_weights_are_those_of_the_recipe() -> None:
    state = fixtures.state()
    for key, expected in SCENARIO["weight_check"].items():
        values = state[key].numpy()
        np.testing.assert_allclose(values.ravel()[:4], expected["first"], rtol=1e-6)
        assert values.astype(np.float64).sum() == pytest.approx(expected["sum"], rel=1e-5)


def test_the_official_state_dict_loads_and_is_whole(network: XMem) -> None:
    assert network.widths == Widths()
    assert len(network.state_dict()) == 412
    assert sum(parameter.numel() for parameter in network.parameters()) == 62_185_224


class Modules:
    """One pass through each part, and what came out of the sub-modules."""

    def __init__(self, network: XMem, expected: Arrays) -> None:
        setting = SCENARIO["modules"]
        height, width = setting["size"]
        images, masks = fixtures.frames(setting["seed"], 2, height, width, 2)
        self.images, self.mask = images, torch.from_numpy(masks[0]).float()
        rng = np.random.default_rng(setting["seed"] + 1)
        h, w = height // 16, width // 16
        hidden0 = self._draw(rng.uniform(-0.5, 0.5, (1, 2, 64, h, w)))
        readout = self._draw(rng.standard_normal((1, 2, 512, h, w)))
        hidden1 = self._draw(rng.uniform(-0.5, 0.5, (1, 2, 64, h, w)))
        self.outputs: dict[str, Tensor] = {}
        names = {k[4:].rpartition("_")[0] for k in expected if k.startswith("mod.")}
        hooks = [
            network.get_submodule(name).register_forward_hook(
                lambda _module, _args, out, name=name: self._note(name, out)
            )
            for name in names
        ]
        with torch.inference_mode():
            self.key, self.features = network.encode_key(images[:1])
            self.value, self.value_hidden = network.encode_value(
                images[:1], self.features, hidden0, self.mask
            )
            _, features1 = network.encode_key(images[1:])
            raw, self.segment_hidden = network.segment(features1, readout, hidden1)
            self.raw_logits = raw
            self.logits, self.prob = aggregate(torch.sigmoid(raw))
            for hook in hooks:
                hook.remove()
            self.value_single, _ = network.encode_value(
                images[:1], self.features, hidden0[:1], self.mask[:1]
            )

    def _note(self, name: str, output: Tensor) -> None:
        """The first call is the one that counts."""
        self.outputs.setdefault(name, output)

    @staticmethod
    def _draw(array: Array) -> Tensor:
        return torch.from_numpy(array.astype(np.float32))[0]


@pytest.fixture(scope="module")
def expected() -> Arrays:
    return arrays("modules")


@pytest.fixture(scope="module")
def modules(network: XMem, expected: Arrays) -> Modules:
    return Modules(network, expected)


def test_inputs_are_those_of_the_recipe(modules: Modules, expected: Arrays) -> None:
    for index in (0, 1):
        check(expected, f"image{index}", modules.images[index], atol=1e-6)
    assert (modules.mask.numpy() == expected["mask0"][0]).all()


def test_encoders(modules: Modules, expected: Arrays) -> None:
    for name in ("f16", "f8", "f4"):
        check(expected, name, getattr(modules.features, name), **NET_TOLERANCE)
    for name, tensor in zip(("key", "shrinkage", "selection"), modules.key, strict=True):
        check(expected, name, tensor, **NET_TOLERANCE)
    check(expected, "value", modules.value, **NET_TOLERANCE)
    check(expected, "value_hidden", modules.value_hidden, **NET_TOLERANCE)
    check(expected, "value_single", modules.value_single, **NET_TOLERANCE)
    sliced = {"value": expected["value_slice"], "single": expected["value_single_slice"]}
    check(sliced, "value", modules.value[:, :8], **NET_TOLERANCE)
    check(sliced, "single", modules.value_single[:, :8], **NET_TOLERANCE)


def test_decoder(modules: Modules, expected: Arrays) -> None:
    check(expected, "segment_raw_logits", modules.raw_logits, **NET_TOLERANCE)
    check(expected, "segment_hidden", modules.segment_hidden, **NET_TOLERANCE)
    check(expected, "segment_logits", modules.logits, atol=1e-3)
    check(expected, "segment_prob", modules.prob, atol=1e-4)


def test_every_part(modules: Modules, expected: Arrays) -> None:
    assert len(modules.outputs) == 13
    for name, output in modules.outputs.items():
        check(expected, f"mod.{name}", output, **NET_TOLERANCE)


def similarity_inputs(scale: float = 1.0) -> tuple[Tensor, ...]:
    rng = np.random.default_rng(SCENARIO["similarity"]["seed"])
    mk, ms = 0.5 * rng.standard_normal((1, 64, 50)), 1 + rng.standard_normal((1, 1, 50)) ** 2
    qk, qe = 0.5 * rng.standard_normal((1, 64, 12)), rng.uniform(0, 1, (1, 64, 12))
    mv = rng.standard_normal((1, 16, 50))
    drawn = [torch.from_numpy(array.astype(np.float32))[0] for array in (mk, ms, qk, qe, mv)]
    return scale * drawn[0], *drawn[1:]


def test_similarity_and_readout() -> None:
    expected, k = arrays("similarity"), SCENARIO["similarity"]["topk"]
    mk, ms, qk, qe, mv = similarity_inputs()
    near = similarity(mk, ms, qk, qe)
    check(expected, "similarity", near, **MEMORY_TOLERANCE)
    check(expected, "similarity_no_selection", similarity(mk, ms, qk, None), **MEMORY_TOLERANCE)
    check(expected, "similarity_no_shrinkage", similarity(mk, None, qk, qe), **MEMORY_TOLERANCE)
    whole, best = affinity(near), affinity(near, top_k=k)
    check(expected, "affinity_all", whole, **MEMORY_TOLERANCE)
    check(expected, "affinity_topk", best, **MEMORY_TOLERANCE)
    check(expected, "usage_topk", best.sum(dim=1), **MEMORY_TOLERANCE)
    check(expected, "readout_topk", mv @ best, **MEMORY_TOLERANCE)
    check(expected, "readout_all", mv @ whole, **MEMORY_TOLERANCE)


def test_far_memories_give_no_nan() -> None:
    expected, k = arrays("similarity"), SCENARIO["similarity"]["topk"]
    mk, ms, qk, qe, _ = similarity_inputs(scale=30.0)
    far = similarity(mk, ms, qk, qe)
    assert expected["far_reference_is_nan"].any()
    check(expected, "far_similarity", far, atol=0.0, rtol=1e-4)
    exact = expected["far_affinity_topk"][0]
    stored = affinity(torch.from_numpy(expected["far_similarity"][0]), top_k=k).numpy()
    np.testing.assert_allclose(stored, exact, atol=1e-2)
    for query in range(far.shape[1]):
        top = set(far[:, query].topk(k).indices.tolist())
        assert set(np.flatnonzero(exact[:, query])) <= top
    np.testing.assert_allclose(affinity(far, top_k=k).numpy(), exact, atol=1e-2)


def test_a_query_may_read_more_than_there_is() -> None:
    scores = torch.tensor([[0.0, -1.0], [-1.0, -300.0]])
    assert torch.equal(affinity(scores, top_k=30), affinity(scores))


def test_aggregation() -> None:
    expected = arrays("similarity")
    logits, prob = aggregate(torch.from_numpy(expected["aggregate_in"]))
    check(expected, "aggregate_logits", logits, atol=1e-3)
    check(expected, "aggregate_prob", prob, atol=1e-5)


def test_consolidation() -> None:
    expected = arrays("memory")
    rng = np.random.default_rng(SCENARIO["memory"]["seed"])
    k, s = 0.5 * rng.standard_normal((64, 60)), 1 + rng.standard_normal((1, 60)) ** 2
    e, usage = rng.uniform(0, 1, (64, 60)), rng.uniform(0, 1, 60)
    v0, v1 = rng.standard_normal((2, 16, 60)), rng.standard_normal((1, 16, 30))
    key, shrinkage, selection, use_N, first, late = (
        torch.from_numpy(array.astype(np.float32)) for array in (k, s, e, usage, v0, v1)
    )
    prototypes, values, index_P = consolidate(
        Keys(key, shrinkage, selection),
        use_N,
        [first, late, None],
        num_prototypes=SCENARIO["memory"]["P"],
    )
    assert index_P.tolist() == expected["prototype_indices"].tolist()
    check(expected, "prototype_key", prototypes.key_CN, **MEMORY_TOLERANCE)
    check(expected, "prototype_shrinkage", prototypes.shrinkage_1N, **MEMORY_TOLERANCE)
    assert values[0] is not None
    assert values[1] is not None
    assert values[2] is None
    check(expected, "prototype_value_group0", values[0], **MEMORY_TOLERANCE)
    check(expected, "prototype_value_group1", values[1], **MEMORY_TOLERANCE)


@pytest.mark.parametrize("case", ["evict", "evict_ties"])
def test_eviction(case: str) -> None:
    expected = arrays("memory")
    usage_N = torch.from_numpy(expected[f"{case}_use"] / expected[f"{case}_life"])
    stays_N = survivors(usage_N, max_size=SCENARIO["memory"]["evict_to"])
    assert stays_N.nonzero()[:, 0].tolist() == expected[f"{case}_survivors"].tolist()


def test_nothing_is_evicted_where_all_fits() -> None:
    store = KeyValueStore(Keys(*torch.ones(3, 1, 4)), [torch.ones(1, 2, 4), torch.ones(1, 2, 1)])
    store.evict(max_size=4)
    assert store.size == 4
    store.count_use(torch.tensor([0.1, 0.4, 0.3, 0.2]))
    store.evict(max_size=2)
    assert store.size == 2
    assert [value.shape[-1] for value in store.values] == [2, 0]


def new_tracker(network: XMem, cfg: dict[str, int]) -> Tracker:
    limits = MemoryLimits(
        top_k=cfg["top_k"],
        long_term=bool(cfg["enable_long_term"]),
        max_work_frames=cfg["max_mid_term_frames"],
        min_work_frames=cfg["min_mid_term_frames"],
        num_prototypes=cfg["num_prototypes"],
        max_long_elements=cfg["max_long_term_elements"],
    )
    deep = cfg["deep_update_every"] if cfg["deep_update_every"] >= 0 else None
    return Tracker(network, limits, memory_every=cfg["mem_every"], deep_update_every=deep)


def used(store: KeyValueStore | None) -> list[float]:
    """Mean and maximum of use by life."""
    if store is None:
        return [np.nan, np.nan]
    return [float(store.usage().mean()), float(store.usage().max())]


class Run:
    """A sequence frame by frame, and what is compared after each."""

    def __init__(self, network: XMem, sequence: dict[str, Any], given: Arrays) -> None:
        height, width = sequence["size"]
        self.images, _ = fixtures.frames(
            sequence["seed"], sequence["T"], height, width, sequence["objects"]
        )
        self.tracker = new_tracker(network, sequence["cfg"])
        self.events = {event["t"]: event["valid_labels"] for event in sequence["events"]}
        self.given = given
        self.end = sequence["T"] - 1 if sequence["end_last"] else None
        self.readout: Tensor | None = None
        network.decoder.register_forward_pre_hook(self._note_readout)

    def _note_readout(self, _module: object, args: tuple[Any, ...]) -> None:
        self.readout = args[1]

    def step(self, frame: int) -> Tensor:
        self.readout, masks, labels = None, None, None
        if frame in self.events:
            masks = torch.from_numpy(self.given[f"mask_t{frame}"]).float()
            labels = [label - 1 for label in self.events[frame]]
        last = frame == self.end
        return self.tracker.step(self.images[frame], masks, given=labels, last=last)[1:]


@pytest.mark.parametrize("sequence", SCENARIO["sequences"], ids=lambda s: str(s["name"]))
def test_frame_by_frame(network: XMem, sequence: dict[str, Any]) -> None:
    expected = arrays(f"seq_{sequence['name']}")
    run = Run(network, sequence, expected)
    whole = dict(zip(expected["prob_full_frames"], expected["prob_full"], strict=True))
    for frame in range(sequence["T"]):
        prob = run.step(frame)
        at = {name: array[frame] for name, array in expected.items() if len(array) == sequence["T"]}
        check(at, "image", run.images[frame], atol=1e-6)
        check(at | {"prob": at["prob_half"][: len(prob)]}, "prob", prob[:, ::2, ::2], atol=1e-4)
        assert np.isnan(at["prob_half"][len(prob) :]).all()
        if frame in whole:
            check({"prob": whole[frame][: len(prob)]}, "prob", prob, atol=1e-4)
        memory = run.tracker.memory
        assert memory.work is not None
        assert memory.work.size == at["work_size"]
        assert (memory.long.size if memory.long else 0) == at["long_size"]
        if sequence["cfg"]["enable_long_term"]:
            found = used(memory.work) + used(memory.long)
            np.testing.assert_allclose(found, at["usage"], rtol=1e-3)
        assert run.tracker.hidden_OChw is not None
        check(at, "hidden", run.tracker.hidden_OChw, atol=5e-4)
        if run.readout is None:
            assert np.isnan(at["readout_stats"]).all()
        else:
            check(at, "readout", run.readout, atol=5e-4)
