"""Sounds made by rule: what the agent has without weights, and what synthetic clips hold."""
