"""One metric per module, from predictions alone. scikit-learn and scipy compute them; rates are fractions.

In: Prediction. Out: TaskMetrics (a task in metrics.json), Comparison (of two judges).
May import: core, config, converters.pipeline (which rows belong together).
"""
