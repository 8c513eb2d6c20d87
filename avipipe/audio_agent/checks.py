"""Objective checks of a mix, beside any judge: what is left, what was harmed, how loud it is."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Wave
from avipipe.annotators.signal import mel_spectrogram
from avipipe.audio_agent.mix import (
    covered,
    cut,
    is_silent,
    loudness_lufs,
    num_samples,
    true_peak_db,
)
from avipipe.audio_agent.schema import Aspects, AudioSpan, Checks, EditPlan, Issue
from avipipe.audio_agent.tools import Mixed, Sound

MAX_DB = 120.0
"""Ratio that stands for nothing on one side; more than 20 bits can hold."""
FULL_SCALE = 0.9999
"""Amplitude from which a sample counts as clipped, a little under 1 for rounding."""
LEAK_DB = -10.0
"""Leak limit in dB: of a removed sound, a tenth of its energy may be left."""

AUDIBLE_DB = -6.0
"""Least level of a generated sound against what is kept, in dB: it should be heard."""

LOUD_DB = 12.0
"""Most level of a generated sound against what was there before, in dB."""

UNMEASURED = 0.4
"""Fidelity of a removal that no check can measure: without a judge that is not enough."""

JUMP_DB = 6.0
"""By how much a background may drop under an edit: half its amplitude. A choice."""
UNTOUCHED_DB = 30.0
"""Least ratio of sound to difference beside the edits: a thousandth of the energy. A choice."""
SIMILARITY = 0.25
"""Similarity that CLAP usually gives a sound with fitting words."""

_HOP_S = 0.01
"""That of the spectra of `signal`."""
_MARGIN_S = 0.03
"""Around an edit, for its fades (10 ms) and half a window of the separator (22 ms)."""


def measure(
    original: Sound,
    mixed: Mixed,
    plan: EditPlan,
    *,
    removed_spans: Sequence[AudioSpan],
    generated_spans: Sequence[AudioSpan],
    similarity: float | None = None,
) -> Checks:
    """Measure a mix against the original: leak, harm, levels, loudness, peaks.

    Args:
        removed_spans: where something was taken out.
        generated_spans: where something was put in.
        similarity: of what was generated with its prompt, where a model measured it.
    """
    edits = [*removed_spans, *generated_spans]
    inside_N = covered(edits, num=original.wav_CN.shape[1], sample_rate_hz=original.sample_rate_hz)
    leak_db, background_db = _leak(original, mixed.kept, removed_spans)
    before, after = loudness_lufs(original), loudness_lufs(mixed.mix)
    measured = Checks(
        leak_db=leak_db if plan.mode == "remove" else None,
        untouched_db=_untouched(original, mixed.mix, edits),
        edited_share=float(inside_N.mean()),
        background_db=background_db if plan.mode == "remove" else None,
        generated_db=_contrast(mixed.generated, mixed.kept, generated_spans),
        generated_over_db=_contrast(mixed.generated, original, generated_spans),
        loudness_change_db=None if before is None or after is None else after - before,
        loudness_lufs=after,
        true_peak_db=true_peak_db(mixed.mix.wav_CN),
        clipped_share=_newly_clipped(original.wav_CN, mixed.mix.wav_CN),
        similarity=similarity,
    )
    issues = tuple(_issues(measured, original, mixed, plan))
    return measured.model_copy(update={"objective": _aspects(measured, issues), "issues": issues})


def si_sdr_db(estimate_N: npt.NDArray[np.floating], truth_N: npt.NDArray[np.floating]) -> float:
    """Scale-invariant signal-to-distortion ratio, at most 120 dB.

    Source: Le Roux et al., SDR: half-baked or well done? (ICASSP 2019).
    """
    estimate, truth = estimate_N.astype(np.float64).ravel(), truth_N.astype(np.float64).ravel()
    scaled = truth * (estimate @ truth) / max(float(truth @ truth), 1e-20)
    return _ratio_db(float(scaled @ scaled), float(((estimate - scaled) ** 2).sum()))


def _ratio_db(signal: float, noise: float) -> float:
    ratio = max(signal, 1e-20) / max(noise, 1e-20)
    return float(np.clip(10 * np.log10(ratio), -MAX_DB, MAX_DB))


def _leak(
    original: Sound, kept: Sound, spans: Sequence[AudioSpan]
) -> tuple[float | None, float | None]:
    """(what is left, background under the edit against beside it), in dB.

    Beside the spans the background is heard alone. What the original has above that inside them is
    the removed sound; what the kept part still has above it is left over.
    """
    energy_FM = mel_spectrogram(original.mono(), sample_rate_hz=original.sample_rate_hz)
    kept_FM = mel_spectrogram(kept.mono(), sample_rate_hz=kept.sample_rate_hz)
    inside_F = _frames(spans, len(energy_FM), margin_s=0.0)
    beside_F = ~_frames(spans, len(energy_FM), margin_s=_MARGIN_S)
    if not inside_F.any() or beside_F.sum() < 5:
        return None, None
    background_M = energy_FM[beside_F].mean(axis=0)
    # A steady sound still varies; what any frame of it may have is no leak.
    usual_M = np.quantile(energy_FM[beside_F], 0.95, axis=0)
    excess_M = np.maximum(energy_FM[inside_F] - usual_M, 0).sum(axis=0)
    left_M = np.maximum(kept_FM[inside_F] - usual_M, 0).sum(axis=0)
    leak_db = _ratio_db(float(left_M.sum()), float(excess_M.sum())) if excess_M.any() else None
    background = float(background_M.sum())
    if background < 1e-9:
        return leak_db, None
    return leak_db, _ratio_db(float(kept_FM[inside_F].mean(axis=0).sum()), background)


def _frames(spans: Sequence[AudioSpan], num: int, *, margin_s: float) -> npt.NDArray[np.bool_]:
    inside_F = np.zeros(num, np.bool_)
    for span in spans:
        first = round((span.start_s - margin_s) / _HOP_S)
        inside_F[max(0, first) : round((span.end_s + margin_s) / _HOP_S) + 1] = True
    return inside_F


def _untouched(original: Sound, mix: Sound, spans: Sequence[AudioSpan]) -> float | None:
    """SNR beside all edits and their fades; None where edits are everywhere."""
    rate_hz = original.sample_rate_hz
    wide = [
        AudioSpan(start_s=max(0.0, s.start_s - _MARGIN_S), end_s=s.end_s + _MARGIN_S) for s in spans
    ]
    beside_N = ~covered(wide, num=original.wav_CN.shape[1], sample_rate_hz=rate_hz)
    if beside_N.sum() < num_samples(_MARGIN_S, rate_hz):
        return None
    truth_CN = original.wav_CN[:, beside_N].astype(np.float64)
    if not truth_CN.any():
        return None
    error_CN = mix.wav_CN[:, beside_N] - truth_CN
    return _ratio_db(float((truth_CN**2).sum()), float((error_CN**2).sum()))


def _contrast(sound: Sound, other: Sound, spans: Sequence[AudioSpan]) -> float | None:
    """Loudness of a sound above another in some spans."""
    new, old = cut(sound, spans), cut(other, spans)
    if new is None or old is None:
        return None
    new_lufs, old_lufs = loudness_lufs(new), loudness_lufs(old)
    if new_lufs is None:
        return -MAX_DB
    return MAX_DB if old_lufs is None else new_lufs - old_lufs


def _newly_clipped(before_CN: Wave, after_CN: Wave) -> float:
    return float(((np.abs(after_CN) >= FULL_SCALE) & (np.abs(before_CN) < FULL_SCALE)).mean())


def _issues(checks: Checks, original: Sound, mixed: Mixed, plan: EditPlan) -> list[Issue]:
    found = []
    if plan.c_sep and is_silent(mixed.removed if plan.mode == "remove" else mixed.kept):
        names = ", ".join(removal.query for removal in plan.c_sep)
        found.append(_issue("sep", "nothing_found", f"nothing was found of: {names}"))
    elif checks.leak_db is not None and checks.leak_db > LEAK_DB:
        text = f"{checks.leak_db:.1f} dB of the removed sound is left, at most {LEAK_DB:g} is fine"
        found.append(_issue("sep", "leak", text))
    elif plan.c_sep and checks.leak_db is None:
        text = "no check can tell how well the removal went: it is not beside anything untouched"
        found.append(_issue("sep", "unmeasured", text))
    if plan.c_gen and is_silent(mixed.generated):
        found.append(_issue("gen", "nothing_generated", "nothing new is in the mix"))
    elif checks.generated_db is not None and checks.generated_db < AUDIBLE_DB:
        text = f"the new sound is {-checks.generated_db:.1f} dB below what is kept in its place"
        found.append(_issue("gen", "inaudible", text))
    elif (over_db := _over(checks)) is not None and over_db > LOUD_DB:
        text = f"the new sound is {over_db:.1f} dB louder than what was there before"
        found.append(_issue("gen", "too_loud", text))
    if checks.similarity is not None and checks.similarity < SIMILARITY:
        text = f"the new sound does not fit its prompt (CLAP {checks.similarity:.2f})"
        found.append(_issue("gen", "unlike_prompt", text))
    if checks.untouched_db is not None and checks.untouched_db < UNTOUCHED_DB:
        text = f"beside the edits the mix differs from the original ({checks.untouched_db:.0f} dB)"
        found.append(_issue("mix", "background_changed", text))
    if checks.background_db is not None and checks.background_db < -JUMP_DB:
        text = f"the background drops by {-checks.background_db:.1f} dB under the edits"
        found.append(_issue("sep", "hole", text))
    if checks.clipped_share > 0:
        found.append(_issue("mix", "clipped", f"{checks.clipped_share:.2%} of samples clip"))
    wants_sound = bool(plan.c_gen) or plan.mode == "keep"
    if wants_sound and is_silent(mixed.mix) and not is_silent(original):
        found.append(_issue("mix", "silent", "the mix is silent"))
    return found


def _over(checks: Checks) -> float | None:
    """None, too, where the original was silent, and any sound is louder."""
    over_db = checks.generated_over_db
    return None if over_db is None or over_db == MAX_DB else over_db


def _issue(target: str, code: str, message: str) -> Issue:
    return Issue.model_validate({"target": target, "code": code, "message": message})


def _aspects(checks: Checks, issues: Sequence[Issue]) -> Aspects:
    """Scores in [0, 1], each falling linearly from what is clearly good to what is clearly bad."""
    codes = {issue.code for issue in issues}
    fidelity = []
    if "nothing_found" in codes or "nothing_generated" in codes or "silent" in codes:
        fidelity.append(0.0)
    if "unmeasured" in codes:
        fidelity.append(UNMEASURED)
    if checks.leak_db is not None:
        fidelity.append(_scale(checks.leak_db, good=-15.0, bad=-3.0))
    if checks.generated_db is not None:
        fidelity.append(_scale(checks.generated_db, good=0.0, bad=-12.0))
    background = []
    if checks.untouched_db is not None:
        background.append(_scale(checks.untouched_db, good=30.0, bad=5.0))
    if checks.background_db is not None:
        background.append(_scale(abs(checks.background_db), good=3.0, bad=15.0))
    natural = [_scale(checks.clipped_share, good=0.0, bad=0.01)]
    if (over_db := _over(checks)) is not None:
        natural.append(_scale(over_db, good=LOUD_DB, bad=3 * LOUD_DB))
    likeness = None
    if checks.similarity is not None:
        likeness = _scale(checks.similarity, good=0.35, bad=0.05)
    return Aspects(
        fidelity=min(fidelity) if fidelity else None,
        background=min(background) if background else None,
        consistency=likeness,
        naturalness=min(natural),
    )


def _scale(value: float, *, good: float, bad: float) -> float:
    return float(np.clip((value - bad) / (good - bad), 0.0, 1.0))
