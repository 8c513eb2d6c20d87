"""The networks of the extractors, in the names of the public checkpoints; these import torch."""
