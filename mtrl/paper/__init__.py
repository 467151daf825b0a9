"""The paper's tables: what is published, what is measured here, what is left to do.

In: recipes, run directories, metrics.json files. Out: Table, Cell, Step.
May import: all rooms below it; not demo or commands.
"""
