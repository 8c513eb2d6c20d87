"""What measured numbers can tell: intervals, tests, distances between sets, and chance levels."""
