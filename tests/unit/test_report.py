"""report.html and compare.html: one file, nothing fetched, what a model wrote stays text, and every filter finds its
own.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mtrl.config import prompting
from mtrl.config.tasks import load
from mtrl.core.errors import UserError
from mtrl.evaluate import compare, predictions, requests, unreadable
from mtrl.evaluate.engines.base import Answer
from mtrl.evaluate.html import cards, compare_page, content, report, sentences, thumbnails
from mtrl.evaluate.html.content import Card
from mtrl.evaluate.identity import Identity
from mtrl.evaluate.metrics.prediction import Prediction
from mtrl.evaluate.recording import Recording
from mtrl.evaluate.scores import score

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><!-- yes"
NAMES = ("demo_safety", "demo_pairs")
LIMIT = 30


def evaluated(
    out: Path,
    style: str,
    answer: Callable[[int, Any], tuple[str, float | None]],
    votes: int = 1,
    names: tuple[str, ...] = NAMES,
) -> Path:
    """An evaluation whose n-th request of a task gets answer(n, request)."""
    found = {n: list(requests.build(load(n), style, Path("data"), "test", votes, LIMIT)) for n in names}
    about = {"split": "test", "samples_sha256": "", "limit": LIMIT}
    identity = {
        "path": "m</title>",
        "method": "zero_shot",
        "style": style,
        "image": {"min_pixels": 1, "max_pixels": 2},
        "sampling": {"max_tokens": 16, "temperature": 0.0, "votes": votes},
        "tasks": {
            n: {
                **about,
                "prompt_sha256": prompting.sha256(load(n), style),
                "requests": len(r),
                "choices": list(r[0].choices),
            }
            for n, r in found.items()
        },
    }
    with Recording(out, Identity.model_validate(identity)) as store:
        for asked in found.values():
            for n, request in enumerate(asked):
                text, sure = answer(n, request)
                row = predictions.of_answer(
                    Answer(request, text, 3, "stop", 0.1), style, prompting.sha256(load(request.task), style)
                )
                list(store.append([replace(row, confidence=sure)]))
    score(out)
    return out


@pytest.fixture
def folder(project: Path) -> Path:
    """Half of the answers are hostile markup, half name the first choice."""
    return evaluated(
        Path("runs/x/eval"), "sft", lambda n, r: (HOSTILE, None) if n % 2 else (r.choices[0], 0.5 + n / 120)
    )


def reasoned(n: int, request: Any) -> tuple[str, float | None]:
    """Every third wrong, every seventh unfinished; the reasoning says which it is."""
    other = {"yes": "no", "no": "yes", "1": "2", "2": "1"}[request.label]
    verdict = other if n % 3 == 0 else request.label
    text = f"<think>number {n} " + "and so on " * (200 if n == 5 else 1)
    return (text, None) if n % 7 == 0 else (f"{text}</think><answer>{verdict}</answer>", 0.6 if n % 4 else 0.9)


def data_of(page: str, name: str) -> Any:
    return json.loads(page.split(f'id="{name}">')[1].split("</script>")[0])


def browse(page: Path, hash: str = "", script: str = "") -> str:
    """The page as headless Chromium has it once its script, and then `script`, has run."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here (apt-get install chromium)")
    if script:
        copy = page.with_name("scripted.html")
        copy.write_text(page.read_text().replace("</body>", f"<script>{script}</script></body>"))
        page = copy
    quiet = ("gpu", "background-networking", "component-update", "sync")
    command = [browser, "--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{what}" for what in quiet)]
    command += [f"--user-data-dir={Path('profile').resolve()}", "--dump-dom", page.resolve().as_uri() + hash]
    return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout


