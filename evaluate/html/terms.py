"""The words on the pages, explained in plain sentences: as tooltips, and as a list that needs no script."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

TERMS = {
    "verdict": "The judge's answer, read by the strict rule of its prompt style.",
    "label": "The right answer, from the data set.",
    "invalid": "An answer that the strict rule cannot read as a verdict. It counts as wrong and is never left out.",
    "confidence": "How sure the judge was: the probability of its verdict among the task's verdicts, or "
    "with votes the"
    " share of votes that agree. 100% is certain; of two verdicts, 50% is a coin toss.",
    "pass rate": "The share of a row's votes that are right; of a task, the mean over its rows.",
    "n": "The number of samples that were scored.",
    "Macro-F1": "F1 says how well one class is found, from 0 to 100. Macro-F1 is the mean over the classes, so a rare"
    " class counts as much as a frequent one. 100 is perfect.",
    "SRCC": "Spearman's rank correlation: whether verdicts and labels have the same order. 1 is the same order, 0 none,"
    " -1 the opposite. Of the valid answers alone.",
    "SRCC at worst": "SRCC if each invalid answer had the value farthest from its label.",
    "PLCC": "Pearson's correlation: whether verdicts and labels lie on a line. Of the valid answers alone.",
    "Kendall": "Kendall's tau-b: pairs of samples in the right order less those in the wrong one, as a share.",
    "quadratic kappa": "Cohen's kappa in which a difference counts by its square: 1 is perfect, 0 is chance.",
    "MAE": "The mean distance between verdict and label, in steps of the scale. 0 is perfect.",
    "graded value": "How sure the judge is, as one number: the probability of the first verdict or the expected score.",
    "without": "Samples without a graded value: the answer is invalid, or its tokens do not show the probabilities.",
    "AUC": "Area under the ROC curve: how often a sample of the first label has a higher graded value than one of the"
    " second. 50 is chance, 100 is perfect. It needs no threshold.",
    "AP": "Average precision of finding the samples of the first label by their graded value.",
    "SRCC with the release": "Spearman's rank correlation of the graded value with the data set's own number, such as a"
    " mean opinion score.",
    "PLCC with the release": "Pearson's correlation of the same two.",
    "pairs right": "Of two samples of one source with different numbers in the data set, how often the graded values"
    " have the same order. Equal values are wrong. 50 is chance.",
    "95% interval": "How far the number could be off by chance, because the test set is small: 95% of bootstrap "
    "resamples"
    " are in this range. Samples that share an image or a text are resampled together.",
    "cluster": (
        "Samples that share an image, a text or a source. They are not independent, so they are resampled together."
    ),
    "majority baseline": (
        "The Macro-F1 of always giving the most frequent label, without looking. A useful judge is above it."
    ),
    "accuracy": "The share of right verdicts.",
    "kappa": "Cohen's kappa: agreement with the labels beyond chance. 0 is chance, 100 is perfect.",
    "lenient Macro-F1": "Macro-F1 if verdicts in the wrong form count too. If it is much higher than Macro-F1, "
    "the judge"
    " knows the answer and fails at the form.",
    "precision": "Of the samples with this verdict, the share that have this label.",
    "recall": "Of the samples with this label, the share that got this verdict.",
    "F1": "The harmonic mean of precision and recall: high only if both are high.",
    "support": "The number of samples with this label.",
    "constant answer": "The numbers of always giving one verdict, without looking: the most frequent label, or "
    "for pairs the"
    " first of the two.",
    "ECE": (
        "Expected calibration error: how far the confidence is from the share of right answers, on "
        "average. 0 is perfect."
    ),
    "Brier": "The mean squared error of the confidence. 0 is perfect, 0.25 is a coin toss.",
    "decided": "Verdicts with at least some confidence, a pair only if both orders say the same. mtrl certify finds the"
    " confidence from which they are right often enough.",
    "right in both orders": "Each pair is asked twice, the second time with its two sides swapped. The share of "
    "pairs with two"
    " right answers.",
    "right answers": "The share of right answers, each order counted by itself. Always choosing the first gets 50 where"
    " no label is a tie.",
    "accuracy with ties": "The rule of MJ-Bench: a pair whose two answers contradict each other, which it calls a"
    " tie, is wrong.",
    "accuracy without ties": "The share of pairs right in both orders, without those that are flipped.",
    "flipped": "A pair whose two answers contradict each other, such as twice the first: the order decided. Of the"
    " pairs with two valid answers.",
    "flips": "Verdicts that differ from the judge's verdict on the same row as it is, of the rows with such a verdict."
    " An invalid answer is none. Of a pair in the other order, the verdict is first read in the order as it is. On a"
    " scale, steps of up to a tenth of its range are none, unless the image is gone.",
    "should move": "No: the verdict should stay. Yes: it should become the other one. If it looks: the image that the"
    " verdict is about is gone. Perhaps: a move may be right, as the sentences above the table say.",
    "first chosen": "Of the answers that choose one of the two, the share that choose the first. 50 means that the"
    " place has no influence.",
    "human ceiling": "How well annotators do what the judge does: the verdicts of each against the majority of the"
    " others, all annotators together. The judge is next to them, against the very same majorities.",
    "alpha": "Krippendorff's alpha: how far annotators agree beyond chance. 1 is perfect, 0 is chance. It counts the"
    " items on which they tie, which have no label. Below 0.667 labels are too uncertain to rely on.",
    "winning rate": "Of the alternative annotator test: the share of annotators that the judge may replace, since it is"
    " not worse than them by epsilon or more, each tested at a false discovery rate of 5%. From 0.5 the judge passes.",
    "advantage": "How often the judge agrees with the other annotators at least as well as an annotator does: the mean"
    " over annotators.",
    "votes": "How often each sample was asked. The majority is the verdict.",
    "both right": "Samples that both judges have right.",
    "only A": "Samples that only A has right.",
    "only B": "Samples that only B has right.",
    "both wrong": "Samples that both judges have wrong; an invalid answer is wrong.",
    "paired bootstrap": "Each resample draws the same samples for both judges, so samples that are hard for "
    "both do not widen"
    " the interval.",
    "McNemar p": "The probability of a difference at least as large between 'only A' and 'only B' if both "
    "judges were equally"
    " good. Below 0.05 is usually called significant. A dash: samples are not independent, or "
    "neither judge is alone right.",
    "group": "Rows from the same source, by the task's split.group. They are next to each other.",
}


def term(name: str, words: str = "") -> Markup:
    """The word, or `words` in its place, with its explanation as a tooltip."""
    return Markup('<abbr title="{}">{}</abbr>').format(TERMS[name], words or name)


def glossary(names: Iterable[str]) -> Markup:
    """The words and their explanations as a folded list."""
    rows = Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(escape(n), TERMS[n]) for n in names)
    return Markup('<details class="terms"><summary>What these words mean</summary><dl>{}</dl></details>').format(rows)
