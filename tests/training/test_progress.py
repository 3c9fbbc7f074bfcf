"""The log of a training: whole after any interruption, readable while it grows; what TensorBoard and the bar show."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from universal_diffusion.errors import InputError
from universal_diffusion.training.progress import EVERY, LOG, PARTIAL_LOG, TrainingLog

TOTAL, VALIDATE_EVERY = 47, 15
PICTURE = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


def figures(step: int) -> dict[str, float]:
    return {"loss": 1 / 3 + step, "mse": math.exp(-step)}


def run(log: TrainingLog, first: int, last: int, took: float = 0.1) -> None:
    """Steps `first` to `last`, validations among them, as the loop records them."""
    for step in range(first, last):
        log.step(step, figures(step), waited=took / 10, took=took)
        if (step + 1) % VALIDATE_EVERY == 0 or step + 1 == TOTAL:
            log.validated(step, {"validation_dice": step / TOTAL}, PICTURE if step % 2 else None)


def expected() -> pd.DataFrame:
    rows = pd.DataFrame({"step": step, **figures(step)} for step in range(TOTAL))
    validated = (rows["step"] + 1) % VALIDATE_EVERY == 0
    rows["validation_dice"] = np.where(validated | (rows["step"] + 1 == TOTAL), rows["step"] / TOTAL, np.nan)
    return rows


def without_seconds(path) -> pd.DataFrame:
    return pd.read_csv(path).drop(columns=["seconds", "wait_seconds"])


def test_log_holds_every_step_and_can_be_read_while_it_grows(tmp_path):
    log = TrainingLog(tmp_path, TOTAL, batch=4, done=0)
    run(log, 0, 40)
    log.flush()
    pd.testing.assert_frame_equal(without_seconds(tmp_path / PARTIAL_LOG), expected()[:40])
    run(log, 40, TOTAL)
    assert not (tmp_path / LOG).exists()
    log.finish()
    pd.testing.assert_frame_equal(without_seconds(tmp_path / LOG), expected())
    assert pd.read_csv(tmp_path / LOG)["wait_seconds"].eq(0.01).all()


@settings(max_examples=25)
@given(data=st.data())
def test_interrupted_log_is_that_of_an_uninterrupted_run(tmp_path_factory, data):
    """Cut anywhere, and any number of bytes short, but never before the checkpoint, which comes after a flush."""
    folder, checkpoint = tmp_path_factory.mktemp("log"), 0
    for _ in range(data.draw(st.integers(1, 3), "kills")):
        saved = data.draw(st.integers(checkpoint, TOTAL), "checkpoint")
        log = TrainingLog(folder, TOTAL, batch=4, done=checkpoint)
        run(log, checkpoint, saved)
        log.flush()
        on_disk = (folder / PARTIAL_LOG).stat().st_size
        run(log, saved, data.draw(st.integers(saved, TOTAL), "killed"), took=0.2)
        with open(folder / PARTIAL_LOG, "r+b") as file:
            length = len(file.read())
            if saved >= VALIDATE_EVERY:  # a later first validation rewrites the file, whole or not at all
                file.truncate(data.draw(st.integers(on_disk, length), "bytes"))
        checkpoint = saved
    log = TrainingLog(folder, TOTAL, batch=4, done=checkpoint)
    run(log, checkpoint, TOTAL)
    log.finish()
    whole = TrainingLog(folder / "whole", TOTAL, batch=4, done=0)
    run(whole, 0, TOTAL)
    whole.finish()
    with open(folder / LOG) as one, open(folder / "whole" / LOG) as other:
        assert [without(row) for row in one] == [without(row) for row in other]


def without(row: str) -> list[str]:
    """The text of a row's columns that do not depend on the clock."""
    cells = row.rstrip("\n").split(",")
    return cells[:3] + cells[5:]


def test_log_shorter_than_the_checkpoint_is_refused(tmp_path):
    run(log := TrainingLog(tmp_path, TOTAL, batch=4, done=0), 0, 5)
    log.flush()
    with pytest.raises(InputError, match="does not hold the 6 steps"):
        TrainingLog(tmp_path, TOTAL, batch=4, done=6)
    (tmp_path / PARTIAL_LOG).unlink()
    with pytest.raises(InputError, match="put it back, or delete the checkpoint"):
        TrainingLog(tmp_path, TOTAL, batch=4, done=5)


def test_pictures_tensorboard_and_json_line(tmp_path, capsys):
    cut = TrainingLog(tmp_path, TOTAL, batch=4, done=0)
    run(cut, 0, 30)
    cut.flush()
    run(cut, 30, 46, took=0.5)
    cut._events.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    events.rename(events.with_name("events.out.tfevents.1.of_an_earlier_second"))
    log = TrainingLog(tmp_path, TOTAL, batch=4, done=30)
    run(log, 30, TOTAL)
    log.finish()
    told = [json.loads(line[line.index("{") :]) for line in capsys.readouterr().err.splitlines() if "{" in line]
    assert told[-1] == {"step": 46, "loss": 46.3333, "mse": 0.0, "seconds": 0.1, "wait_seconds": 0.01} | {
        "validation_dice": 0.9787
    }
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert pictures == ["step_29.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "pictures/step_29.png"))[..., :3], PICTURE)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(EVERY - 1, TOTAL, EVERY))
    assert [event.step for event in events.Scalars("validation/dice")] == [14, 29, 44, 46]
    assert events.Scalars("speed/wait_share")[-1].value == pytest.approx(0.1)
    assert events.Scalars("speed/patches_per_second")[-1].value == pytest.approx(40)
    assert [event.step for event in events.Images("validation/picture")] == [29]


def test_a_fresh_start_shows_nothing_of_an_earlier_run(tmp_path):
    run(TrainingLog(tmp_path, TOTAL, batch=4, done=0), 0, TOTAL)
    log = TrainingLog(tmp_path, TOTAL, batch=4, done=0)
    run(log, 0, 3)
    log.finish()
    assert len(pd.read_csv(tmp_path / LOG)) == 3
    assert not (tmp_path / "pictures").exists()


def test_bar_shows_loss_speed_waiting_and_remaining_time(tmp_path, capsys):
    log = TrainingLog(tmp_path, TOTAL, batch=4, done=0)
    run(log, 0, TOTAL)
    log.finish()
    shown = capsys.readouterr().err.splitlines()[-1]
    assert f"{TOTAL}/{TOTAL}" in shown
    assert "loss 23.3333, 40.0 patches/s, 10% waiting for data" in shown
