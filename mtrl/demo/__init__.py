"""The demo: releases of generated images, a tiny model, and the commands that train and score it. The GPU check, the
study of unseen formats.

In: a seed. Out: files in the formats of the real releases; runs of `mtrl` itself.
May import: core, config, evaluate, html, backends, preflight, runs.
"""
