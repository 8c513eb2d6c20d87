"""FlowAnchor (arXiv 2604.22586): Wan edits by the difference of two prompts, without training."""
