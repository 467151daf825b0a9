"""What every other room stands on: errors, bounded reading and atomic writing of files, the console, run directories.

In: paths, bytes, text. Out: parsed values, or one UserError that names file, key and next command.
May import: nothing of mtrl.
"""
