"""Pages that need no network and run no script of anybody else: the report, the comparison, judged images.

In: predictions, metrics, images. Out: one .html file.
May import: core, config, reward_plugins, converters, evaluate and its other rooms.
"""
