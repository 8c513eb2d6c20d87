"""The editor that is learnt from a dataset: its network, and what trains and runs it.

Everything here needs torch and diffusers (`pip install 'avipipe[editor]'`).
"""
