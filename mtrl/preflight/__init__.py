"""Checks of one run before it is launched: settings, sizes, memory, ports, versions. Seconds, no GPU.

In: Recipe, Run, data folder, Rendered (upstream.yaml, read by type). Out: Check (level, text, next command).
May import: all rooms below it; not runs.
"""
