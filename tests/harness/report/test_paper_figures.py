"""Figures behind the paper's tables, and grids whose columns are chosen one by one."""

from __future__ import annotations

from typing import Any

import measured
import numpy as np
import pandas as pd
import pytest
from drawn import check_words, line_of, shade
from matplotlib.figure import Figure
from paper_frames import MODEL, frames_of

from harness.analysis.pairing import FrameError
from harness.analysis.paper_tables import geneval
from harness.report.figure_style import LOOKS
from harness.report.grids import side_by_side
from harness.report.paper_figures import ranks, steps
from harness.report.training_figures import training_curves

RUNS = {"base": [1, 2, 4, 8], "hypernoise": [1, 2, 4, 8], "lora_finetune_final": [1, 2, 4]}
RANKED = {
    "base": [1, 4],
    "hypernoise": [1, 4],
    "hypernoise:rank=8": [1, 4],
    "lora_finetune_final": [1, 4],
    "lora_finetune_final:rank=8": [1, 4],
}
RANKS = {
    MODEL: {
        "hypernoise": 128,
        "hypernoise:rank=8": 8,
        "lora_finetune_final": 128,
        "lora_finetune_final:rank=8": 8,
    }
}


def measured_training() -> pd.DataFrame:
    training = measured.training()
    validated = training[training["kind"] == "validation"]
    errors = validated.assign(name=validated["name"] + "_se", value=0.5)
    return pd.concat([training, errors], ignore_index=True)


def grid(columns: list[dict[str, Any]], **changes: Any) -> Figure:
    return side_by_side(
        measured.shuffled(measured.images()),
        measured.shuffled(measured.scores()),
        columns=columns,
        load=shade,
        **changes,
    )


def column(model: str, method: str, image_index: int = 0) -> dict[str, Any]:
    return {"model": model, "method": method, "steps": 1, "image_index": image_index}


PAIR = [column("tiny_a", "base"), column("tiny_b", "hypernoise", 1)]


def test_training_curves_have_bands_of_two_standard_errors() -> None:
    figure = training_curves(measured_training(), reward="redness", models=["tiny_a"])
    above, below = figure.axes
    assert line_of(above, "lora_finetune")[:, 1].tolist() == [0, 10, 20, 30]
    assert line_of(below, "lora_finetune")[:, 1].tolist() == [4, 3, 2, 1]
    heights = np.concatenate([band.get_paths()[0].vertices[:, 1] for band in below.collections])
    assert heights.max() == pytest.approx(4 + 1.96 * 0.5)
    assert heights.min() == pytest.approx(1 - 1.96 * 0.5)


def test_training_curves_without_standard_errors_are_refused() -> None:
    with pytest.raises(FrameError, match=r"'validation_reward_se'.*\n.*have to be made again"):
        training_curves(measured.training(), reward="redness", judges=[])
    gap = measured_training()
    gap = gap[~((gap["step"] == 20) & (gap["name"] == "judge_reward_se"))]
    with pytest.raises(FrameError, match="hypernoise: no validation_judge_reward_se at step 20"):
        training_curves(gap, reward="redness")


def test_steps_draws_the_numbers_of_table_8_and_the_published_ones_hollow() -> None:
    scores, images = frames_of(RUNS)
    table = geneval(scores, images, printed_as="table8", runs=RUNS, models=[MODEL])
    figure = steps(scores, images, runs=RUNS, models=[MODEL])
    (panel,) = figure.axes
    for method in RUNS:
        rows = table[table["method"] == method]
        lines = [line for line in panel.lines if line.get_color() == LOOKS[method].color]
        drawn = [line.get_ydata().tolist() for line in lines]
        assert rows["geneval_mean"].to_list() in drawn
        assert rows["geneval_mean_published"].to_list() in drawn
    assert [label.get_text() for label in panel.get_xticklabels()] == ["1", "2", "4", "8"]


def test_ranks_draws_each_family_at_its_ranks_and_its_own_published_table() -> None:
    scores, images = frames_of(RANKED)
    figure = ranks(scores, images, runs=RANKED, models=[MODEL], ranks=RANKS)
    assert [panel.get_title() for panel in figure.axes] == [f"{MODEL}, 1 step", f"{MODEL}, 4 steps"]
    (first, _) = figure.axes
    assert [label.get_text() for label in first.get_xticklabels()] == ["8", "128"]
    table = geneval(scores, images, printed_as="table9", runs=RANKED, models=[MODEL], ranks=RANKS)
    at_one = table[table["steps"] == 1].set_index("method")["geneval_mean"]
    for family, variant, published in (
        ("hypernoise", "hypernoise:rank=8", [0.70, 0.75]),
        ("lora_finetune_final", "lora_finetune_final:rank=8", [0.59, 0.67]),
    ):
        lines = [line for line in first.lines if line.get_color() == LOOKS[family].color]
        drawn = [line.get_ydata().tolist() for line in lines]
        assert [at_one[variant], at_one[family]] in drawn
        assert published in drawn


