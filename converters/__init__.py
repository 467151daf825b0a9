"""One module per benchmark: a release as downloaded becomes Rows, images not yet read. base.py is the contract.

In: Task, the folder of the release. Out: Rows, in the release's order, or a UserError with the file and row.
May import: core, config, converters.readers.
"""
