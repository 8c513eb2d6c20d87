"""Tools with models behind them, here or over a network; heavy packages are imported in `setup`."""
