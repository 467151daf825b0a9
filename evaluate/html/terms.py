"""What the words on a page mean, in a sentence each: the tooltips of a page and the list at its foot, which need no script."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

TERMS = {
    "verdict": "What the judge answered, read by the strict rule of its prompt style.",
    "label": "The right answer, as the data set has it.",
    "invalid": "An answer that the strict rule cannot read as a verdict. It counts as wrong; it is never left out.",
    "confidence": "The probability of the verdict's first token, as a share of both verdicts'; with votes, the share that agree."
    " 50% is a coin, 100% is certain.",
    "n": "How many samples were scored.",
    "Macro-F1": "The mean of both classes' F1: it counts a rare class as much as a frequent one. 100 is perfect.",
    "95% interval": "Where the number would lie for 95 of 100 samples of this size, by bootstrap. Rows that share an image or"
    " a text are drawn together.",
    "majority baseline": "What naming the most frequent label for every sample would give: a judge should be above it.",
    "accuracy": "The share of right verdicts.",
    "kappa": "Cohen's kappa: agreement with the labels beyond chance. 0 is chance, 100 is perfect.",
    "lenient Macro-F1": "Macro-F1 if a verdict is also taken from an answer out of form. A large gap to Macro-F1 means that"
    " the form is the problem, not the judgement.",
    "precision": "Of the samples that the judge gave this verdict, the share that have this label.",
    "recall": "Of the samples with this label, the share that the judge gave this verdict.",
    "F1": "The harmonic mean of precision and recall.",
    "ECE": "Expected calibration error: how far confidence and the share of right answers are apart, on average.",
    "Brier": "The mean squared error of the confidence. 0 is perfect, 0.25 is a coin's.",
    "flipped": "A pair that got the same number in both orders: the judge went by the place, not by the images.",
    "votes": "How often each sample was asked; the majority is the verdict.",
    "paired bootstrap": "Each resample draws the same samples for both judges, so that what is hard for both cancels out.",
    "McNemar p": "How often chance alone would give so uneven a count of samples that only one judge has right. Under 0.05"
    " is usually called significant. A dash: the rows are not independent, or the counts are equal to 0.",
    "group": "Rows from the same source, as the task's split.group says; they stand next to each other.",
}


def term(name: str, words: str = "") -> Markup:
    """The word, or `words` in its place, with its meaning as a tooltip."""
    return Markup('<abbr title="{}">{}</abbr>').format(TERMS[name], words or name)


def glossary(names: Iterable[str]) -> Markup:
    """The words and their meanings as a list, folded."""
    rows = Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(escape(n), TERMS[n]) for n in names)
    return Markup('<details class="terms"><summary>What these words mean</summary><dl>{}</dl></details>').format(rows)
