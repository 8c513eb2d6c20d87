"""`avipipe why`."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from avipipe.cli.options import json_option, out_option, work_option
from avipipe.cli.output import echo, echo_json
from avipipe.decision.judge import LimitFinding
from avipipe.decision.model import Contribution
from avipipe.errors import ConfigError
from avipipe.manifests.edits import read_edits
from avipipe.manifests.evidence import FaceSeen
from avipipe.manifests.records import Drop, Evidence, Fail, Keep, SourceLine
from avipipe.manifests.samples import EDITS_MEMBER
from avipipe.manifests.uris import local_path
from avipipe.pipeline import words
from avipipe.pipeline.accounting import ItemState, Survey
from avipipe.pipeline.graph import Visit
from avipipe.pipeline.private import Private
from avipipe.pipeline.workspace import Workspace


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
    workspace = Workspace.at(out, work)
    with workspace.survey() as (survey, lines):
        names = {item, Private(workspace.work).stored_uri(item)}
        states = list(_matching(survey, lines, names))
        if not states:
            raise ConfigError(
                f"no source or clip matches {item!r}; expected a clip id, a source id or a part "
                "of a URI (`avipipe status` lists the stages, manifest/clips.parquet every id)"
            )
        if as_json:
            echo_json([_as_json(state) for state in states])
            return
        for state in states:
            _tell(state, survey.folder)


def _matching(
    survey: Survey, lines: Sequence[SourceLine], names: Collection[str]
) -> Iterator[ItemState]:
    for state in survey.sources(lines):
        source = state.row.source
        said = (source.uri, str(local_path(source.uri)))
        if not {state.source_id, source.line_id}.isdisjoint(names) or any(
            name in text for name in names for text in said
        ):
            yield state
    for state in survey.clips(lines):
        if state.clip_id in names:
            yield state


class _Line(NamedTuple):
    text: str
    colour: str | None = None


def _tell(state: ItemState, folder: Callable[[str], Path]) -> None:
    """Print the story of an item."""
    source = state.row.source
    echo(state.clip_id or state.source_id or source.line_id, bold=True)
    echo(f"  from {source.uri} ({source.location})")
    if (record := state.last.record) and isinstance(drop := record.outcome, Drop):
        echo(f"  dropped: {drop.reason}: {words.REASONS[drop.reason]}")
    told: set[str] = set()
    for visit in state.visits:
        for line in _chapter(visit, told):
            echo(line.text, fg=line.colour)
        if visit.stage.name == "instruct" and visit.record and visit.record.status == "keep":
            for line in _edits(folder(visit.key) / EDITS_MEMBER):
                echo(line.text, fg=line.colour)
    echo("")


def _chapter(visit: Visit, told: set[str]) -> Iterator[_Line]:
    """One stage. `told`: what decisions before it have said; each repeats it."""
    record = visit.record
    if record is None:
        yield _Line(f"  {visit.stage.name}: pending; `avipipe build` goes on here")
        return
    cost = f"{record.cost.wall_s:.2f} s, {record.cost.cpu_s:.2f} CPU s"
    match record.outcome:
        case Keep(evidence=evidence, files=files, children=children):
            yield _Line(f"  {record.stage}: kept ({cost})")
            yield from _evidence(evidence, told)
            yield from _weights(visit)
            if files:
                yield _Line(f"      files {', '.join(files)} under key {record.key[:16]}")
            if children:
                yield _Line(f"      {len(children)} clips")
        case Drop(reason=reason, evidence=evidence):
            yield _Line(f"  {record.stage}: dropped: {reason} ({cost})", "yellow")
            yield from _evidence(evidence, told)
        case Fail(kind=kind, message=message, attempts=attempts, log_tail=log_tail):
            yield _Line(
                f"  {record.stage}: failed: {kind} after {attempts} attempts ({cost})", "red"
            )
            yield _Line(f"      {message}")
            yield from (_Line(f"      | {text}") for text in log_tail.splitlines())
    if record.note:
        yield _Line(f"      ran again: {record.note}")


def _evidence(evidence: Evidence, told: set[str]) -> Iterator[_Line]:
    if "probability" in evidence:
        yield from _decision(evidence, told)
        return
    if "tag_classes" in evidence:
        heard = (f"{name} {score:.2f}" for name, score in words.sounds(evidence))
        yield _Line(f"      heard as: {', '.join(heard) or 'nothing known'}")
    for face in evidence.get("faces") or ():
        yield _Line(f"      face: {words.face(FaceSeen.model_validate(face))}")
    for key, measured in evidence.items():
        if key == "faces":
            continue
        text = json.dumps(measured)
        yield _Line(f"      {key} = {text if len(text) <= 100 else text[:97] + '...'}")


def _edits(path: Path) -> Iterator[_Line]:
    for pair in read_edits(path.read_bytes()):
        yield _Line(f"      {pair.name}, precision {pair.precision}: {pair.instruction}")
        yield _Line(f"        sound: {pair.sound_instruction or 'stays'}")
        yield _Line(f"        then: {pair.target_caption}")


def _decision(evidence: Evidence, told: set[str]) -> Iterator[_Line]:
    """The hard limits, and what speaks for and against; what was told of it before is not again."""
    for data in evidence["findings"]:
        finding = LimitFinding.from_json(data)
        if finding.measure not in told:
            yield _check(finding)
        told.add(finding.measure)
    asked = evidence["min_probability"]
    most = evidence["best_probability"]
    yield _Line(
        f"      probability that it is good {evidence['probability']:.2f}, at most {most:.2f}; "
        f"asked {asked:.2f}",
        None if most >= asked else "yellow",
    )
    for data in evidence["contributions"]:
        contribution = Contribution(**data)
        if f"{contribution}" not in told and abs(contribution.log_odds) >= words.WEAK_LOG_ODDS:
            yield _Line(f"      {words.argument(contribution)}")
        told.add(f"{contribution}")


def _check(finding: LimitFinding) -> _Line:
    mark = "?   " if finding.value is None else "ok  " if finding.passed else "DROP"
    text = f"      {mark} {words.sentence(finding)} ({finding.reason})"
    return _Line(text, None if finding.passed else "yellow")


def _weights(visit: Visit) -> Iterator[_Line]:
    """What identifies the weights of the stage's annotators."""
    backends = visit.stage.settings().get("backends", {})
    found = sorted({pair for backend in backends.values() for pair in backend["weights"].items()})
    if found:
        named = ", ".join(f"{name} {sha256[:12]}" for name, sha256 in found)
        yield _Line(f"      weights: {named}")


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
