"""How a build runs: configuration, stage graph, store, executors, orchestration, report."""
