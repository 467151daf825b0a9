"""mtrl judge: what it takes, refuses before a model is loaded, writes, and goes on with."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mtrl.commands import judge as judge_command
from mtrl.core.files import read_jsonl, sha256_file
from mtrl.evaluate import judged_set
from mtrl.evaluate.engines import endpoint
from mtrl.evaluate.verdict import Verdict
from tests.unit.standin import Reply, asked_text, completion, error, standin
from tests.unit.test_report import browse, data_of

THINK = "<think>{}</think><answer>{}</answer>"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures and a task of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "pics").mkdir()
    for number in range(3):
        Image.new("RGB", (64, 64), (80 * number, 0, 0)).save(tmp_path / "pics" / f"{number}.png")
    (tmp_path / "recipes" / "tasks").mkdir(parents=True)
    (tmp_path / "recipes" / "tasks" / "mine.yaml").write_text(
        "title: t\ncapability: quality\nsource: {file: a.csv}\nlabel: {column: label, values: {yes: [a], no: [b]}}\n"
    )
    for style, form in (("sft", "yes or no"), ("rl", "<think>why</think><answer>yes or no</answer>")):
        (tmp_path / "prompts" / style).mkdir(parents=True)
        (tmp_path / "prompts" / style / "mine.jinja").write_text(f"{{{{ where }}}}: <image> good? {form}")
    return tmp_path


def judge(cli, server: Any, *arguments: object) -> Any:
    return cli("judge", *arguments, "--endpoint", server.url, "--served-model", "m")


def test_a_folder_and_a_task_of_ones_own(cli) -> None:
    with standin(lambda n, asked: completion("no" if n == 2 else "Yes.")) as server:
        done = judge(cli, server, "pics", "--tasks", "mine", "--field", "where=<image> here")
    assert done.code == 0, done.err
    assert [asked_text(body) for body in server.asked] == [
        "[image] here:  good? yes or no"
    ] * 3  # a field holds no marker
    assert done.out.count("│ pics/") == 3 and " yes " in done.out and " no " in done.out


def test_what_would_have_no_effect_is_an_error(cli) -> None:
    with standin(lambda n, asked: completion("yes")) as server:
        wrong = judge(cli, server, "pics", "--tasks", "mine", "--field", "where=here", "--field", "wher=there")
        assert wrong.code == 2 and "--field wher has no effect: no prompt of task mine uses it" in wrong.err
        assert "Did you mean 'where'?" in wrong.err
        several = judge(cli, server, "pics", "--tasks", "mine,pairs", "--field", "where=here")
        assert several.code == 2 and "--tasks mine,pairs is several tasks" in several.err and not server.asked


def test_clusters_and_contents_are_written_for_mtrl_estimate(cli) -> None:
    Path("list.csv").write_text("image,where,cluster\npics/0.png,a,=p\npics/1.png,b,\npics/0.png,c,\n")
    with standin(lambda n, asked: completion("yes")) as server:
        for out in ("v.jsonl", "v.csv"):
            done = judge(cli, server, "list.csv", "--tasks", "mine", "--out", out)
            assert done.code == 0, done.err
    rows = read_jsonl(Path("v.jsonl"))
    assert [row.get("cluster") for row in rows] == ["=p", None, None]
    assert [row["content"] for row in rows] == [sha256_file(Path(f"pics/{n}.png")) for n in (0, 1, 0)]
    for out in ("v.jsonl", "v.csv"):
        found = judged_set.read(Path(out)).tasks["mine"]
        assert [row.names for row in found] == [("pics/0.png",), ("pics/0.png",), ("pics/1.png",)]
        assert [row.cluster for row in found] == [found[0].id, found[0].id, found[2].id]


def test_a_table_of_mixed_tasks_to_jsonl_and_csv(cli) -> None:
    Path("list.csv").write_text(
        "id,image,image_1,image_2,task,where,caption,label\n"
        "=1+1,pics/0.png,,,mine,@home,,no\n"
        ",pics/1.png,,,seetrue,,a red wall,\n"
        "pair,,pics/0.png,pics/2.png,mjbench_alignment,,a red wall,2\n"
    )

    def answer(number: int, body: dict[str, Any]) -> Reply:
        text = asked_text(body)
        if "home" in text:
            return completion(THINK.format("=HYPERLINK(1)\x1b[2J [red]x[/red] <script>", "yes"))
        if "Second image" in text:
            return completion(THINK.format("first", 1))  # in both orders: it only likes the first place
        return completion("I cannot say")

    with standin(answer) as server:
        done = judge(cli, server, "list.csv", "--style", "rl", "--out", "v.jsonl")
        again = judge(cli, server, "list.csv", "--style", "rl", "--out", "v.jsonl")
        assert len(server.asked) == 4 and again.code == 0  # nothing is asked twice
        table = judge(cli, server, "list.csv", "--style", "rl", "--out", "v.csv")
    assert done.code == table.code == 0, done.err + table.err
    one, two, pair = read_jsonl(Path("v.jsonl"))
    assert (one["id"], one["verdict"], one["label"], one["correct"]) == ("=1+1", "yes", "no", False)
    assert one["reasoning"].startswith("=HYPERLINK") and "image_2" not in one and "flipped" not in one
    assert (two["verdict"], two["reasoning"], two["response"]) == ("invalid", "", "I cannot say") and "label" not in two
    assert (pair["image"], pair["image_2"], pair["verdict"], pair["flipped"]) == ("pics/0.png", "pics/2.png", "1", True)
    assert "0 of 2 verdicts are as labelled" in done.out and "\x1b[2J" not in done.out and "[red]x[/red]" in done.out
    with Path("v.csv").open(newline="") as stream:
        cells = list(csv.DictReader(stream))
    assert [row["verdict"] for row in cells] == ["yes", "invalid", "1"]
    assert (
        cells[0]["id"] == "'=1+1" and cells[0]["reasoning"].startswith("'=HYPERLINK") and cells[2]["flipped"] == "yes"
    )
    assert not list(Path().glob(".v.csv*"))  # what it was made from is gone
    assert "exists already" in judge(cli, server, "list.csv", "--style", "rl", "--out", "v.csv").err


@pytest.mark.parametrize("out", ["v.jsonl", "v.csv"])
def test_stopped_half_way_it_goes_on(cli, out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "RETRIES", 0)
    rows = [{"image": f"pics/{n % 3}.png", "id": str(n), "where": f"place {n}"} for n in range(20)]
    Path("list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ("list.jsonl", "--tasks", "mine", "--out", out)
    with standin(lambda n, asked: completion() if n <= 8 else error(500, "out of memory")) as server:
        stopped = judge(cli, server, *command)
    assert stopped.code == 1 and "out of memory" in stopped.err and "Traceback" not in stopped.err
    kept = Path("v.jsonl" if out == "v.jsonl" else ".v.csv.part.jsonl")
    assert len(read_jsonl(kept)) == 8
    with kept.open("a") as stream:
        stream.write('{"id": "torn')
    with standin(lambda n, asked: completion("no")) as server:
        other = judge(cli, server, *command, "--style", "rl")
        assert other.code == 2 and "would not ask for" in other.err and not server.asked
        done = judge(cli, server, *command)
        assert done.code == 0 and len(server.asked) == 12, done.err
    with Path(out).open(newline="") as stream:
        found = read_jsonl(Path(out)) if out == "v.jsonl" else list(csv.DictReader(stream))
    assert [row["id"] for row in found] == [str(n) for n in range(20)]
    assert sum(row["verdict"] == "yes" for row in found) == 8


def test_all_that_is_wrong_is_said_before_anything_is_asked(cli) -> None:
    Path("pics/broken.png").write_bytes(Path("pics/0.png").read_bytes()[:50])
    Path("list.csv").write_text(
        "image,where,label\npics/0.png,,\npics/gone.png,here,\npics/1.png,here,perhaps\n,here,\n"
    )
    with standin(lambda n, asked: completion()) as server:
        done = judge(cli, server, "list.csv", "pics", "--tasks", "mine")
        assert done.code == 2 and not server.asked
    for words in (
        "8 of 8 items cannot be judged:",
        "list.csv, row 1: task mine needs the field where: --field where=..., or a column where",
        "list.csv, row 3: label 'perhaps' is not a verdict of task mine: yes or no",
        "list.csv, row 4: task mine takes 1 image(s) in image, and 0 are given",
        "and 3 more",
    ):
        assert words in done.err, done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pics/0.png"], "its task is not known"),
        (["pics/0.png", "--tasks", "minee"], "Did you mean 'mine'?"),
        (["pics/0.png", "--tasks", "mine", "--field", "where"], "should be name=text"),
        (["pics/none.png", "--tasks", "mine", "--field", "where=x"], "No such file"),
        (["windows.csv", "--tasks", "mine"], "No such file or directory; its name has backslashes"),
        (["none.csv", "--tasks", "mine"], "no table none.csv"),
        (["empty.csv", "--tasks", "mine"], "empty.csv has no rows"),
        (["semicolons.csv", "--tasks", "mine"], "the columns are separated by semicolons, not commas: image;where"),
        (["other.csv", "--tasks", "mine"], "no column image, nor image_1 and image_2; its columns: picture, where"),
        (["torn.jsonl", "--tasks", "mine"], "torn.jsonl, line 2 is not valid JSON"),
        (["recipes", "--tasks", "mine"], "has no images"),
        (["pics/0.png", "--tasks", "mjbench_alignment", "--field", "caption=x"], "two images, and 1 are given"),
        (["pics", "--tasks", "mjbench_alignment", "--field", "caption=x"], "does not say which"),
        (["pics", "--tasks", "mine", "--out", "v.xlsx"], "neither .jsonl nor .csv"),
        (["pics", "--tasks", "mine", "--out", "no/v.csv"], "no folder no"),
    ],
)
def test_refused_in_plain_words(cli, arguments: list[str], says: str) -> None:
    Path("empty.csv").write_text("image,where\n")
    Path("windows.csv").write_text("image,where\npics\\0.png,here\n")
    Path("semicolons.csv").write_text("image;where\npics/0.png;here\n")
    Path("other.csv").write_text("picture,where\npics/0.png,here\n")
    Path("torn.jsonl").write_text('{"image": "pics/0.png"}\n{"image":\n')
    with standin(lambda n, asked: completion()) as server:
        done = judge(cli, server, *arguments)
    assert done.code == 2 and says in done.err and not server.asked, done.err


def test_reasoning_is_what_stands_inside_think() -> None:
    def reasoning(response: str) -> str:
        said = {"id": "1", "image": "i", "task": "t", "verdict": "yes", "confidence": None, "finish_reason": "stop"}
        return Verdict(**said, response=response, asked="0" * 64).reasoning

    assert reasoning("<think> red <b> </think><answer>yes</answer>") == "red <b>"
    assert reasoning("<think>cut off") == "cut off" and reasoning("yes") == ""
    assert reasoning("<think>" + "x" * 100_000) == "x" * 100_000


def test_every_file_that_a_folder_leaves_out_is_counted_with_its_reason(cli) -> None:
    (Path("pics") / "more" / "deep").mkdir(parents=True)
    Path("pics/more/3.png").write_bytes(Path("pics/0.png").read_bytes())
    Path("pics/more/deep/4.PNG").write_bytes(Path("pics/1.png").read_bytes())
    for name in ("a.raw", "b.raw", "notes.txt", "README", "odd.\x1b[2J"):
        (Path("pics") / name).write_text("x")
    Path("pics/link").symlink_to("more")
    command = ("pics", "--tasks", "mine", "--field", "where=x")
    with standin(lambda n, asked: completion()) as server:
        done = judge(cli, server, *command)
        assert done.code == 0 and len(server.asked) == 3
        for words in (
            "8 files left out: ",
            "2 .raw, which is not an image format",
            "2 in a folder below (--recursive reads those too)",
            "1 .txt,",
            "1 no ending,",
            "1 a link to a folder",
            "1 an odd ending,",
        ):
            assert words in done.out, done.out
        deep = judge(cli, server, *command, "--recursive", "--out", "v.jsonl")
    assert deep.code == 0 and "6 files left out" in deep.out
    assert [row["image"] for row in read_jsonl(Path("v.jsonl"))] == [
        "pics/0.png", "pics/1.png", "pics/2.png", "pics/more/3.png", "pics/more/deep/4.PNG",
    ]  # fmt: skip


def test_bad_items_can_be_skipped_and_are_listed_where_they_stand(cli) -> None:
    Path("pics/1.png").write_bytes(b"no image")
    os.mkfifo("pics/9.png")
    Path("list.csv").write_text("image,where\npics/0.png,a\npics/2.png,\npics/gone.png,b\n")
    command = ("list.csv", "pics", "--tasks", "mine", "--field", "where=")
    with standin(lambda n, asked: completion()) as server:
        refused = judge(cli, server, *command)
        assert refused.code == 2 and not server.asked and "(--skip-bad judges the others)" in refused.err
        Path("pics/good").mkdir()
        command = ("list.csv", "pics", "--tasks", "mine", "--skip-bad")
        for out in ("v.jsonl", "v.csv"):
            done = judge(cli, server, *command, "--out", out)
            assert done.code == 0 and "6 of 7 items were not judged" in done.out, done.err
    rows = read_jsonl(Path("v.jsonl"))
    assert [row["verdict"] for row in rows] == ["yes"] + ["skipped"] * 6
    assert (
        "needs the field where" in rows[1]["skipped"]
        and rows[2]["skipped"] == "pics/gone.png: No such file or directory"
    )
    with Path("v.csv").open(newline="") as stream:
        assert [row["skipped"] for row in csv.DictReader(stream)] == [row.get("skipped", "") for row in rows]
    with standin(lambda n, asked: completion()) as server:  # mended in between, it goes on
        Path("pics/gone.png").write_bytes(Path("pics/2.png").read_bytes())
        again = judge(cli, server, *command, "--out", "v.jsonl")
    assert again.code == 0 and len(server.asked) == 1, again.err
    assert [row["verdict"] for row in read_jsonl(Path("v.jsonl"))][:3] == ["yes", "skipped", "yes"]


def test_only_regular_files_are_read(cli) -> None:
    os.mkfifo("pics/pipe.png")
    os.mkfifo("pipe.csv")
    Path("zero.png").symlink_to("/dev/zero")
    Path("list.jsonl").write_text(json.dumps({"image": "pics/a\0b.png", "where": "x"}) + "\n")
    with standin(lambda n, asked: completion()) as server:
        for given, says in (
            ("pics/pipe.png", "pics/pipe.png: not a regular file"),
            ("zero.png", "zero.png: not a regular file"),
            ("pipe.csv", "pipe.csv: it is not a regular file"),
            ("list.jsonl", "embedded null byte"),
        ):
            done = judge(cli, server, given, "--tasks", "mine", "--field", "where=x")
            assert done.code == 2 and says in done.err and "Traceback" not in done.err, done.err


@pytest.mark.parametrize(
    "text",
    [
        "My notes.\nDo not lose them.\n",
        "one line",
        '{"image": "a.png"}\n',
        '{"asked": "x"}\n',
        "[1]\n",
        '{"id": "to',
        "[" * 9999,
    ],
)
def test_a_file_that_mtrl_judge_did_not_write_is_left_alone(cli, text: str) -> None:
    with standin(lambda n, asked: completion()) as server:
        for name in ("notes.jsonl", ".v.csv.part.jsonl"):
            Path(name).write_text(text)
            out = "notes.jsonl" if name == "notes.jsonl" else "v.csv"
            done = judge(cli, server, "pics", "--tasks", "mine", "--field", "where=x", "--out", out)
            assert done.code == 2 and "is not changed" in done.err and not server.asked, done.err
            assert Path(name).read_text() == text and not Path("v.csv").exists()


@pytest.mark.parametrize("out", ["v.jsonl", "v.csv"])
def test_two_equal_commands_at_once(cli, out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second says that the first is at work, asks nothing, and leaves the first one's rows whole."""
    command = (
        "judge",
        "pics",
        "--tasks",
        "mine",
        "--field",
        "where=x",
        "--out",
        out,
        "--served-model",
        "m",
        "--endpoint",
    )
    second: list[Any] = []

    def answer(number: int, body: dict[str, Any]) -> Reply:
        if not second:
            second.append(True)
            second.append(
                subprocess.run(
                    [sys.executable, "-m", "mtrl", *command, server.url], capture_output=True, text=True, timeout=60
                )
            )
        return completion()

    with standin(answer) as server:
        done = cli(*command, server.url)
        assert done.code == 0 and len(server.asked) == 3, done.err
    assert second[1].returncode == 2 and "another mtrl judge is writing to" in second[1].stderr, second[1].stderr
    with Path(out).open(newline="") as stream:
        rows = read_jsonl(Path(out)) if out == "v.jsonl" else list(csv.DictReader(stream))
    assert [row["verdict"] for row in rows] == ["yes"] * 3
    assert sorted(path.name for path in Path().iterdir() if path.name.startswith((".v", "v"))) == [out]


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("pics", "is a folder, not a file"),
        ("taken.jsonl", "is a folder, not a file"),
        ("pics/0.png/v.csv", "is a file, and a folder is needed"),
        ("/proc/v.csv", "/proc/.v.csv.part.jsonl cannot be written to"),
        ("pipe.jsonl", "is not a regular file"),
    ],
)
def test_an_out_that_cannot_be_written_is_said_in_one_line(cli, out: str, says: str) -> None:
    Path("taken.jsonl").mkdir()
    os.mkfifo("pipe.jsonl")
    with standin(lambda n, asked: completion()) as server:
        done = judge(cli, server, "pics/0.png", "--tasks", "mine", "--field", "where=x", "--out", out)
    assert done.code == 2 and says in done.err and not server.asked, done.err
    assert len(done.err.strip().splitlines()) <= 2 and "Traceback" not in done.err


