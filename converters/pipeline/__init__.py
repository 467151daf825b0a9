"""From Rows to the data folder: images stored once, splits, near duplicates, exports, counts, what has not changed.

In: Task, Rows. Out: samples_*.parquet, sft_*.json, rl_*.parquet, card.json. Before that, for a table that has no task
yet: in the table, out the YAML and prompts of a task.
May import: core, config, converters, converters.readers.
"""
