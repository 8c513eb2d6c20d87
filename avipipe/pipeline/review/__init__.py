"""The review page: a sample of a dataset's clips, for people to judge."""
