"""The decision: from stored evidence to keep or drop, and why."""
