"""Fitting the numbers of the decision to clips that people have judged."""
