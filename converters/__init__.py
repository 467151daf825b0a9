"""One module per benchmark: a release as downloaded becomes Rows, images not yet read. base.py says what a converter is.

In: Task, the folder of the release. Out: Row, in the release's order, or a UserError that names the file and row.
May import: core, config, converters.readers.
"""
