"""The report of a build: one HTML file on what was kept, what was not, and why."""
