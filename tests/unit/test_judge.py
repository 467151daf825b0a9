"""The verdict parser and the reward: what each odd response gets, and why."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtrl.reward_plugins import judge

TRUTH = json.dumps({"task": "seetrue", "label": "yes", "id": "7"})
GOLD = "<think>It fits.</think><answer>yes</answer>"

# response, strict verdict, well formed, words of the reason
TABLE = [
    (GOLD, "yes", True, ""),
    ("\n <think>a\nb</think>\n\n<answer>\nyes\n</answer> \n", "yes", True, ""),
    ("<think>x</think><answer>Yes.</answer>", "yes", True, ""),
    ("<think>x</think><answer>NO</answer>", "no", True, ""),
    ("<think></think><answer>yes</answer>", None, False, "empty <think>"),
    ("<think> \n </think><answer>yes</answer>", None, False, "empty <think>"),
    ("<think>so <answer>yes</answer></think>", None, False, "text after </answer>"),
    ("<think>so <answer>yes</answer></think><answer>yes</answer>", None, False, "<answer> occurs 2 times"),
    ("<think>x</think><answer>yes</answer><answer>no</answer>", None, False, "<answer> occurs 2 times"),
    ("<think>x<think>y</think></think><answer>yes</answer>", None, False, "<think> occurs 2 times"),
    ("<answer>yes</answer><think>x</think>", None, False, "text before <think>"),
    ("<think>x</think> hence <answer>yes</answer>", None, False, "text between"),
    ("<think>x</think><answer>yes</answer> I am sure.", None, False, "text after </answer>"),
    ("Sure! <think>x</think><answer>yes</answer>", None, False, "text before <think>"),
    ("<think>x</think><answer>know</answer>", None, True, "not yes or no"),
    ("<think>x</think><answer>not</answer>", None, True, "not yes or no"),
    ("<think>x</think><answer>another</answer>", None, True, "not yes or no"),
    ("<think>x</think><answer>on</answer>", None, True, "not yes or no"),
    ("<think>x</think><answer>yes no</answer>", None, True, "not yes or no"),
    ("<think>x</think><answer></answer>", None, True, "not yes or no"),
    ("<think>x</think><answer>ja</answer>", None, True, "not yes or no"),
    ("<think>x</think><answer>是</answer>", None, True, "not yes or no"),
    ("＜think＞x＜/think＞＜answer＞yes＜/answer＞", None, False, "<think> occurs 0 times"),
    ("<THINK>x</THINK><ANSWER>yes</ANSWER>", None, False, "<think> occurs 0 times"),
    ("<think>x</think><answer>yes", None, False, "</answer> occurs 0 times"),
    ("<think>x", None, False, "</think> occurs 0 times"),
    ("yes", None, False, "<think> occurs 0 times"),
    ("", None, False, "<think> occurs 0 times"),
    (" " * 100_000, None, False, "<think> occurs 0 times"),
    ("<think>" + " " * 100_000 + "</think><answer>yes</answer>", None, False, "empty <think>"),
    ("<think>x</think><answer>" + " " * 100_000 + "yes</answer>", "yes", True, ""),
    ("\x00\ud800", None, False, "<think> occurs 0 times"),
]


@pytest.mark.parametrize(("response", "verdict", "well_formed", "reason"), TABLE)
def test_strict_reading(response: str, verdict: str | None, well_formed: bool, reason: str) -> None:
    reading = judge.read(response, "rl")
    assert (reading.verdict, reading.well_formed) == (verdict, well_formed)
    assert reason in reading.reason and bool(reason) == bool(reading.reason)
    assert judge.parse(response, "rl", judge.POINTWISE) == verdict


@pytest.mark.parametrize(
    ("response", "verdict"),
    [
        ("yes", "yes"),
        (" No.\n", "no"),
        ("YES", "yes"),
        ("yes, it does", None),
        ("know", None),
        ("", None),
        (GOLD, None),
    ],
)
def test_direct_style_is_the_bare_verdict(response: str, verdict: str | None) -> None:
    assert judge.parse(response, "sft", ("yes", "no")) == verdict


def test_pairwise_choices() -> None:
    assert judge.parse("<think>x</think><answer>2</answer>", "rl", ("1", "2")) == "2"
    assert judge.parse("<think>x</think><answer>yes</answer>", "rl", ("1", "2")) is None
    assert judge.parse("1", "sft", judge.PAIRWISE) == "1"


@pytest.mark.parametrize(
    ("response", "verdict"),
    [
        ("Yes, it does.", "yes"),
        ("**No**", "no"),
        ("<think>x</think> yes", "yes"),
        ("<think>x</think><answer>no", "no"),
        ("The image is fine. Answer: yes", "yes"),
        ("I know this one", None),
        ("not at all", None),
        ("another", None),
        ("yes. On reflection the answer is no", None),  # says both
        ("<think>yes, probably", None),
        ("x" * 50 + " piano " + "y" * 397, None),  # the last 400 characters begin with "no"
        ("", None),
    ],
)
def test_lenient_repairs(response: str, verdict: str | None) -> None:
    assert judge.parse_lenient(response, "rl") == verdict


def test_reward_is_the_papers_formula() -> None:
    responses = [GOLD, "<think>x</think><answer>no</answer>", "yes", "<think>x</think><answer>maybe</answer>"]
    inputs = [{"response": r, "response_length": 9, "ground_truth": TRUTH} for r in responses]
    scores = judge.compute_score(inputs)
    assert [round(s["overall"], 6) for s in scores] == [1.0, 0.1, 0.0, 0.1]
    health = {"yes_rate_seetrue", "invalid_seetrue", "length_seetrue", "zero_variance_seetrue"}
    assert set(scores[0]) == {"overall", "format", "accuracy", "accuracy_seetrue", "format_seetrue"} | health
    assert all(type(v) is float for s in scores for v in s.values())
    assert [s["overall"] for s in judge.compute_score(inputs, format_weight=0.5)] == [1.0, 0.5, 0.0, 0.5]


@pytest.mark.parametrize("label", ["yes", "no", "1", "2"])
def test_gold_answers_score_one(label: str) -> None:
    truth = json.dumps({"task": "t", "label": label, "id": "1"})
    assert judge.score(f"<think>ok</think><answer>{label}</answer>", truth)["overall"] == pytest.approx(1.0)


@pytest.mark.parametrize("truth", ["", "yes", "{}", '{"task": "t", "label": "maybe", "id": "1"}', None, "[1]"])
def test_a_malformed_ground_truth_is_an_error(truth: str | None) -> None:
    with pytest.raises(ValueError, match=r"ground truth|none of"):
        judge.score(GOLD, truth)  # type: ignore[arg-type]


def test_trl_takes_messages_and_logs_by_task() -> None:
    logged: dict[str, float] = {}
    completions = [
        [{"role": "assistant", "content": GOLD}],
        [{"role": "assistant", "content": [{"type": "text", "text": "no"}]}],
    ]
    rewards = judge.trl_reward(completions, [TRUTH, TRUTH], log_metric=logged.__setitem__, prompts=None, images=None)
    assert rewards == [pytest.approx(1.0), 0.0]
    parts = {"accuracy": 0.5, "format": 0.5, "accuracy_seetrue": 0.5, "format_seetrue": 0.5}
    assert logged == {
        **parts,
        "yes_rate_seetrue": 0.5,
        "invalid_seetrue": 0.5,
        "length_seetrue": 0.0,
        "zero_variance_seetrue": 0.0,
    }


@given(st.text(max_size=300))
def test_no_response_raises(response: str) -> None:
    for style in ("sft", "rl"):
        assert judge.parse(response, style) in (None, "yes", "no")
        assert judge.parse_lenient(response, style) in (None, "yes", "no")


NO_TEXTS = [None, 7, 1.5, True, b"yes", ["yes"], {"content": "yes"}, object()]


@pytest.mark.parametrize("response", NO_TEXTS)
def test_a_response_that_is_no_text_scores_nothing(response: object) -> None:
    for style in ("sft", "rl"):
        assert judge.parse(response, style) is None and judge.parse_lenient(response, style) is None
    assert judge.score(response, TRUTH) == {"overall": 0.0, "format": 0.0, "accuracy": 0.0}
    (row,) = judge.compute_score([{"response": response, "ground_truth": TRUTH}])
    assert row["overall"] == 0.0 and row["invalid_seetrue"] == 1.0
    assert judge.verl_score("seetrue", response, TRUTH)["score"] == 0.0
    completions = [response, [{"content": response}], [response], [], [{}], [{"content": [response]}]]
    rewards = judge.trl_reward(completions, [TRUTH] * len(completions))
    assert set(rewards) == {0.0}


PIECES = [
    *judge.TAGS,
    "<",
    ">",
    "/",
    "think",
    "<think",
    "answer>",
    "yes",
    "no",
    "Yes.",
    "NO",
    ".",
    " ",
    "\n",
    "x",
    "<THINK>",
    "是",
]


def independent(text: str) -> tuple[str | None, bool]:
    """The rule again, by one regular expression."""
    found = re.fullmatch(r"\s*<think>(.*)</think>\s*<answer>(.*)</answer>\s*", text, re.DOTALL)
    inside = found.groups() if found else ("", "")
    if not found or not inside[0].strip() or any(tag in part for part in inside for tag in judge.TAGS):
        return None, False
    word = re.fullmatch(r"\s*(yes|no)\s*\.?\s*", inside[1], re.IGNORECASE | re.ASCII)
    return (word[1].lower() if word and len(inside[1].strip()) <= 16 else None), True


@settings(max_examples=3000)
@given(
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
    | st.tuples(*[st.sampled_from(["", "", "", *PIECES])] * 9).map(
        lambda p: f"{p[0]}<think>{p[1]}x{p[2]}</think>{p[3]}<answer>{p[4]}yes{p[5]}</answer>{p[6]}"
    )
)
def test_an_independent_parser_agrees(text: str) -> None:
    reading = judge.read(text, "rl")
    assert (reading.verdict, reading.well_formed) == independent(text)


@pytest.mark.timed
@pytest.mark.parametrize("piece", ["<", "<think>", "</answer", "<answer>", "</think>", " ", ">", "a", "answer: "])
def test_ten_megabytes_of_anything_are_read_at_once(piece: str) -> None:
    text = piece * (10_000_000 // len(piece))
    begun = time.process_time()
    for style in ("sft", "rl"):
        judge.parse(text, style)
        judge.parse_lenient(text, style)
        judge.parse_lenient("<think>" + text + "</think><answer>" + text, style)
    assert time.process_time() - begun < 4  # 8 s for one reading before; about 0.5 s for all six now


def test_a_length_cap_gives_longer_responses_nothing() -> None:
    inputs = [{"response": GOLD, "response_length": n, "ground_truth": TRUTH} for n in (1024, 1025)]
    assert [s["overall"] for s in judge.compute_score(inputs, length_cap=1024)] == [1.0, 0.0]
    assert [s["overall"] for s in judge.compute_score(inputs)] == [1.0, 1.0]
    rewards = judge.trl_reward([GOLD, GOLD], [TRUTH, TRUTH], length_cap=3, completion_ids=[[1] * 3, [1] * 4])
    assert rewards == [1.0, 0.0]


def test_health_shows_prompts_that_teach_nothing() -> None:
    def prompt(identifier: str, *responses: str) -> list[dict]:
        truth = json.dumps({"task": "t", "label": "yes", "id": identifier})
        return [{"response": r, "response_length": 10, "ground_truth": truth} for r in responses]

    wrong = GOLD.replace("yes", "no")
    scores = judge.compute_score(prompt("a", GOLD, GOLD) + prompt("b", GOLD, wrong) + prompt("c", wrong))
    assert [s.get("zero_variance_t") for s in scores] == [
        1.0,
        1.0,
        0.0,
        0.0,
        None,
    ]  # one answer has no variance to speak of
    assert [s["yes_rate_t"] for s in scores] == [1.0, 1.0, 1.0, 0.0, 0.0]
    assert scores[0]["length_t"] == 10.0 and scores[0]["invalid_t"] == 0.0


@pytest.mark.timed
def test_it_is_fast_enough() -> None:
    """The budget of the project is 0.3 s for 10,240 responses of 8,000 characters; four times that fails here."""
    inputs = [{"response": "<think>" + "a b " * 2000 + "</think><answer>no</answer>", "ground_truth": TRUTH}] * 10_240
    begun = time.process_time()
    judge.compute_score(inputs)
    assert time.process_time() - begun < 1.2


KINDS = st.sampled_from([("1", "2"), ("1", "2", "tie"), ("sharp", "blurry"), tuple(map(str, range(11)))])


@example(("sharp", "blurry"), ["answer: ", "-", "sharp"])
@example(("1", "2"), ["answer: ", "-", "1"])
@given(KINDS, st.lists(st.sampled_from(["1", "2", "10", "tie", "sharp", "not ", " ", "-", "/", ".", ",", "answer: "])))
def test_a_verdict_is_a_whole_word_of_the_answer(choices: tuple[str, ...], pieces: list[str]) -> None:
    text = "".join(pieces)
    strict, lenient = (parse(text, "sft", choices) for parse in (judge.parse, judge.parse_lenient))
    assert strict is None or (strict == text.strip().removesuffix(".").strip() == judge.parse(strict, "sft", choices))
    assert strict in (None, lenient)
    if lenient:
        assert re.search(rf"(?<![\w-]){lenient}(?![\w-])", text) and f"not {lenient}" != text.strip()
    numbers = set(re.findall(r"\d+", text)) - {"0"}
    if judge.is_scale(choices) and len(numbers - {"10"}) > 1 and "answer" not in text:
        assert lenient is None


def test_a_bare_verdict_is_rewarded_in_style_sft_and_in_no_other() -> None:
    responses = ["yes", " No. ", GOLD, "maybe", ""]
    inputs = [{"response": r, "response_length": 1, "ground_truth": TRUTH} for r in responses]
    scores = judge.compute_score(inputs, style="sft")
    assert [round(s["overall"], 6) for s in scores] == [1.0, 0.1, 0.0, 0.0, 0.0]
    assert [s["invalid_seetrue"] for s in scores] == [0.0, 0.0, 1.0, 1.0, 1.0]
    assert judge.trl_reward(responses, [TRUTH] * 5, style="sft") == [s["overall"] for s in scores]
    assert (
        [judge.verl_score("seetrue", r, TRUTH, style="sft")["score"] for r in responses]
        == [judge.score(r, TRUTH, style="sft")["overall"] for r in responses]
        == [s["overall"] for s in scores]
    )
    assert judge.score("yes", TRUTH)["overall"] == 0.0
    with pytest.raises(ValueError, match="neither sft nor rl"):
        judge.compute_score(inputs, style="bare")
