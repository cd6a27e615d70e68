"""What trials choose, from a measured world that can be worked out on paper."""

from __future__ import annotations

from typing import Any

import measured
import pandas as pd
import pytest

from harness.analysis.pairing import FrameError
from harness.analysis.tables import ablation
from harness.analysis.tuning import chosen, tuning

MODEL = measured.MODELS[0]
#: Method -> kind, setting, seed, validation reward; and whether its images are hypernoise's, which
#: are right in three of four, or reno's, which are all wrong.
TRIED: dict[str, tuple[str, dict[str, Any], int, float, bool]] = {
    "hypernoise:rank=2,seed=7": ("hypernoise", {"rank": 2}, 7, 1.0, True),
    "hypernoise:rank=2,seed=8": ("hypernoise", {"rank": 2}, 8, 3.0, True),
    "hypernoise:rank=4,seed=7": ("hypernoise", {"rank": 4}, 7, 4.0, True),
    "hypernoise:rank=4,seed=8": ("hypernoise", {"rank": 4}, 8, 1.0, False),
    "tuned:steps=5,seed=7": ("lora_finetune", {"steps": 5}, 7, 9.0, False),
    "tuned:steps=9,seed=7": ("lora_finetune", {"steps": 9}, 7, 2.0, True),
}
TRIALS = {
    MODEL: {
        method: {"kind": kind, "options": options, "seed": seed, "training": f"of {method}"}
        for method, (kind, options, seed, _, _) in TRIED.items()
    }
}
CONFIGURED = {MODEL: {"hypernoise": {"rank": 2}, "lora_finetune": {"steps": 5}}}
#: Two settings of a search, of which the images are reno's and hypernoise's.
SEARCHED: dict[str, tuple[dict[str, Any], bool]] = {
    "reno:learning_rate=1": ({"learning_rate": 1}, False),
    "reno:learning_rate=2": ({"learning_rate": 2}, True),
}


