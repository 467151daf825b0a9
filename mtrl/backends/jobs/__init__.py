"""Scripts that run in an upstream tool's environment, as processes of their own.

In: the path of upstream.yaml. Out: checkpoints and logs, or the result of a check on standard output.
May import: core, config, models, converters.pipeline (as far as that environment can).
"""
