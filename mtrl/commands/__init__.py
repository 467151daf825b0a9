"""One verb per module: parse options, call one function, print. Logic is in the rooms.

In: the command line. Out: text, and the exit status (cli.py).
May import: everything.
"""
