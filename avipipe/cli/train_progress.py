"""How training shows itself: a bar of steps, or of the clips that are encoded for it."""

from pathlib import Path
from typing import TYPE_CHECKING

from avipipe.cli.output import echo
from avipipe.cli.progress import Display, bars

if TYPE_CHECKING:
    from avipipe.editor.avi_edit.train.metrics import Values
    from avipipe.editor.common.memory import MemoryPlan


class TrainProgress(Display):
    """Shows steps. Implements `avipipe.editor.avi_edit.train.run.RunListener`."""

    def __init__(self, *, as_json: bool) -> None:
        self._bars = bars()
        super().__init__(self._bars, as_json=as_json)
        self._task = self._bars.add_task("step", total=None, visible=False)
        self._steps = 0
        self._next_plain_s = 0.0  # the first step tells that it runs

    def planned(self, plan: "MemoryPlan") -> None:
        """The memory that it will take."""
        values = {"total_bytes": plan.peak_bytes, "device_bytes": plan.device_bytes}
        self._tell("plan", "\n".join(plan.lines()), **values)

    def began(self, step: int, steps: int) -> None:
        """It starts at a step."""
        self._steps = steps
        self._bars.reset(self._task, total=steps, completed=step, visible=True)
        text = f"going on from step {step}" if step and not self._is_live else None
        self._tell("begin", text, step=step, steps=steps)

    def stepped(self, step: int, values: "Values") -> None:
        """A step is done."""
        text = f"loss {values['loss']:.4f} (flow {values['flow']:.4f}, mask {values['mask']:.5f})"
        self._bars.update(self._task, completed=step, description=text)
        self._tell("step", step=step, **values)
        if self._is_plain_due(is_last=step == self._steps):
            self._say(
                f"step {step}/{self._steps}: {text}, {values['step_time_s']:.3f} s a step, "
                f"{values['latent_tokens_per_s']:.0f} tokens/s"
            )

    def validated(self, step: int, values: "Values") -> None:
        """The network was measured."""
        text = (
            f"validation at step {step}: flow {values['val/flow']:.4f}, mask IoU "
            f"{values['val/mask_iou']:.3f} (of the box {values['val/given_mask_iou']:.3f})"
        )
        self._tell("validation", text, step=step, **values)

    def saved(self, step: int, path: Path) -> None:
        """A checkpoint was written."""
        self._tell("checkpoint", step=step, path=str(path))

    def ended(self, folder: Path, *, done: bool) -> None:
        """It is over, or was stopped."""
        self._tell("end", done=done, folder=str(folder))
        if self._as_json:
            return
        if done:
            echo(f"weights: {folder / 'model'}")
        else:
            echo("Stopped at a checkpoint: add --resume to go on from there.", err=True)


class Caching(Display):
    """Shows clips that are encoded, if anything is to be shown."""

    def __init__(self, *, shown: bool) -> None:
        self._bars = bars()
        super().__init__(self._bars, as_json=not shown)
        self._task = self._bars.add_task("clips", total=None)

    def __call__(self, done: int, total: int) -> None:
        """So many of them are."""
        self._bars.update(self._task, completed=done, total=total)
        if self._is_plain_due(is_last=done == total):
            self._say(f"{done}/{total} clips")
