"""`python -m model_zoo list` with filters, and what help and an empty machine leave alone."""

from typing import Any

import pytest

import model_zoo
from cem_bench.inputs.degradations import Bicubic, kinds
from cem_bench.models.model import as_model
from cem_bench.run.build import build_degradation
from model_zoo.__main__ import main
from model_zoo.listing import Wanted, select


def names(**facts: Any) -> set[str]:
    return {entry.name for entry in select(Wanted(**facts))}


def test_each_filter_is_what_the_cards_say():
    every = {name: model_zoo.card(name) for name in model_zoo.list_models()}
    assert names() == set(every)
    assert names(statistics="none") == {name for name, card in every.items() if not card.global_statistics}
    assert names(statistics="any") == set(every) - names(statistics="none")
    assert names(statistics="CHANNEL attention") >= {"IMDN", "RCAN"}
    assert names(reach=20) == {name for name, card in every.items() if card.reach is not None and card.reach <= 20}
    assert names(licence="apache") == {name for name, card in every.items() if "Apache" in card.licence}


def test_a_task_is_known_by_its_class_alone():
    shipped = kinds()
    assert {task for name in model_zoo.list_models() for task in model_zoo.card(name).tasks} <= {
        kind.task for kind in shipped
    }
    for task in {kind.task for kind in shipped}:
        model = as_model(lambda rows: rows, name="own", tasks=(task,), identity="own")
        classes = [kind for kind in shipped if kind.task == task]
        if len(classes) == 1:
            assert type(build_degradation(model)) is classes[0]
        else:
            with pytest.raises(ValueError, match="choose one, as task="):
                build_degradation(model)
    assert build_degradation(as_model(lambda rows: rows, name="own", tasks=("SR",), identity="own")) == Bicubic(4, True)


def test_filters_together_are_all_met():
    chosen = names(task="SR", statistics="none", reach=40)
    assert chosen == names(task="SR") & names(statistics="none") & names(reach=40)
    assert "PAN" in chosen
    assert not {"IMDN", "SwinIR", "DnCNN"} & chosen


def test_weights_here_and_missing_share_the_zoo_between_them(shared):
    here, missing = names(weights="here"), names(weights="missing")
    assert "PAN" in here and "ESPCN" in missing
    assert here | missing == names()
    assert not here & missing


def test_a_kind_that_no_card_has_is_refused_with_the_kinds(capsys):
    assert main(["list", "--global", "crystal ball"]) == 1
    message = capsys.readouterr().err
    assert "crystal ball" in message and "channel attention" in message


def test_the_command_lists_what_fits_and_says_when_nothing_does(capsys):
    assert main(["list", "--task", "DN", "--global", "none", "--reach", "20"]) == 0
    shown = capsys.readouterr().out
    assert "DnCNN_sigma15" in shown and "FFDNet" not in shown
    assert main(["list", "--reach", "0"]) == 0
    assert "no model has all of that" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["list"], ["info"], ["verify"], []])
def test_help_runs_nothing(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as done:
        main([*command, "--help"])
    assert done.value.code == 0
    assert "usage" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_verify_without_weights_touches_no_file(tmp_path, monkeypatch, capsys):
    """It once wrote the table anew although it had measured nothing."""
    monkeypatch.setenv("CEM_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("CEM_DATA", str(tmp_path))
    table = tmp_path / "measured.csv"
    table.write_text("model,test,images,claimed_db,measured_db,difference_db\nPAN,kept as it is,5,,32.1,\n")
    before = table.read_text()
    assert main(["verify", "--out", str(table)]) == 0
    assert main(["verify", "PAN", "--out", str(table)]) == 1
    assert table.read_text() == before