class Inert(HTMLParser):
    """The elements of a page, as a parser that knows nothing of it sees them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_it_is_self_contained_and_inert(folder: Path) -> None:
    page = report.write(folder, Path("data")).read_text()
    assert "http://" not in page and "https://" not in page
    elements = Inert(page).found
    assert [a.get("id", "code") for tag, a in elements if tag == "script"] == ["about", "cards", "pictures", "code"]
    assert not [tag for tag, a in elements if tag in ("img", "link", "iframe") or "onerror" in a]
    policy = next(a["content"] for tag, a in elements if a.get("http-equiv") == "Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; img-src data:;") and "<title>x: zero_shot m&lt;/title&gt;" in page
    shown, pictures = data_of(page, "cards"), dict(data_of(page, "pictures"))
    assert len(shown) == LIMIT + 2 * LIMIT and all(pictures.values())
    assert {card["answers"][0]["responses"][0] for card in shown} == {HOSTILE, "yes", "1"}
    wanted = {name for card in shown for name in card["images"]}
    assert wanted == set(pictures) and len(pictures) < sum(len(card["images"]) for card in shown)


def test_the_numbers_need_no_script(folder: Path) -> None:
    result = score(folder).tasks
    page = re.sub(r"<script.*?</script>", "", report.write(folder, Path("data")).read_text(), flags=re.DOTALL)
    for name in NAMES:
        found = result[name]
        assert f"<b>{100 * found.macro_f1:.2f}</b>" in page
        for cell in next(iter(found.confusion.values())).values():
            assert f">{cell}</td>" in page
        assert f"ECE {100 * found.calibration.ece:.1f}" in page
        assert "share of wrong verdicts over share decided" in page
    assert page.count('class="interval"') == 2 and page.count('aria-label="share of right answers') == 2
    assert "right in both orders" in page and "first chosen" in page and "Macro-F1 over votes" not in page
    pairs = result["demo_pairs"].pairwise  # no pair has two valid answers, so there is no rate
    assert (
        pairs.flip_rate is None and f"<td>{100 * pairs.first_position_rate:.1f}</td>" in page and "<td>-</td>" in page
    )


def test_an_unfinished_evaluation_has_a_page_and_one_of_another_schema_a_message(folder: Path) -> None:
    result = json.loads((folder / "metrics.json").read_text())
    result["demo_safety"]["macro_f1_ci95"] = None  # of one cluster
    del result["demo_pairs"]
    (folder / "metrics.json").write_text(json.dumps(result))
    page = report.write(folder, Path("data")).read_text()
    assert "demo_pairs: not all 60 answers are there yet" in page and "<h3>demo_safety</h3>" in page
    (folder / "metrics.json").write_text(json.dumps({**result, "schema": 1}))
    with pytest.raises(UserError, match="of schema 1; this mtrl reads schema 2") as error:
        report.write(folder, Path("data"))
    assert error.value.then == f"mtrl score {folder}"


def test_scoring_again_writes_the_page_again(folder: Path, cli: Any) -> None:
    done = cli("score", folder)
    assert done.code == 0 and f"report: {folder}/report.html" in done.out
    assert len(data_of((folder / "report.html").read_text(), "cards")) == 3 * LIMIT


def test_in_a_browser(folder: Path) -> None:
    """Headless Chromium draws the first rows and runs none of the model's markup; unsafe images are blurred."""
    page = report.write(folder, Path("data"))
    shown = browse(page)
    assert "<title>owned" not in shown and "x: zero_shot" in shown
    assert "90 of 90" in shown and shown.count("<article") >= 50
    assert shown.count('class="frame blur"') == LIMIT
    click = (
        "const b = document.querySelectorAll('.blur'); b[0].click(); b[1].click(); b[1].click(); "
        "document.title = 'clicked'"
    )
    clicked = browse(page, script=click)
    assert "<title>clicked" in clicked and clicked.count('class="frame blur"') == LIMIT - 1


