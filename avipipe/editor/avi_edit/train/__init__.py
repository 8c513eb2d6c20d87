"""Training the editor: one loop, from a laptop's CPU to many GPUs."""
