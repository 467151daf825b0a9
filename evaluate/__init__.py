"""From a judge and converted data to predictions.jsonl and metrics.json; and verdicts on images of one's own.

In: Subject (a judge), Task, an Engine. Out: rows of predictions, scores read back as types.
May import: core, config, models, reward_plugins, converters, evaluate.engines, evaluate.metrics.
"""
