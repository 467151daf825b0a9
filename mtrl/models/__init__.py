"""A model as files: where it is, its card (mtrl.json), its image budget, its experts' layout, what has changed.

In: a model's folder. Out: types and hashes; no weights are loaded.
May import: core, config.
"""
