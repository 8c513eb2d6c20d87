"""Editing an instance of a video in sync with its sound: `avipipe edit` in code."""