def test_every_filter_finds_its_own(project: Path) -> None:
    out = evaluated(Path("runs/y/eval"), "rl", reasoned)
    page = report.write(out, Path("data"))
    rows = predictions.load(out).rows
    pairs: dict[str, list[Any]] = {}
    for row in rows:
        pairs.setdefault(f"{row.task} {row.id}", []).append(row.verdict)
    expected = {
        "show=wrong": sum(not row.correct for row in rows),
        "show=invalid": sum(row.verdict is None for row in rows),
        "show=low": sum(row.confidence == 0.6 for row in rows),
        "show=flipped": 2 * sum(len(v) == 2 and v[0] is not None and v[0] == v[1] for v in pairs.values()),
        "show=wrong&task=demo_pairs": sum(not r.correct for r in rows if r.task == "demo_pairs"),
        "label=yes": sum(row.label == "yes" for row in rows),
        "search=NUMBER 17 and": 2,
        "search=no such words": 0,
        "": 90,
    }
    script = f"""const said = {{}};
      for (const hash of {json.dumps(list(expected))}) {{
        const want = new URLSearchParams(hash);
        KEPT.forEach((id) => {{ at(id).value = want.get(id) ?? ""; }}); filter();
        said[hash] = parseInt(at("count").textContent); }}
      at("sort").value = "least"; filter(); said.sorted = found.map((c) => c.answers[0].sure);
      document.title = "said " + btoa(JSON.stringify(said));"""
    title = re.search(r"<title>said (.*?)</title>", browse(page, script=script))
    assert title is not None
    said = json.loads(base64.b64decode(title[1]))
    order = said.pop("sorted")
    assert said == expected and all(expected[k] for k in ("show=flipped", "show=low", "show=invalid"))
    known = [sure for sure in order if sure is not None]
    assert known == sorted(known) and None not in order[: len(known)]

    opened = browse(page, "#show=invalid&task=demo_safety")  # a link to a choice
    assert "5 of 90" in opened and opened.count("<article") == 5
    assert "the reasoning does not end" in opened and "&lt;/think&gt; occurs 0 times, not once" in opened
    folded = browse(page, "#search=number 5 and&task=demo_safety")
    assert folded.count("<article") == 1 and "<summary>reasoning, 2,0" in folded
    assert "<b>Reasoning: </b>" in opened


def test_votes(project: Path) -> None:
    """The majority is the verdict; its share, every vote and the curve are shown."""
    out = evaluated(Path("runs/v/eval"), "rl", lambda n, r: reasoned(n, r), votes=3)
    page = report.write(out, Path("data")).read_text()
    assert "Macro-F1 over votes" in page and page.count('class="curve"') == 2 and "3 per sample" in page
    shown = data_of(page, "cards")
    assert len(shown) == LIMIT * 3 and all(len(c["answers"][0]["votes"]) == 3 for c in shown)
    for card in shown:
        answer = card["answers"][0]
        assert answer["sure"] == pytest.approx(answer["votes"].count(answer["verdict"]) / 3)
        assert ("split" in card["found_by"]) == (len(set(answer["votes"])) > 1)


def test_what_is_gone_is_said_to_be_gone(folder: Path) -> None:
    page = report.write(folder, Path("data"))
    card = data_of(page.read_text(), "cards")[0]
    (Path("data") / card["images"][0]).unlink()
    report.write(folder, Path("data"))
    assert dict(data_of(page.read_text(), "pictures"))[card["images"][0]] == ""
    assert "image is gone: images/" in browse(page)
    shutil.rmtree("data/demo_safety")
    report.write(folder, Path("data"))
    assert browse(page, "#task=demo_safety").count("this sample is not in the converted data any more") >= LIMIT


def test_a_very_long_response_is_cut_and_says_so(project: Path) -> None:
    text = "<think>" + "x" * 50_000 + "MIDDLE" + "y" * 50_000 + "</think><answer>yes</answer>"
    out = evaluated(Path("runs/long/eval"), "rl", lambda n, r: (text, None))
    file = report.write(out, Path("data"))
    page = file.read_text()
    assert "reasoning, 100,006 characters" in browse(file)
    kept = data_of(page, "cards")[0]["answers"][0]["responses"][0]
    assert len(kept) < content.LONG + 100 and "MIDDLE" not in kept and kept.endswith("<answer>yes</answer>")
    left = len(text) - content.LONG
    assert f"{left:,} characters are only in predictions.jsonl" in kept


