"""Checks of one run before it is launched: settings, sizes, memory, ports, versions. Seconds, no GPU.

In: Recipe, data folder, the configuration as rendered. Out: Check (level, text, next command).
May import: all rooms below it; not runs.
"""
