"""Looking at converted data: counts against Table 1, leakage between tasks, changed files, fitting a label rule.

In: Task, the data folder. Out: Check, counts.
May import: core, config, converters and its other rooms.
"""
