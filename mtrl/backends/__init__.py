"""One module per upstream trainer: a recipe becomes one configuration file, one command and one environment.

In: recipe, run directory, data folder. Out: the job, the rows of the trainer's log, a checkpoint as a model folder.
`base` is the interface. May import: core, config, models, reward_plugins, converters.pipeline.
"""
