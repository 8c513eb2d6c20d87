"""Tools without weights: rules and classical signal processing, each marked as such by its name.

They hear when something sounds and how, never what it is.
"""
