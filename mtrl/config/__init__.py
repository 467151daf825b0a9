"""What a user writes, as types: recipes, tasks, prompts; and the samples that a task's conversion stores.

In: YAML, Jinja and parquet files. Out: Recipe, Task, Sample, a rendered prompt, or a UserError.
May import: core.
"""
