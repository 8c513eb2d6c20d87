"""Editing latents: the sampler, and the models around it."""
