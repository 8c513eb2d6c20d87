"""What kinds of edit there are."""

from typing import Literal

Task = Literal["edit", "insertion", "deletion"]
