"""Files that releases are made of: tables, parquet, zip archives; and fetching them from the hub.

In: a path. Out: records and Pictures, bounded in size; nothing is extracted to disk.
May import: core, config.
"""
