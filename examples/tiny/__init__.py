"""Tiny models of editing methods, trained in minutes on a CPU on two coloured shapes."""
