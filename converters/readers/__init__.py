"""The files of releases: tables, parquet, zip archives; and their download from the hub.

In: a path. Out: records and Pictures, bounded in size; nothing is extracted to disk.
May import: core, config.
"""
