"""Figures: what is drawn where, that it can be read, and what stops them."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import measured
import numpy as np
import pandas as pd
import pytest
from drawn import check_words, line_of, shade
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from harness.analysis.pairing import FrameError
from harness.analysis.tables import table1
from harness.benchmarks.geneval import TASKS
from harness.experiment.components import TableSpec
from harness.experiment.jobs import TableJob
from harness.report.figure_style import LOOKS, save
from harness.report.grids import grid, read_pixels
from harness.report.make import run
from harness.report.pareto import pareto
from harness.report.training_figures import figure4 as figure4_of
from harness.results import frames

figure4 = partial(figure4_of, judges=["judge_reward"])


def pixels_of(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return read_pixels(str(path))


@pytest.fixture
def toy_grid() -> Figure:
    return grid(measured.images(), measured.scores(), model="tiny_b", load=shade)


def test_figure4_draws_training_reward_against_quality_at_each_validated_step() -> None:
    figure = figure4(measured.shuffled(measured.training()), models=["tiny_b", "tiny_a"])
    assert [panel.get_title() for panel in figure.axes] == ["tiny_b", "tiny_a"]
    for panel in figure.axes:
        assert line_of(panel, "lora_finetune").tolist() == [[0, 4], [10, 3], [20, 2], [30, 1]]
        assert line_of(panel, "hypernoise").tolist() == [[0, 4], [5, 3.75], [10, 3.5], [15, 3.25]]


def test_figure4_marks_the_start_and_numbers_the_steps() -> None:
    (panel,) = figure4(measured.training(), models=["tiny_a"]).axes
    starts = [line for line in panel.lines if line.get_markerfacecolor() == "white"]
    assert [np.column_stack(line.get_data()).tolist() for line in starts] == [[[0, 4]]] * 2
    steps = {(text.get_text(), *text.xy) for text in panel.texts}  # type: ignore[attr-defined]
    assert {("30", 30.0, 1.0), ("10", 10.0, 3.0), ("30", 15.0, 3.25)} <= steps
    later = measured.training()
    (panel,) = figure4(later[later["step"] > 0], models=["tiny_a"]).axes
    assert not [line for line in panel.lines if line.get_markerfacecolor() == "white"]


def test_figure4_names_what_it_lacks() -> None:
    training = measured.training()
    with pytest.raises(FrameError, match="unknown validation value 'validation_matcher'"):
        figure4(training, judges=["matcher"])
    with pytest.raises(FrameError, match="no judge is given"):
        figure4(training, judges=[])
    with pytest.raises(FrameError, match="unknown method 'hyper'; did you mean 'hypernoise'"):
        figure4(training, methods=["hyper"])
    with pytest.raises(FrameError, match="no training on reward 'matcher'"):
        figure4(training, reward="matcher")
    of_tuning = (training["model"] == "tiny_b") & (training["method"] == "lora_finetune")
    with pytest.raises(FrameError, match="no rows of method 'lora_finetune' for model 'tiny_b'"):
        figure4(training[~of_tuning])
    gap = of_tuning & (training["step"] == 20) & (training["name"] == "judge_reward")
    with pytest.raises(FrameError, match=r"tiny_b lora_finetune: no .*judge_reward at step 20"):
        figure4(training[~gap])


def test_grid_puts_each_image_into_its_prompts_row_and_its_methods_column(
    toy_grid: Figure,
) -> None:
    panels = np.array(toy_grid.axes).reshape(len(TASKS), 1 + len(measured.METHODS))
    for row, task in enumerate(TASKS):
        (caption,) = panels[row, 0].texts
        assert caption.get_text().replace("\n", " ") == f"a photo of {task} number 0"
        for column, method in enumerate(measured.METHODS):
            (image,) = panels[row, 1 + column].images
            expected = shade(f"png/tiny_b_{method}_{task}_0_0.png")
            assert np.array_equal(image.get_array(), expected)
    titles = [panel.get_title() for panel in panels[0, 1:]]
    assert titles == ["base", "hypernoise", "reno"]


def test_grid_tells_right_from_wrong_by_sign_line_and_colour() -> None:
    figure = grid(
        measured.shuffled(measured.images()),
        measured.shuffled(measured.scores()),
        model="tiny_a",
        methods=["reno", "hypernoise", "base"],
        prompts=["colors-1", "colors-0"],
        image_index=1,
        load=shade,
    )
    panels = np.array(figure.axes).reshape(2, 4)[:, 1:]
    signs = [[panel.texts[0].get_text() for panel in row] for row in panels]
    right, wrong = "\N{CHECK MARK}", "\N{BALLOT X}"
    assert signs == [[wrong, wrong, wrong], [wrong, right, wrong]]
    yes, no = (panels[1, column].spines["top"] for column in (1, 0))
    assert yes.get_edgecolor() != no.get_edgecolor()
    assert yes.get_linestyle() != no.get_linestyle()


def test_grid_says_which_image_a_metric_leaves_out_and_still_misses_what_nobody_left_out() -> None:
    rows = measured.left_out_once(measured.scores())
    options: dict[str, Any] = {"captions": {"own": "own metric"}, "model": "tiny_a", "load": shade}
    options["prompts"] = ["single_object-0"]
    panels = grid(measured.images(), rows, **options).axes[1:]
    below = [panel.texts[0].get_text() for panel in panels]
    assert below == ["own metric 1", "own metric left out", "own metric 0"]
    said = rows["metric"].str.startswith("own_left_out")
    with pytest.raises(FrameError, match="own: none of tiny_a hypernoise"):
        grid(measured.images(), rows[~said], **options)
    geneval = rows.assign(metric=rows["metric"].str.replace("own", "geneval_correct"))
    framed = grid(measured.images(), geneval, **options | {"captions": None}).axes[1:]
    assert [len(panel.texts) for panel in framed] == [1, 0, 1]


def test_grid_hides_no_pixel_behind_frame_or_sign(toy_grid: Figure) -> None:
    toy_grid.draw_without_rendering()
    panel = toy_grid.axes[1]
    (image,) = panel.images
    inside = image.get_window_extent()
    for spine in panel.spines.values():
        half = spine.get_linewidth() / 72 * toy_grid.dpi / 2
        frame = spine.get_window_extent()
        apart = max(
            inside.x0 - frame.x1, frame.x0 - inside.x1, inside.y0 - frame.y1, frame.y0 - inside.y1
        )
        assert apart >= half - 0.5


def test_grid_rows_do_not_depend_on_row_order() -> None:
    def captions(seed: int) -> list[str]:
        images = measured.shuffled(measured.images(), seed)
        figure = grid(images, measured.scores(), model="tiny_a", prompts_per_task=2, load=shade)
        return [panel.texts[0].get_text() for panel in figure.axes[::4]]

    assert len(captions(0)) == 12
    assert captions(0) == captions(1)


def test_grid_titles_tell_several_rewards_and_step_counts_apart() -> None:
    images, scores = measured.images(), measured.scores()
    again = {"reward": "redness", "steps": 4}
    images, scores = (
        pd.concat([frame, frame[frame["method"] == "reno"].assign(**again)])
        for frame in (images, scores)
    )
    figure = grid(images, scores, model="tiny_a", load=shade)
    titles = [panel.get_title() for panel in figure.axes[1:5]]
    assert titles == [
        "base\n1 step",
        "hypernoise\n1 step",
        "reno\non matcher\n1 step",
        "reno\non redness\n4 steps",
    ]


def test_grid_names_what_it_lacks(tmp_path: Path) -> None:
    images, scores = measured.images(), measured.scores()
    with pytest.raises(FrameError, match="unknown model 'tiny_c'; did you mean 'tiny_b'"):
        grid(images, scores, model="tiny_c")
    with pytest.raises(FrameError, match="unknown method 'renoo'; did you mean 'reno'"):
        grid(images, scores, model="tiny_a", methods=["base", "renoo"])
    with pytest.raises(FrameError, match="unknown prompt 'colors-9'; did you mean 'colors-1'"):
        grid(images, scores, model="tiny_a", prompts=["colors-9"])
    with pytest.raises(FrameError, match="prompts_per_task is 0"):
        grid(images, scores, model="tiny_a", prompts_per_task=0)
    with pytest.raises(FrameError, match="'tiny_a' has no image 5"):
        grid(images, scores, model="tiny_a", image_index=5)
    reno = images["path"] == "png/tiny_a_reno_colors_0_0.png"
    lost = "none of tiny_a reno on matcher, steps 1, image 0 for 'colors-0'"
    keys = ["model", "method", "prompt_id", "image_index"]
    unscored = scores.merge(images[reno][keys], how="left", indicator=True)["_merge"] == "left_only"
    with pytest.raises(FrameError, match=lost):
        grid(images[~reno], scores[unscored.to_numpy()], model="tiny_a")
    with pytest.raises(FrameError, match=f"geneval_correct: {lost}"):
        grid(images, scores[unscored.to_numpy()], model="tiny_a")
    with pytest.raises(FileNotFoundError, match=r"image png/tiny_a_base_single_object_0_0\.png is"):
        grid(images, scores, model="tiny_a")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG but not for long")
    with pytest.raises(ValueError, match=r"broken\.png is truncated or no image"):
        grid(images.assign(path=str(broken)), scores, model="tiny_a")


def test_pareto_puts_each_method_at_its_time_and_score() -> None:
    given = measured.scores(), measured.images(), measured.timings()
    figure, table = pareto(*given), table1(*given)
    assert [panel.get_title() for panel in figure.axes] == list(measured.MODELS)
    for panel in figure.axes:
        assert panel.get_xscale() == "log"
        found = {
            to_hex(box.lines[0].get_color()): np.column_stack(box.lines[0].get_data()).tolist()
            for box in panel.containers
        }
        rows = table[table["model"] == panel.get_title()]
        columns = (rows["method"], rows["generation_ms"], rows["geneval_mean"])
        expected = {
            LOOKS[method].color.lower(): [[ms, mean]]
            for method, ms, mean in zip(*columns, strict=True)
        }
        assert found == expected


def test_pareto_needs_what_table1_needs() -> None:
    with pytest.raises(FrameError, match="no timing"):
        pareto(measured.scores(), measured.images(), measured.timings(), batch_size=3)


def test_methods_look_different_even_unknown_ones_and_without_colour() -> None:
    looks = [*LOOKS.values()]
    assert len({look.color for look in looks}) == len({look.marker for look in looks}) == len(looks)
    names = {"base": "base", "hypernoise": "lens", "reno": "vhs"}
    renamed = [
        frame.assign(method=frame["method"].map(names))
        for frame in (measured.scores(), measured.images(), measured.timings())
    ]
    figure = pareto(*renamed)
    points = [box.lines[0] for box in figure.axes[0].containers]
    assert len({(line.get_color(), line.get_marker()) for line in points}) == 3


@pytest.mark.parametrize("n_models", [1, 2])
def test_all_words_lie_within_the_figure_and_off_one_another(
    toy_grid: Figure, n_models: int
) -> None:
    models = list(measured.MODELS[:n_models])
    given = measured.scores(), measured.images(), measured.timings()
    figures = [toy_grid, figure4(measured.training(), models=models), pareto(*given, models=models)]
    check_words(figures)


def test_run_writes_a_sharp_png_and_a_pdf_with_provenance(tmp_path: Path) -> None:
    inputs = {}
    for kind, frame in (("images", measured.images()), ("scores", measured.scores())):
        frames.write(frame, tmp_path / "in" / f"{kind}.parquet", kind, {})
        inputs[kind] = (str(tmp_path / "in" / f"{kind}.parquet"),)
    (tmp_path / "in" / "png").mkdir()
    # Paths in the frame are relative to the frame, wherever the job runs.
    for path in measured.images()["path"]:
        Image.fromarray(shade(path)).save(tmp_path / "in" / path)
    spec = TableSpec("faces", "harness.report.grids:grid", 4, {"model": "tiny_a"})
    run(TableJob(spec, inputs, str(tmp_path / "figures" / "grid_tiny_a")))
    png, pdf = (tmp_path / "figures" / f"grid_tiny_a.{kind}" for kind in ("png", "pdf"))
    assert sorted((tmp_path / "figures").iterdir()) == [pdf, png]
    assert pdf.read_bytes().startswith(b"%PDF")
    with Image.open(png) as image:
        assert image.info["dpi"][0] >= 150
        record = json.loads(image.info["Description"])
    assert record["kind"] == "figure faces"
    assert record["spec"]["table"]["version"] == 4
    drawn = pixels_of(png)
    for method in measured.METHODS:
        value = shade(f"png/tiny_a_{method}_colors_0_0.png")[0, 0, 0]
        assert (drawn == value).all(axis=2).sum() > 1000


def test_a_users_matplotlibrc_changes_no_figure(tmp_path: Path) -> None:
    given = measured.scores(), measured.images(), measured.timings()
    save(pareto(*given), tmp_path / "plain.png", "png", {})
    with rc_context({"lines.linewidth": 9.0, "axes.facecolor": "black", "savefig.dpi": 30}):
        save(pareto(*given), tmp_path / "own.png", "png", {})
    np.testing.assert_array_equal(
        pixels_of(tmp_path / "own.png"), pixels_of(tmp_path / "plain.png")
    )


def test_run_refuses_what_is_neither_table_nor_figure_nor_page(tmp_path: Path) -> None:
    frames.write(measured.training(), tmp_path / "training.parquet", "training", {})
    inputs = {"training": (str(tmp_path / "training.parquet"),)}
    spec = TableSpec("c", "harness.results.frames:schema_of", 1, {"kind": "scores"})
    with pytest.raises(FrameError, match="frames:schema_of returned Schema, not a DataFrame"):
        run(TableJob(spec, inputs, str(tmp_path / "c")))


def test_figures_load_neither_pyplot_nor_torch() -> None:
    code = (
        "import harness.report.make, sys\nprint({'matplotlib.pyplot', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_figures_are_drawn_without_a_display() -> None:
    assert isinstance(figure4(measured.training()).canvas, FigureCanvasAgg)
