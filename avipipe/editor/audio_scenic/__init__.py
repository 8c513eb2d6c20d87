"""AudioScenic (arXiv 2404.16581): a sound changes the scene around what stays."""
