"""One metric a file: pure functions of arrays, each of a named protocol."""
