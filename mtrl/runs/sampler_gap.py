"""Whether the sampler (vLLM) and the trainer of an RL run agree on the sampled tokens, by the trainer's own log.

Both have the same weights, so their probabilities ought to be the same; in a mixture of experts the two can choose
other experts. verl and TRL with vLLM log it, EasyR1 does not.
"""

from __future__ import annotations

from typing import Any

from mtrl.backends import logs
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import UserError
from mtrl.core.finding import Check
from mtrl.core.rundir import Run
from mtrl.core.schema import validate

# [O]; a 30B mixture under FSDP was reported at 0.6 (volcengine/verl #5392)
LEAST_CORRELATION = 0.95
# [U] docs/faq of verl: normal below 0.005, a problem above 0.01
MOST_PROBABILITY = 0.01
# [O], in nats; 0.012 was reported of a run by TRL (huggingface/trl #4772)
MOST_LOG_PROBABILITY = 0.05


def check(run: Run, rows: list[dict[str, Any]] | None = None) -> Check | None:
    """None where nothing was logged. A warning has the settings of a new run that help.

    `rows` are the run's metrics, where they are known.
    """
    rows = run.metrics if rows is None else rows
    if (gap := logs.gap(rows)) is None:
        return None
    said, wrong = [], False
    if gap.correlation is not None:
        said.append(f"correlation of probabilities {gap.correlation:.3g} (normal: {LEAST_CORRELATION} or more)")
        wrong |= gap.correlation < LEAST_CORRELATION
    if gap.probability is not None:
        said.append(f"mean difference of probabilities {gap.probability:.2g} (normal: up to {MOST_PROBABILITY})")
        wrong |= gap.probability > MOST_PROBABILITY
    if gap.log_probability is not None:
        limit = f"(normal: up to {MOST_LOG_PROBABILITY})"
        said.append(f"mean difference of log-probabilities {gap.log_probability:.2g} {limit}")
        wrong |= gap.log_probability > MOST_LOG_PROBABILITY
    when = f"step {gap.step}" + ("" if gap.step == rows[-1]["step"] else ", the last that has it,")
    text = f"{run.name}: sampler and trainer {'differ' if wrong else 'agree'} at {when}: {', '.join(said)}"
    return Check("warning", text, _remedy(run)) if wrong else Check("ok", text)


def _remedy(run: Run) -> str:
    try:
        recipe = validate(Recipe, run.recipe, "")
    except UserError:  # the recipe of another version
        return ""
    sets = [f"--set {one}" for one in _settings(recipe)]
    return f"train under another --name with {' '.join(sets)}" if sets else ""


def _settings(recipe: Recipe) -> list[str]:
    rl, shape, sets = recipe.rl, recipe.model.shape, []
    if rl is None:
        return []
    if rl.top_p < 1:  # vLLM's probabilities are then of the tokens that top_p leaves, the trainer's of all tokens
        sets.append("rl.top_p=1.0")
    if shape and shape.experts and recipe.by_megatron and rl.router_replay != "rollout":
        sets.append("rl.router_replay=rollout")
    if rl.ratio == "token":
        sets += ["rl.ratio=sequence", "rl.clip_low=3e-4", "rl.clip_high=4e-4"]
    return sets
