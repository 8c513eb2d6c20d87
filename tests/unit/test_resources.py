"""What workers hold, on machines with and without GPUs."""

import pytest

from avipipe.annotators.embedded.caption import TemplateCaptioner
from avipipe.annotators.embedded.detect import MotionDetector
from avipipe.annotators.embedded.localize import MotionLocalizer
from avipipe.annotators.embedded.vad import EnergyVad
from avipipe.annotators.registry import BACKENDS, create
from avipipe.errors import ConfigError
from avipipe.pipeline.config import load_config
from avipipe.pipeline.graph import Graph
from avipipe.pipeline.resources import Cluster, FusedStages, fuse_stages, gpu_shares


class GpuVad(EnergyVad):
    gpu = True


class GpuLocalizer(MotionLocalizer):
    gpu = True


class GpuDetector(MotionDetector):
    gpu = True


class GpuCaptioner(TemplateCaptioner):
    gpu = True


FOUR = [
    f"annotators.vad={__name__}:GpuVad",
    f"annotators.localize={__name__}:GpuLocalizer",
    f"annotators.detect={__name__}:GpuDetector",
    f"annotators.caption={__name__}:GpuCaptioner",
]
POOLED = ["listen", "look", "mask", "caption"]


def graph(*settings: str) -> Graph:
    return Graph(load_config(None, settings))


def pools(found: list[FusedStages]) -> dict[str, FusedStages]:
    return {segment.stages[0]: segment for segment in found if segment.pool_size}


def test_every_stage_has_one_place() -> None:
    for settings in ([], FOUR):
        made = graph(*settings)
        found = fuse_stages(made, Cluster(4, 1))
        stages = [name for segment in found for name in segment.stages]
        assert stages == [stage.name for stage in made.stages]
        assert [segment.fans_out for segment in found] == ["shots" in s.stages for s in found]


def test_without_models_there_are_no_pools() -> None:
    assert not pools(fuse_stages(graph(), Cluster(8, 2)))


def test_without_a_gpu_models_run_on_cpus() -> None:
    found = pools(fuse_stages(graph(*FOUR), Cluster(num_cpus=2)))
    assert list(found) == POOLED
    assert {pool.resources.num_gpus for pool in found.values()} == {0.0}
    assert {pool.pool_size for pool in found.values()} == {1}
    assert sum(pool.resources.num_cpus for pool in found.values()) == 1.0
    large = pools(fuse_stages(graph(*FOUR), Cluster(num_cpus=64)))
    assert {pool.resources.num_cpus for pool in large.values()} == {15.0}


@pytest.mark.parametrize(("num_gpus", "pool_size"), [(1, 4), (2, 8)])
def test_stages_share_a_gpu_equally(num_gpus: int, pool_size: int) -> None:
    found = pools(fuse_stages(graph(*FOUR), Cluster(16, num_gpus)))
    assert list(found) == POOLED
    assert {pool.resources.num_gpus for pool in found.values()} == {0.25}
    assert {pool.pool_size for pool in found.values()} == {pool_size}


def test_three_stages_fit_on_one_gpu_in_spite_of_rounding() -> None:
    shares = gpu_shares(graph(*FOUR[:3]), Cluster(4, 1))
    assert shares == dict.fromkeys(POOLED[:3], 0.3333)


def test_what_is_told_is_taken_from_what_is_shared() -> None:
    made = graph(*FOUR, "executor.num_gpus.caption=0.7")
    assert gpu_shares(made, Cluster(8, 1)) == pytest.approx(
        {"listen": 0.1, "look": 0.1, "mask": 0.1, "caption": 0.7}
    )
    kept_off = graph(*FOUR, "executor.num_gpus.listen=0")
    assert gpu_shares(kept_off, Cluster(8, 1))["listen"] == 0.0
    assert pools(fuse_stages(kept_off, Cluster(8, 2)))["listen"].pool_size == 1
    own = graph("executor.num_gpus.mask=0.5")
    assert gpu_shares(own, Cluster(8, 1)) == {"mask": 0.5}


def test_more_than_this_machine_has_is_refused() -> None:
    greedy = ["executor.num_gpus.caption=1", "executor.num_gpus.mask=1"]
    with pytest.raises(ConfigError, match=r"executor\.num_gpus.*needs 4 GPUs.*has 1"):
        fuse_stages(graph(*FOUR, *greedy, "executor.num_gpus.look=1"), Cluster(8, 1))
    with pytest.raises(ConfigError, match="has 0"):
        fuse_stages(graph("executor.num_gpus.mask=1"), Cluster(8))
    may_grow = graph("executor.num_gpus.mask=1", "executor.ray_address=auto")
    assert pools(fuse_stages(may_grow, Cluster(8)))["mask"].resources.num_gpus == 1.0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("executor.num_gpus.masks=1", "found 'masks'"),
        ("executor.num_gpus.mask=1.5", r"found 1\.5"),
        ("executor.num_gpus.mask=-1", "found -1"),
        ("executor.num_gpus.mask=.nan", "found nan"),
        ("executor.max_worker_gb=0", "greater than 0"),
    ],
)
def test_wrong_settings_are_named(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(None, [setting])


@pytest.mark.parametrize("num_cpus", [1, 2, 3, 4, 5, 16, 64])
@pytest.mark.parametrize("num_gpus", [0, 1, 2, 8])
@pytest.mark.parametrize("settings", [FOUR[:1], FOUR, [*FOUR, "executor.num_gpus.look=0"]])
def test_pools_never_starve_anybody(num_cpus: int, num_gpus: int, settings: list[str]) -> None:
    found = fuse_stages(graph(*settings), Cluster(num_cpus, num_gpus))
    others = [segment.resources.num_cpus for segment in found if not segment.pool_size]
    assert max(others) == 1.0
    held = list(pools(found).values())
    assert sum(pool.resources.num_gpus for pool in held) <= num_gpus
    # As many workers as the GPUs let in, each with the CPUs of the hungriest.
    hungriest = max(held, key=lambda pool: pool.resources.num_cpus).resources.num_cpus
    least_share = min((p.resources.num_gpus for p in held if p.resources.num_gpus), default=0)
    on_gpu = num_gpus / least_share if least_share else 0
    on_cpu = sum(not pool.resources.num_gpus for pool in held)
    assert (int(on_gpu) + on_cpu) * hungriest <= num_cpus - max(others) + 1e-9


def test_an_encoder_gets_no_more_threads_than_there_are() -> None:
    found = fuse_stages(graph("stages.cut.threads=8", *FOUR), Cluster(2))
    assert max(segment.resources.num_cpus for segment in found) == 2
    assert {pool.resources.num_cpus for pool in pools(found).values()} == {0.0}


def test_full_backends_want_a_gpu_and_others_do_not() -> None:
    for role, backends in BACKENDS.items():
        for name, reference in backends.items():
            if name != "endpoint":
                wants = getattr(create(role, name), "gpu", False)
                assert wants == ("annotators.full." in reference), (role, name)
