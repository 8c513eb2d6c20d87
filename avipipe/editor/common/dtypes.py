"""The types that models compute in, by the names that settings have for them."""

from typing import Literal

import torch

Precision = Literal["bf16", "fp32"]

DTYPES: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp32": torch.float32}
