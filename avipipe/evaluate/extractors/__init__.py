"""One model a file: from pixels or samples to features, with weights from the lock alone."""
