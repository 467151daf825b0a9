"""One metric per module, from prediction rows alone. Fractions; scikit-learn and scipy compute, we choose.

In: rows of predictions. Out: the keys of metrics.json.
May import: core, config, converters.pipeline (which rows belong together).
"""
