"""One module per upstream trainer: a recipe becomes one configuration file, one command and one environment.

In: Recipe, Run, data folder. Out: Job, and the rows that the trainer's own log gives. `base` says what a backend must
have. May import: core, config, models, reward_plugins, converters.pipeline.
"""
