"""Measures edits: what is compared, the metrics of the field by protocol, and what they can tell.

It reads videos and manifests and never imports the editor: what is measured may come from anywhere.
"""
