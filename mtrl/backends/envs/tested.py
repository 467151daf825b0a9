"""The upstream versions that mtrl is tested with: the one place from which checks read them.

Requirements files pin the same (tests/unit/test_tested.py). To move to another version: change it here and in
NAME-*.txt next to this file, then run tests/contract/test_NAME.py.
"""

from __future__ import annotations

from typing import NamedTuple


class Tested(NamedTuple):
    """The version that the trainer's package reports; for a trainer that is installed from its repository, its
    commit.
    """

    version: str
    commit: str = ""


TESTED = {
    "llamafactory": Tested("0.9.5"),
    "trl": Tested("1.16.0"),
    "easyr1": Tested("0.3.3.dev0", "b44b311b669bf1fd1aa2fc36f2251482ba33cb16"),  # its package is called verl
    "verl": Tested("0.9.1"),
}