def test_ranks_needs_several_ranks_of_one_model() -> None:
    scores, images = frames_of(RUNS)
    given = {"runs": RUNS, "ranks": {MODEL: {"hypernoise": 128, "lora_finetune_final": 128}}}
    with pytest.raises(
        FrameError, match="no number of sampling steps has methods of several ranks"
    ):
        ranks(scores, images, models=[MODEL], **given)
    with pytest.raises(FrameError, match="ranks are drawn for one model, these are a, b"):
        ranks(scores, images, models=["a", "b"], **given)


def test_side_by_side_puts_each_image_where_it_belongs_with_its_verdict_and_values() -> None:
    prompts = ["colors-1", "counting-0"]
    figure = grid(PAIR, prompts=prompts, captions={"judge_reward": "judge"})
    panels = np.array(figure.axes).reshape(2, 3)
    for row, prompt in zip(panels, prompts, strict=True):
        for panel, where in zip(row[1:], PAIR, strict=True):
            task, number = prompt.rsplit("-", 1)
            name = "_".join((where["model"], where["method"], task, number))
            (image,) = panel.images
            assert np.array_equal(
                image.get_array(), shade(f"png/{name}_{where['image_index']}.png")
            )
    right, wrong = "\N{CHECK MARK}", "\N{BALLOT X}"
    signs = [[panel.texts[0].get_text() for panel in row[1:]] for row in panels]
    assert signs == [[right, wrong], [right, right]]
    values = [panel.texts[1].get_text() for panel in panels[0, 1:]]
    assert values == ["judge 0", "judge 10"]
    titles = [panel.get_title() for panel in panels[0, 1:]]
    assert titles == ["tiny_a\nbase\nnoise 0", "tiny_b\nhypernoise\nnoise 1"]


def test_figure_5s_columns_fit_with_their_models_methods_and_rewards() -> None:
    who = [("flux_schnell", "base"), ("sd3_5_large_turbo", "base"), (MODEL, "base")]
    who += [(MODEL, "hypernoise"), ("flux_schnell", "hypernoise")]
    rows = [
        {"model": model, "method": method, "reward": "", "benchmark": "figure5_prompts"}
        | {"prompt_id": f"figure5_{n}", "task": "figure5", "image_index": 0, "seed": 0, "steps": 4}
        for model, method in who
        for n in range(4)
    ]
    images = measured.untrained(pd.DataFrame(rows))
    images = images.assign(prompt="A toaster riding a bike", path="png/a.png")
    scores = [images.assign(metric=name, value=-1.234) for name in ("train_reward", "judge_reward")]
    figure = side_by_side(
        images,
        pd.concat(scores),
        columns=[{"model": model, "method": method, "steps": 4} for model, method in who],
        captions={"train_reward": "human_preference", "judge_reward": "judge"},
        prompts_per_task=5,
        load=shade,
    )
    panels = np.array(figure.axes).reshape(4, 6)
    titles = [panel.get_title().split("\n") for panel in panels[0, 1:]]
    assert titles == [[model, method] for model, method in who]
    check_words([figure])


def test_side_by_side_without_verdicts_has_no_frames() -> None:
    scores = measured.scores()
    scores = scores[scores["metric"] != "geneval_correct"]
    figure = side_by_side(measured.images(), scores, columns=PAIR, load=shade)
    assert not [text for panel in figure.axes[1:3] for text in panel.texts]
    assert "\N{CHECK MARK}" not in figure.get_supxlabel()


def test_side_by_side_names_what_it_lacks() -> None:
    with pytest.raises(
        FrameError, match="images: none of tiny_a renoo, steps 1, image 0 for 'colors-0'"
    ):
        grid([column("tiny_a", "renoo")], prompts=["colors-0"])
    with pytest.raises(FrameError, match="a grid of no columns"):
        grid([])
    scores = measured.scores()
    lost = (scores["prompt_id"] == "colors-0") & (scores["metric"] == "geneval_correct")
    with pytest.raises(
        FrameError, match="geneval_correct: none of tiny_a base, steps 1, image 0 for 'colors-0'"
    ):
        side_by_side(measured.images(), scores[~lost], columns=PAIR, load=shade)
    double = pd.concat([scores, scores[lost]])
    with pytest.raises(
        FrameError, match="geneval_correct: 2 of tiny_a base, steps 1, image 0 for 'colors-0'"
    ):
        side_by_side(measured.images(), double, columns=PAIR, load=shade)


def test_all_words_lie_within_the_figure_and_off_one_another() -> None:
    of_steps, of_ranks = frames_of(RUNS), frames_of(RANKED)
    figures = [
        training_curves(measured_training(), reward="redness"),
        steps(*of_steps, runs=RUNS, models=[MODEL]),
        ranks(*of_ranks, runs=RANKED, models=[MODEL], ranks=RANKS),
        grid(PAIR, captions={"train_reward": "redness", "judge_reward": "judge"}),
    ]
    check_words(figures)
