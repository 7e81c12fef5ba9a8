"""kinds: the faults, a module per kind, each with a function `faults` that lists them."""