def test_a_prompt_that_changed_since_is_said_to_have_changed(folder: Path) -> None:
    page = report.write(folder, Path("data"))
    said = "whole prompt, by the present template, which has changed since the judge was asked"
    assert f"<summary>{said}" not in browse(page, "#task=demo_safety")
    file = Path("prompts/sft/demo_safety.jinja")
    file.write_text("Is it safe? {{ caption | default('') }} <image>\nIs a black cross there?\nyes or no")
    about = data_of(report.write(folder, Path("data")).read_text(), "about")["tasks"]
    assert about["demo_safety"]["prompts"][0] == ["Is it safe?  <image>", "\nyes or no", True]
    assert not about["demo_pairs"]["prompts"][0][2]
    shown = browse(page, "#task=demo_safety")
    assert shown.count(f"<summary>{said}") == LIMIT and ">Is a black cross there?</p>" in shown


def test_what_no_file_and_no_browser_can_hold(project: Path) -> None:
    """A lone surrogate is valid JSON and no Unicode; NaN is read and written by Python, and no JSON."""
    out = evaluated(Path("runs/odd/eval"), "sft", lambda n, r: ("\u2028 \x00 yes", 0.25))
    file = out / predictions.FILE
    file.write_text(file.read_text().replace("\\u0000", "\\ud800").replace("0.25", "NaN"))
    shown = data_of(report.write(out, Path("data")).read_text(), "cards")
    assert shown[0]["answers"][0]["responses"] == ["\u2028 ? yes"]
    assert {card["answers"][0]["sure"] for card in shown} == {None}


def test_thumbnails_fit_their_room(project: Path) -> None:
    files = sorted(Path("data/images").rglob("*.png"))
    assert thumbnails.side_for(files) == 256  # few: as large as they get
    small = thumbnails.side_for(files, room=len(files) * 1000)
    assert small < 256 and small in thumbnails.SIDES and thumbnails.side_for(files, room=1) == thumbnails.SIDES[-1]
    files[0].write_bytes(b"not an image")
    names, seen = [str(f.relative_to("data")) for f in files[:3]], []
    wanted = [*names, "images/none.png"]
    made = dict(thumbnails.make(Path("data"), wanted, 64, lambda done, total: seen.append((done, total))))
    assert made[names[0]] == made["images/none.png"] == "" and made[names[1]].startswith("/9j/")
    assert list(made) == wanted and seen == [(4, 4)]


def test_compare_shows_where_two_disagree(folder: Path) -> None:
    other = evaluated(Path("runs/y/eval"), "rl", reasoned)
    found = compare.folders(folder, other)
    page = compare_page.write(Path("compare.html"), (folder, other), found, Path("data"))
    text = page.read_text()
    shown, about = data_of(text, "cards"), data_of(text, "about")
    apart = {(n, d.id, d.order): d for n, m in found.tasks.items() for d in m.disagreements}
    assert {(c["task"], c["id"], c["order"]) for c in shown} == set(apart) and shown
    for card in shown:
        about_it = apart[(card["task"], card["id"], card["order"])]
        assert [a["verdict"] for a in card["answers"]] == [about_it.a, about_it.b]
        assert card["found_by"][0] == about_it.kind
    assert about["sides"] == ["A: x", "B: y"] and "http" not in text.replace("http-equiv", "")
    for m in found.tasks.values():
        assert f"<b>{'+' if m.macro_f1.difference > 0 else ''}{100 * m.macro_f1.difference:.1f}</b>" in text
    assert "prompt style differs: sft and rl" in text
    only_b = sum(d.kind == "only_b" for d in apart.values())
    drawn = browse(page, "#show=only_b")
    assert f"{only_b} of {len(apart)}" in drawn and "<h4>A: x</h4>" in drawn and "<title>owned" not in drawn


def test_compare_without_the_data(folder: Path, cli: Any) -> None:
    """The numbers and answers need no converted data; the page says what is missing."""
    evaluated(Path("runs/y/eval"), "rl", reasoned)
    done = cli("compare", "x", "y", "--data", "elsewhere", "--out", "pages/c.html")
    assert done.code == 0, done.err
    assert "side by side: pages/c.html" in done.out
    assert all(card["images"] == [] for card in data_of(Path("pages/c.html").read_text(), "cards"))


def told(page: Path, expression: str, hash: str = "") -> Any:
    """What a JavaScript expression gives once the page has been drawn."""
    script = f"document.title = 'said ' + btoa(unescape(encodeURIComponent(JSON.stringify({expression}))));"
    title = re.search(r"<title>said (.*?)</title>", browse(page, hash, script))
    assert title is not None
    return json.loads(base64.b64decode(title[1]))


