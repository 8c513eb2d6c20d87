"""AvED (arXiv 2503.20782): Stable Diffusion and AudioLDM 2 edit picture and sound together."""
