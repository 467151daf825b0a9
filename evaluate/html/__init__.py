"""Pages that load nothing and run no script but their own: the report, the comparison, judged images, curves.

In: predictions, metrics, images. Out: one .html file.
May import: core, config, reward_plugins, converters, evaluate and its other rooms.
"""
