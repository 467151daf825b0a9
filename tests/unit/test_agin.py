from pathlib import Path

import pytest

from mtrl.core.errors import MtrlError, UserError
from mtrl.demo import releases
from tests.unit.releases_fixture import mos, run


def test_three_tasks_share_images_ids_and_split(tmp_path: Path) -> None:
    releases.agin(tmp_path / "raw")
    data = tmp_path / "data"
    placed = []
    for name in ("agin_nat", "agin_tech", "agin_rat"):
        card, rows = run(mos(name, "<= 55"), tmp_path / "raw", data)
        assert [sum(card["counts"][s].values()) for s in ("train", "val", "test")] == [48, 6, 6]
        placed.append({row.id: split for split, held in rows.items() for row in held})
        assert all(
            row.answer
            == ("no" if row.source[f"MOS_{name[5:]}"] and float(row.source[f"MOS_{name[5:]}"]) <= 55 else "yes")
            for held in rows.values()
            for row in held
        )
    assert placed[0] == placed[1] == placed[2]
    assert len(list((data / "images").rglob("*.png"))) == 60
    assert card["images"]["notes"] == {"transparency, which loaders drop": 40}


def test_rank_rule_counts_exactly_and_refuses_too_many(tmp_path: Path) -> None:
    releases.agin(tmp_path / "raw")
    card, _ = run(mos("agin_nat", "lowest 17"), tmp_path / "raw", tmp_path / "data")
    assert sum(counts["no"] for counts in card["counts"].values()) == 17
    with pytest.raises(UserError, match="asks for more than the 60 rows"):
        run(mos("agin_nat", "lowest 61"), tmp_path / "raw", tmp_path / "data")


def test_grouped_keeps_one_prompt_together(tmp_path: Path) -> None:
    releases.agin(tmp_path / "raw", rows=90)
    _, rows = run(mos("agin_nat", "<= 50"), tmp_path / "raw", tmp_path / "data", protocol="grouped")
    where: dict[str, set[str]] = {}
    for split, held in rows.items():
        for row in held:
            where.setdefault(row.group, set()).add(split)
    assert len(where) > 2
    assert all(len(splits) == 1 for group, splits in where.items() if group)


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "else.txt").write_text("")
    with pytest.raises(UserError, match=r"no MOS_AGIN.csv in .*has: else.txt"):
        run(mos("agin_nat", "<= 50"), tmp_path / "raw", tmp_path / "data")
    folder = releases.agin(tmp_path / "raw")
    (folder / "AGIN_512x512" / "CoCosNet_0.png").unlink()
    with pytest.raises(UserError, match=r"1 of 60 images are missing.*CoCosNet_0.png"):
        run(mos("agin_nat", "<= 50"), tmp_path / "raw", tmp_path / "data")
    table = folder / "MOS_AGIN.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], lines[2].replace(lines[2].split(",")[1], "good")]))
    with pytest.raises(MtrlError, match=r"row 1: label 'good' in column 'MOS_nat' is not a number") as error:
        run(mos("agin_nat", "<= 50"), tmp_path / "raw", tmp_path / "data")
    assert error.value.exit_code == 1
    table.write_text("filename,MOS_nat\nx.png,1\n")
    with pytest.raises(UserError, match="has no column MOS_rat, MOS_tech"):
        run(mos("agin_nat", "<= 50"), tmp_path / "raw", tmp_path / "data")
