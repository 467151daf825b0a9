"""One verb per module: parse options, call one function, print. No logic that a test could not reach elsewhere.

In: the command line. Out: text, and the exit status (cli.py).
May import: everything.
"""
