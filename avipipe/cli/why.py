"""`avipipe why`."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from avipipe.cli.options import json_option, out_option, work_option
from avipipe.errors import ConfigError
from avipipe.manifests.evidence import FaceTrack
from avipipe.manifests.records import Drop, DropReason, Evidence, Fail, Keep, SourceLine
from avipipe.pipeline import words
from avipipe.pipeline.accounting import ItemState, Survey
from avipipe.pipeline.graph import Visit
from avipipe.pipeline.workspace import Workspace
from avipipe.stages.decide import Finding


@click.command("why")
@click.argument("item")
@out_option
@work_option
@json_option
def command(item: str, out: str, work: Path | None, as_json: bool) -> None:
    """Tell the whole story of one clip or source.

    ITEM is a clip id, a source id, or a URI (or a part of one) as it stands in the list.

    \b
    Example:
      avipipe why youtube-dQw4w9WgXcQ_00012000_00021500 --out my-dataset
    """
    with Workspace.at(out, work).survey() as (survey, lines):
        states = list(_matching(survey, lines, item))
        if not states:
            raise ConfigError(
                f"no source or clip matches {item!r}; expected a clip id, a source id or a part "
                "of a URI (`avipipe status` lists the stages, manifest/clips.parquet every id)"
            )
        if as_json:
            click.echo(json.dumps([_as_json(state) for state in states], indent=2))
            return
        for state in states:
            click.echo(_story(state))


def _matching(survey: Survey, lines: Sequence[SourceLine], item: str) -> Iterator[ItemState]:
    for state in survey.sources(lines):
        if item in (state.source_id, state.row.source.line_id) or item in state.row.source.uri:
            yield state
    for state in survey.clips(lines):
        if item == state.clip_id:
            yield state


def _story(state: ItemState) -> str:
    source = state.row.source
    name = state.clip_id or state.source_id or source.line_id
    lines = [click.style(name, bold=True), f"  from {source.uri} ({source.location})"]
    if (record := state.last.record) and isinstance(drop := record.outcome, Drop):
        lines.append(f"  dropped: {drop.reason}: {words.REASONS[drop.reason]}")
    told: set[str] = set()
    for visit in state.visits:
        lines += _chapter(visit, told)
    return "\n".join(lines) + "\n"


def _chapter(visit: Visit, told: set[str]) -> list[str]:
    """One stage. `told`: thresholds whose checks have been told; each decision repeats them."""
    record = visit.record
    if record is None:
        return [f"  {visit.stage.name}: pending; `avipipe build` goes on here"]
    cost = f"{record.cost.wall_s:.2f} s, {record.cost.cpu_s:.2f} CPU s"
    match record.outcome:
        case Keep(evidence=evidence, files=files, children=children):
            lines = [f"  {record.stage}: kept ({cost})"]
            lines += [f"      {text}" for text in _evidence(evidence, told)]
            lines += [f"      {text}" for text in _weights(visit)]
            if files:
                lines.append(f"      files {', '.join(files)} under key {record.key[:16]}")
            if children:
                lines.append(f"      {len(children)} clips")
        case Drop(reason=reason, evidence=evidence):
            lines = [click.style(f"  {record.stage}: dropped: {reason} ({cost})", fg="yellow")]
            lines += [f"      {text}" for text in _evidence(evidence, told)]
        case Fail(kind=kind, message=message, attempts=attempts, log_tail=log_tail):
            head = f"  {record.stage}: failed: {kind} after {attempts} attempts ({cost})"
            lines = [click.style(head, fg="red"), f"      {message}"]
            lines += [f"      | {text}" for text in log_tail.splitlines()]
    if record.note:
        lines.insert(1, f"      ran again: {record.note}")
    return lines


def _evidence(evidence: Evidence, told: set[str]) -> Iterator[str]:
    for data in evidence.get("findings", ()):
        finding = Finding(**{**data, "reason": DropReason(data["reason"])})
        if finding.threshold not in told:
            yield _check(finding)
        told.add(finding.threshold)
    if "tag_classes" in evidence:
        heard = (f"{name} {score:.2f}" for name, score in words.sounds(evidence))
        yield f"heard as: {', '.join(heard) or 'nothing known'}"
    for face in evidence.get("faces") or ():
        yield f"face: {words.face(FaceTrack.model_validate(face))}"
    for key, measured in evidence.items():
        if key in ("findings", "faces"):
            continue
        text = json.dumps(measured)
        yield f"{key} = {text if len(text) <= 100 else text[:97] + '...'}"


def _check(finding: Finding) -> str:
    mark = "?   " if finding.value is None else "ok  " if finding.passed else "DROP"
    text = f"{mark} {words.sentence(finding)} ({finding.reason})"
    return text if finding.passed else click.style(text, fg="yellow")


def _weights(visit: Visit) -> Iterator[str]:
    """What identifies the weights of the stage's annotators."""
    backends = visit.stage.settings().get("backends", {})
    found = sorted({pair for backend in backends.values() for pair in backend["weights"].items()})
    if found:
        yield "weights: " + ", ".join(f"{name} {sha256[:12]}" for name, sha256 in found)


def _as_json(state: ItemState) -> dict[str, object]:
    return {
        "clip_id": state.clip_id,
        "source_id": state.source_id,
        "uri": state.row.source.uri,
        "location": state.row.source.location,
        "stages": [
            {"stage": visit.stage.name, "key": visit.key}
            | (visit.record.to_json() if visit.record else {"status": "pending"})
            for visit in state.visits
        ],
    }