def test_a_tables_labels_may_be_the_tasks_own_words(cli) -> None:
    file = Path("recipes/tasks/mine.yaml")
    file.write_text(
        file.read_text()
        .replace("yes: [a], no: [b]", "yes: [original, Fine], no: [edited, yes]")
        .replace("label: {", "label: {drop: [unsure], ")
    )
    Path("recipes/tasks/scored.yaml").write_text(
        "title: t\ncapability: quality\nsource: {file: a.csv}\nlabel: {column: score, rule: {when: "
        '">= 4", then: yes}}\n'
    )
    Path("prompts/sft/scored.jinja").write_text("<image> Is it good? Answer yes or no.")
    Path("prompts/rl/scored.jinja").write_text("<image> Good? <think>why</think><answer>yes or no</answer>")
    words = ["original", "edited", "Fine", "No", "unsure"]
    rows = "".join(f"pics/{n % 3}.png,mine,here,{word}\n" for n, word in enumerate(words))
    rows += "pics/0.png,scored,,4.5\npics/1.png,scored,,3\npics/2.png,scored,,no\n"
    Path("list.csv").write_text("image,task,where,label\n" + rows)
    with standin(lambda n, asked: completion()) as server:
        done = judge(cli, server, "list.csv", "--out", "v.jsonl")
        assert done.code == 0, done.err
        found = read_jsonl(Path("v.jsonl"))
        assert [row.get("label") for row in found] == ["yes", "no", "yes", "no", None, "yes", "no", "no"]
        assert found[0]["id"] == "pics/0.png" and found[3]["id"] == "pics/0.png (list.csv, row 4)"
        for word, says in (
            ("yes", "the other meaning"),
            ("perhaps", "is not a verdict of task mine: yes or no (or its own words:"),
        ):
            Path("list.csv").write_text(f"image,where,label\npics/0.png,here,{word}\n")
            refused = judge(cli, server, "list.csv", "--tasks", "mine")
            assert refused.code == 2 and says in refused.err, refused.err


