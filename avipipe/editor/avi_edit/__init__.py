"""AVI-Edit (CVPR 2026): its network, data, training, and editing with it."""
