"""From a configuration to a measured cell: options, sweeps, and the only place where zoo and method meet."""