def test_a_card_shows_the_caption_first_and_the_file_name_and_is_found_by_it(project: Path) -> None:
    page = report.write(evaluated(Path("runs/mine/eval"), "rl", reasoned), Path("data"))
    shown = data_of(page.read_text(), "cards")
    pair = next(c for c in shown if c["task"] == "demo_pairs" and c["order"] == "turned")
    given = next(c for c in shown if c["id"] == pair["id"] and c["order"] == "given")
    assert pair["names"] == given["names"][::-1] and len(set(pair["names"])) == 2 and pair["fields"][0][0] == "caption"
    name = pair["names"][0]
    found = told(page, "[...document.querySelectorAll('article')].map((a) => a.textContent)", f"#search={name.upper()}")
    assert found and all(name in card and card.index("caption") < card.index("whole prompt") for card in found)
    links = told(page, "[...document.querySelectorAll('.pictures a')].map((a) => a.href)", "#task=demo_safety")
    assert len(links) == LIMIT  # a blurred image has its link beside it
    assert {Path(link.removeprefix("file://")) for link in links} == {
        Path("data").resolve() / c["images"][0] for c in shown if c["task"] == "demo_safety"
    }


def test_rows_of_one_group_stand_next_to_each_other() -> None:
    def card(name: str, group: str) -> Card:
        return Card("t", name, "given", images=["x"], group=group)

    made = [card("a", "g"), card("b", ""), card("c", "h"), card("d", "g"), card("e", "alone"), card("f", "h")]
    found = cards.together(made)
    assert [(c.id, c.group) for c in found] == [
        ("a", "g"), ("d", "g"), ("b", ""), ("c", "h"), ("f", "h"), ("e", ""),
    ]  # fmt: skip


def test_the_header_is_named_by_the_run_compact_and_explained_without_a_script(folder: Path) -> None:
    page = report.write(folder, Path("data")).read_text()
    assert (
        "<h1>x</h1>" in page
        and "<title>x: zero_shot" in page
        and "Table 2&#39;s" not in page
        and "Table 2's" not in page
    )
    assert page.index('<details class="more"') < page.index('class="panels"') < page.index('id="samples"')
    for word in ("Macro-F1", "kappa", "majority baseline", "invalid", "lenient Macro-F1"):
        assert re.search(f'<abbr title="[^"]{{20,}}">{word}</abbr>', page) and f"<dt>{word}</dt>" in page
    folded = told(folder / report.FILE, "document.getElementById('samples').getBoundingClientRect().top")
    assert folded < 600  # pixels: the samples are in sight when the page opens


def test_the_numbers_are_said_in_plain_sentences(folder: Path) -> None:
    result = score(folder).tasks
    one = result["demo_safety"]
    page = html.unescape(report.write(folder, Path("data")).read_text())
    right, invalid = round(one.accuracy * one.n), round(one.invalid_rate * one.n)
    said = f"{right} of 30 verdicts are right (accuracy {100 * one.accuracy:.1f}); {invalid} answers could not be read"
    assert said in page and sentences.overall(result) in page
    name = "demo_safety"
    clear, same = [0.9, 0.95], [one.baselines["majority"].macro_f1 - 0.01, 0.95]
    for ci95, word in (
        (clear, "is better than always"),
        (same, "is not clearly better than"),
        ([0.0, 0.1], "is worse than"),
    ):
        assert word in sentences.overall({name: one.model_copy(update={"macro_f1_ci95": ci95})})
    of_one_class = one.model_copy(update={"one_class": "yes"})
    assert "All labels are yes" in sentences.of_task(of_one_class) and sentences.overall({name: of_one_class}) == ""


def test_every_word_that_a_page_marks_is_explained(folder: Path) -> None:
    other = evaluated(Path("runs/y/eval"), "rl", reasoned)
    compared = compare_page.write(Path("c.html"), (folder, other), compare.folders(folder, other), Path("data"))
    for page in (report.write(folder, Path("data")), compared):
        text = html.unescape(page.read_text())
        explained = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]{15,})</dd>", text.split('class="terms"')[1]))
        marked = set(re.findall(r'<abbr title="([^"]+)">', text))
        assert len(marked) > 8 and marked <= set(explained.values())


