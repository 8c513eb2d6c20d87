"""`avipipe synth`."""

from pathlib import Path

import click

from avipipe.cli.output import echo


@click.command("synth")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write into.")
@click.option("--num-clips", default=12, show_default=True, help="How many clips to write.")
@click.option(
    "--seed", default=0, show_default=True, help="Seed of the clips; other seeds give others."
)
@click.option("--kind", "kinds", multiple=True, help="Only these kinds; see --list-kinds.")
@click.option("--duration-s", default=4.0, show_default=True, help="Length of a clip.")
@click.option("--height-px", default=360, show_default=True, help="Height of the picture.")
@click.option(
    "--list-kinds",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, _, wanted: _list_kinds(ctx) if wanted else None,
    help="List the kinds and stop.",
)
def command(
    out: Path,
    num_clips: int,
    seed: int,
    kinds: tuple[str, ...],
    duration_s: float,
    height_px: int,
) -> None:
    """Write clips whose masks, sounds and verdicts are known exactly.

    OUT then holds clips/, masks/, truth.jsonl and sources.txt, a list for `avipipe build`.

    \b
    Example:
      avipipe synth --out synth --num-clips 20 --kind bounce --kind music_over
    """
    from avipipe.synth import generate

    generate(
        out,
        num_clips=num_clips,
        seed=seed,
        kinds=kinds or None,
        duration_s=duration_s,
        height_px=height_px,
    )
    echo(f"{num_clips} clips, and their truth, are in {out}")


def _list_kinds(context: click.Context) -> None:
    from avipipe.synth import KINDS

    for name, kind in KINDS.items():
        echo(f"{name:<24} {kind.verdict:<5} {kind.summary}")
    context.exit()
