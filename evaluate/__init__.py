"""From a judge and converted data to predictions.jsonl and metrics.json; and verdicts on the user's own images.

In: Subject (a judge), Task, Engine. Out: Prediction, Scores (each task's TaskMetrics), Verdict.
May import: core, config, models, reward_plugins, converters, evaluate.engines, evaluate.metrics.
"""