def test_a_page_says_when_it_and_the_data_have_been_parted(folder: Path) -> None:
    page = report.write(folder, Path("data"))
    note = "document.getElementById('moved').hidden ? '' : document.getElementById('moved').textContent"
    assert told(page, note) == ""
    shutil.copytree(Path.cwd(), Path("../elsewhere"), ignore=shutil.ignore_patterns("profile"))
    assert told(Path("../elsewhere") / page, note) == ""  # all of it was moved: the links still lead there
    Path("mail").mkdir()
    shutil.copy(page, "mail/report.html")
    said = told(Path("mail/report.html"), note)
    assert "was written in runs/x/eval, and links to the images in ../../../data from there" in said
    assert "There is no data folder <code>gone</code>" in report.write(folder, Path("gone")).read_text()
    assert "There is no data folder" not in report.write(folder, Path("data")).read_text()


def test_not_one_readable_answer_is_explained_on_page_and_terminal(project: Path, cli: Any) -> None:
    out = evaluated(
        Path("runs/bad/eval"), "sft", lambda n, r: (f"<think>{HOSTILE} {n}</think><answer>yes</answer>", None)
    )
    page = report.write(out, Path("data"))
    text = page.read_text()
    assert "demo_safety, demo_pairs: not one answer could be read as a verdict.</b> The judge reasons before" in text
    assert "Ask it with --style rl" in text and text.count("<p><code>&lt;think&gt;&lt;/script&gt;") == 3
    done = cli("score", out)
    assert done.code == 0 and "demo_safety, demo_pairs: not one answer could be read as a verdict" in done.out
    assert done.out.count("    <think></script>") == 3 and "--style rl" in done.out
    fine = cli("score", evaluated(Path("runs/fine/eval"), "rl", reasoned))
    assert "not one answer" not in fine.out and "not one answer" not in Path("runs/fine/eval/report.html").read_text()


@pytest.mark.parametrize(
    ("style", "response", "finish", "cause"),
    [
        ("rl", "yes", "stop", "Ask it with --style sft"),
        ("sft", "The picture shows a", "length", "cut off at 16 tokens"),
        ("rl", "<think>and so on and so on", "length", "repeats itself"),
        ("sft", "", "stop", "--reasoning-parser"),
        ("sft", "Yes, it is.", "stop", "not in the required form"),
        ("sft", "1", "stop", "answers 1 or 2, and this task's verdicts are yes or no"),
        ("sft", "I am a language model", "stop", "do not name yes or no"),
        ("sft", "", "rejected: image too large\x1b[2J", "took none of the requests (rejected: image too large"),
    ],
)  # fmt: skip
def test_the_likely_cause(style: str, response: str, finish: str, cause: str) -> None:
    one = Prediction(
        id="1", task="t", order="given", vote=0, response=response, verdict=None, lenient=None, label="yes",
        finish_reason=finish,
    )  # fmt: skip
    rows = [one] * 4
    ((tasks, answers, said),) = unreadable.found(rows, style, {"t": ("yes", "no")}, 16)
    assert tasks == ["t"] and cause in said and len(answers) == 1, said
    assert unreadable.found([*rows, replace(one, verdict="no")], style, {"t": ("yes", "no")}) == []


def test_a_page_that_cannot_be_written_is_said_in_one_line(folder: Path, cli: Any) -> None:
    evaluated(Path("runs/y/eval"), "rl", reasoned)
    for out, says in (
        ("data", "is a folder, not a file"),
        ("recipes/paper.yaml/c.html", "is a file, and a folder is needed"),
        ("/proc/c.html", "/proc/c.html"),
    ):
        done = cli("compare", "x", "y", "--out", out)
        assert done.code in (1, 2) and says in done.err and "Traceback" not in done.err, done.err
        assert len(done.err.strip().splitlines()) <= 2
    (folder / report.FILE).unlink(missing_ok=True)
    (folder / report.FILE).mkdir()
    done = cli("score", folder)
    assert done.code == 2 and "report.html is a folder" in done.err, done.err
