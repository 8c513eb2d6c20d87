"""The filter of the Frequency Fuser against the numbers of FreeInit's own code.

FreeInit misses the zero frequency by half a step where a side is odd, and its `ideal` ends at
twice the stop instead of the stop squared; where they matter, both are put back here.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from avipipe.editor.audio_scenic.frequency import ORDER, LowPass, Response, answer, fuse
from tests.parity.aviedit_fixtures import SCENARIO, arrays, given

PARITY = Path(
    os.environ.get("AVIPIPE_PARITY_DIR", Path(__file__).parents[2].parent / "shared" / "parity")
)
METRICS = PARITY / "metrics" / "freeinit_filters.npz"

RESPONSES: tuple[Response, ...] = ("butterworth", "gaussian", "ideal")


def slipped(size: tuple[int, ...], space_stop: float, time_stop: float) -> Tensor:
    """FreeInit's squared distances, zero frequency about the middle."""
    time, rows, columns = (2 * torch.arange(side).double() / side - 1 for side in size)
    scaled = (space_stop / time_stop) * time
    return scaled[:, None, None] ** 2 + rows[:, None] ** 2 + columns**2


def filters(
    size: tuple[int, ...], stops: tuple[float, float], response: Response
) -> dict[str, Tensor]:
    """A filter as FreeInit lays it out: by its distances, and by ours where they are the same."""
    found = {"slipped": answer(slipped(size, *stops), stops[0], response)}
    if all(side % 2 == 0 for side in size):
        time, rows, columns = size
        ours = LowPass(*stops, response).at((time, rows, columns))
        found["ours"] = torch.fft.fftshift(ours)
    return found


def check(
    expected: dict[str, Tensor], stops: tuple[float, float], latent: Tensor, noise: Tensor
) -> None:
    """Filters of all responses, and what is made of two videos' frequencies with them."""
    for response in RESPONSES:
        name = "ideal_squared_radius" if response == "ideal" else response
        wanted = expected[name].double()
        size = tuple(wanted.shape)
        for found in filters(size, stops, response).values():
            assert (found.double() - wanted).abs().max() < 1e-6, (size, response)
        released = expected[response].float()
        if response == "ideal":
            assert torch.equal(released, (slipped(size, *stops) <= 2 * stops[0]).float())
        low = torch.fft.ifftshift(released)
        zero = torch.zeros(1)
        mixed = fuse(latent, zero, low) + noise - fuse(noise, zero, low)
        tolerance = 2e-5 * max(1.0, float(expected[f"{response}_mix"].abs().max()))
        assert (mixed - expected[f"{response}_mix"]).abs().max() < tolerance


def test_filters_and_mixes_are_those_of_freeinit() -> None:
    found = arrays("freeinit")
    assert SCENARIO["freeinit"]["n"] == ORDER
    for space_stop, time_stop in SCENARIO["freeinit"]["params"]:
        end = f"_ds{space_stop}_dt{time_stop}"
        mine = {key.replace(end, ""): value for key, value in found.items() if end in key}
        check(mine, (space_stop, time_stop), given("freeinit.latent"), given("freeinit.noise"))


def test_filters_and_mixes_are_those_of_the_metrics_set() -> None:
    if not METRICS.is_file():
        pytest.skip(f"no reference numbers at {METRICS}; set AVIPIPE_PARITY_DIR")
    with np.load(METRICS) as file:
        found = {key: torch.from_numpy(file[key]) for key in file.files}
    names = sorted({key.split("_")[0] for key in found if key.endswith("_params")})
    checked = 0
    for name in names:
        mine = {
            key.removeprefix(f"{name}_"): value
            for key, value in found.items()
            if key.startswith(f"{name}_")
        }
        space_stop, time_stop, order = mine["params"].tolist()
        if order == ORDER:  # ours is not for choice
            check(mine, (space_stop, time_stop), mine["latent"], mine["noise"])
            checked += 1
    assert checked
