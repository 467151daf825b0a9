"""A run from launch to export: the trainer's process, its checkpoints, the choice among them.

In: a run directory. Out: an exported model folder, select.json, the reason why a run failed.
May import: all rooms below it; not paper, demo or commands.
"""
