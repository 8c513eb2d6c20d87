"""Clients of model endpoints, for annotators, agent and judges."""
