"""A probe: what moves a judge's verdicts that should not, and what fails to move them. A part of the room evaluate.

In: Subject (a judge), Task, converted data. Out: requests with a change each (`asked`), and Effect, what each change
does to the verdicts (`effects`). perturbations.py lists the changes.
"""