def of_trials(rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows[rows["model"] == MODEL]
    own = {
        True: rows[rows["method"] == "hypernoise"],
        False: rows[rows["method"] == "reno"],
    }
    goods = {method: is_good for method, (*_, is_good) in (TRIED | SEARCHED).items()}
    made = [own[is_good].assign(method=method) for method, is_good in goods.items()]
    return pd.concat([rows[rows["method"] == "base"], *made], ignore_index=True)


def scores() -> pd.DataFrame:
    return of_trials(measured.scores())


def images() -> pd.DataFrame:
    return of_trials(measured.images())


def training() -> pd.DataFrame:
    who = {"model": MODEL, "reward": "matcher", "kind": "kept", "step": 4}
    return pd.DataFrame(
        {**who, "method": f"of {method}", "name": name, "value": value}
        for method, (_, _, _, reward, _) in TRIED.items()
        for name, value in (("reward", reward), ("reward_se", 0.25))
    )


def made(criterion: Any, function: Any = tuning, **changes: Any) -> pd.DataFrame:
    given: dict[str, Any] = {"trials": TRIALS, "configured": CONFIGURED, "criterion": criterion}
    frames = measured.shuffled(scores()), measured.shuffled(images()), training()
    table: pd.DataFrame = function(*frames, **{**given, **changes})
    return table


def test_every_trial_is_a_row_with_what_was_tried_and_earned() -> None:
    table = made("benchmark")
    assert table["method"].to_list() == ["base", *TRIED]
    assert table["setting"].to_list() == [0, 1, 1, 2, 2, 1, 2]
    assert table["training_seed"].to_list() == [-1, 7, 8, 7, 8, 7, 7]
    assert table["option_rank"].to_list() == ["", "2", "2", "4", "4", "", ""]
    assert table["option_steps"].to_list() == ["", "", "", "", "", "5", "9"]
    assert set(table["steps"]) == {1}
    assert table["validation_reward"].to_list()[1:] == [1.0, 3.0, 4.0, 1.0, 9.0, 2.0]
    assert set(table["validation_reward_se"].iloc[1:]) == {0.25}
    assert set(table["kept_step"].iloc[1:]) == {4}
    assert table["geneval_mean"].to_list() == pytest.approx([0.5, 0.75, 0.75, 0.75, 0, 0, 0.75])
    assert table["gain_over_base"].iloc[1] == pytest.approx(0.25)


def test_a_setting_is_chosen_by_its_mean_over_seeds_and_one_of_each_kind() -> None:
    table = made("benchmark")
    by_benchmark = ["hypernoise:rank=2,seed=7", "hypernoise:rank=2,seed=8", "tuned:steps=9,seed=7"]
    # 2.5 against 2 for rank 4, though one of its networks is spoilt; 9 for the hacked fine-tuning.
    by_reward = ["hypernoise:rank=4,seed=7", "hypernoise:rank=4,seed=8", "tuned:steps=5,seed=7"]
    assert table["method"][table["best_by_benchmark"]].to_list() == by_benchmark
    assert table["method"][table["best_by_reward"]].to_list() == by_reward
    assert table["method"][table["is_chosen"]].to_list() == by_benchmark
    other = made("reward")
    assert other["method"][other["is_chosen"]].to_list() == by_reward


def test_it_is_said_where_the_config_has_not_what_was_chosen() -> None:
    rows = made("benchmark", chosen)
    columns = ["layer", "option", "by_benchmark", "by_reward", "chosen", "configured", "agrees"]
    assert rows[columns].to_numpy().tolist() == [
        [f"{MODEL} hypernoise", "rank", "2", "4", "2", "2", True],
        [f"{MODEL} lora_finetune", "steps", "9", "5", "9", "5", False],
    ]
    for table in (rows, made("benchmark")):
        said = [note for note in table.attrs["notes"] if "not those chosen" in note]
        assert len(said) == 1
        assert "tiny_a lora_finetune has steps 5, chosen is 9" in said[0]
    layers = f"{MODEL} hypernoise: {{ rank: 2 }}; {MODEL} lora_finetune: {{ steps: 9 }}"
    assert layers in rows.attrs["notes"][-1]
    same = {MODEL: {"hypernoise": {"rank": 2}, "lora_finetune": {"steps": 9}}}
    notes = made("benchmark", chosen, configured=same).attrs["notes"]
    assert "The config's options are those chosen." in notes


def test_trials_of_a_search_are_rows_beside_those_of_networks_with_what_they_cost() -> None:
    own = {
        method: {"kind": "reno", "options": options, "seed": None}
        for method, (options, _) in SEARCHED.items()
    }
    trials = {MODEL: {**TRIALS[MODEL], **own}}
    configured = {MODEL: {**CONFIGURED[MODEL], "reno": {"learning_rate": 1}}}
    table = made("benchmark", trials=trials, configured=configured)
    assert table["method"].to_list() == ["base", *TRIED, *SEARCHED]
    rows = table.set_index("method").loc[list(SEARCHED)]
    assert rows["setting"].to_list() == [1, 2]
    assert set(rows["training_seed"]) == {-1}
    assert rows["option_learning_rate"].to_list() == ["1", "2"]
    assert rows["kept_step"].isna().all()
    # There is no training: its reward is that of its images.
    assert rows["validation_reward"].to_list() == rows["train_reward_mean"].to_list()
    assert rows["geneval_mean"].to_list() == pytest.approx([0, 0.75])
    assert rows["is_chosen"].to_list() == [False, True]
    nfe = {True: measured.NFE["hypernoise"], False: measured.NFE["reno"]}
    assert rows["nfe"].to_list() == [nfe[is_good] for _, is_good in SEARCHED.values()]
    assert table["reward_calls"].notna().all()
    rows = made("benchmark", chosen, trials=trials, configured=configured)
    assert rows["section"].to_list() == ["training", "training", "arguments"]
    last = rows.iloc[-1]
    assert (last["layer"], last["chosen"], last["agrees"]) == (f"{MODEL} reno", "2", False)
    said = f"section 'arguments': {MODEL} reno: {{ learning_rate: 2 }}"
    assert said in rows.attrs["notes"][-1]
    assert "section 'training'" in rows.attrs["notes"][-2]


def test_a_trial_without_its_training_is_named() -> None:
    rows = training()
    lost = rows[rows["method"] != "of tuned:steps=9,seed=7"]
    given: Any = {"trials": TRIALS, "configured": CONFIGURED, "criterion": "reward"}
    with pytest.raises(FrameError, match=r"'of tuned:steps=9,seed=7' has no kept reward"):
        tuning(scores(), images(), lost, **given)
    with pytest.raises(FrameError, match="there are no trials"):
        tuning(scores(), images(), rows, **{**given, "trials": {MODEL: {}}})


def test_an_ablation_pairs_each_change_with_the_unchanged_method() -> None:
    rows = scores()
    rows = rows[~rows["method"].isin(["base", *SEARCHED])]
    table = ablation(rows, baseline="hypernoise:rank=2,seed=7", models=[MODEL])
    assert table["method"].iloc[0] == "hypernoise:rank=2,seed=7"
    by_method = table.set_index("method")
    assert by_method.loc["hypernoise:rank=4,seed=7", "gain_geneval"] == 0
    spoilt = by_method.loc["hypernoise:rank=4,seed=8"]
    assert spoilt["gain_geneval"] == pytest.approx(-0.75)
    assert spoilt["gain_train_reward"] == pytest.approx(1.5)
    assert spoilt["p_holm_geneval"] < 0.05
    assert pd.isna(by_method["p_holm_geneval"].iloc[0])
