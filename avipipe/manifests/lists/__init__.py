"""The forms of a source list, a file each; `manifests.sources` chooses among them."""