def test_rotated_images_are_counted_and_with_orient_turned(cli) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 32)).save("pics/phone.jpg", exif=exif)
    file = Path("recipes/tasks/mine.yaml")
    plain = file.read_text()
    sizes = []
    for text in (plain, plain + "orient: true\n"):
        file.write_text(text)
        with standin(lambda n, asked: completion()) as server:
            done = judge(cli, server, "pics/phone.jpg", "--tasks", "mine", "--field", "where=x")
        said = "1 items of task mine have images with an EXIF rotation, which no loader applies"
        assert done.code == 0 and (said in done.out) == (text == plain), done.out
        url = next(p for p in server.asked[0]["messages"][0]["content"] if p["type"] == "image_url")["image_url"]["url"]
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as sent:
            sizes.append(sent.width > sent.height)
    assert sizes == [True, False]


def test_a_phones_formats_are_read_or_named(cli) -> None:
    from PIL import features

    Path("pics/9.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 40)
    command = ("pics", "--tasks", "mine", "--field", "where=x")
    with standin(lambda n, asked: completion()) as server:
        refused = judge(cli, server, *command)
        assert refused.code == 2 and "pics/9.heic: " in refused.err and not server.asked
        done = judge(cli, server, *command, "--skip-bad")
        assert done.code == 0 and len(server.asked) == 3 and "1 of 4 items were not judged" in done.out
        if features.check("avif"):
            Path("pics/9.heic").unlink()
            Image.new("RGB", (64, 64)).save("pics/4.avif")
            assert judge(cli, server, *command).code == 0 and len(server.asked) == 7


def test_a_page_of_verdicts(cli) -> None:
    """With hostile captions, names and answers, labels, a pair asked in both orders, and an item that was skipped."""
    hostile = "</script><img src=x onerror=\"document.title='owned'\"><!--"
    Path("pics/<b>.png").write_bytes(Path("pics/0.png").read_bytes())
    rows: list[dict[str, Any]] = [
        {"image": "pics/<b>.png", "task": "mine", "where": hostile, "label": "b"},
        {"image": "pics/1.png", "task": "mine", "where": "a wall", "id": hostile},
        {"image": f"pics/gone{hostile[:9].replace('/', '')}.png", "task": "mine", "where": "a wall"},
        {"images": ["pics/0.png", "pics/2.png"], "task": "mjbench_alignment", "caption": "a red wall", "label": "2"},
    ]
    Path("list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("pages").mkdir()
    command = ("list.jsonl", "--style", "rl", "--skip-bad", "--out", "pages/v.html")
    with standin(
        lambda n, a: completion(THINK.format(hostile, 1 if "Second image" in asked_text(a) else "yes"))
    ) as server:
        done = judge(cli, server, *command)
        assert done.code == 0 and len(server.asked) == 4, done.err
        again = judge(cli, server, *command)
        assert again.code == 2 and "exists already" in again.err and len(server.asked) == 4
    page = Path("pages/v.html")
    assert sorted(path.name for path in Path("pages").iterdir()) == ["v.html"]
    text = page.read_text()
    assert "1 items were not judged" in text and "pics/gone&lt;" in text and "0 of 1" in text
    shown = data_of(text, "cards")
    assert [(c["id"], c["label"], c["answers"][0]["verdict"]) for c in shown] == [
        ("pics/<b>.png", "no", "yes"), (hostile, "", "yes"),
        ("pics/0.png pics/2.png", "2", "1"), ("pics/0.png pics/2.png", "1", "1"),
    ]  # fmt: skip
    assert shown[1]["names"] == ["pics/1.png"] and shown[0]["fields"] == [["where", hostile]]
    assert all((Path("pages") / name).is_file() for card in shown for name in card["images"])
    drawn = browse(page)
    assert "<title>owned" not in drawn and "4 of 4" in drawn and drawn.count("<article") == 4
    for hash, number in (("show=says_yes", 2), ("show=wrong", 2), ("show=flipped", 2), ("search=1.png", 1)):
        assert browse(page, f"#{hash}").count("<article") == number, hash


def test_rows_that_the_terminal_does_not_show(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_command, "SHOWN", 1)
    with standin(lambda n, asked: completion("yes")) as server:
        command = ("pics", "--tasks", "mine", "--field", "where=x")
        assert "more not shown: pass --out" in judge(cli, server, *command).out
        assert "more in v.csv" in judge(cli, server, *command, "--out", "v.csv").out


def test_not_one_readable_verdict_is_explained(cli) -> None:
    with standin(lambda n, a: completion(f"<think>{n}</think><answer>yes</answer>")) as server:
        done = judge(cli, server, "pics", "--tasks", "mine", "--field", "where=x", "--out", "v.html")
    assert done.code == 0 and "mine: not one answer could be read as a verdict. The judge reasons" in done.out
    assert done.out.count("</think><answer>yes</answer>") == 3 and "mine: not one answer" in Path("v.html").read_text()


def test_a_row_of_too_many_cells_is_an_error(cli) -> None:
    Path("list.csv").write_text("image,where\npics/0.png,A large, open room\n")
    with standin(lambda n, asked: completion()) as server:
        done = judge(cli, server, "list.csv", "--tasks", "mine")
    assert done.code == 2 and "list.csv" in done.err and "comma" in done.err and not server.asked, done.out
