"""What the tests of neural papers show: the source of the table in the documentation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """One paper's row.

    Parameters
    ----------
    title : str
        Authors' short form, name and year.
    names : tuple of str
        Public names here.
    test : str
        File of the test.
    shows : str
        What is asserted.
    found : str
        The measured result, or what did not show.
    """

    title: str
    names: tuple[str, ...]
    test: str
    shows: str
    found: str


PAPERS: tuple[Paper, ...] = ()
