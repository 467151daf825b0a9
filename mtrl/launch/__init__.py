"""From a resolved recipe to one upstream config file, one command line and one environment; then to a process."""
