"""The model card of the shapes world, written from what was measured."""

from pathlib import Path

from squbed_utils.world.scenes import ATTRIBUTES, CATEGORIES, COVERAGE

CARD = """# The shapes world's checkpoints

Small models trained from nothing by `squbed train-world`, on clips and captions that
`squbed_utils/world` draws. Safetensors in the standard folder formats; licence Apache-2.0.
Every number below was measured on fresh draws by `training/first/quality.py`
(`quality.json` holds them all) on {machine}.

## Training

| model | optimiser steps | MB |
|---|---|---|
{models}

The video model saw {clips:,} clips of 9 frames of 32x32 pixels. A clip's shape is drawn by
coverage (a share of each shape: {shares}); everything else is uniform. One caption in ten is
empty, two in ten leave attributes out. All other models saw the whole world. Seeds are hashes of
(model, step), so an interrupted run ends where an uninterrupted one does. One caption in seven
calls its subject by an unknown word (word dropout), and the words of shapes that were never seen
are made unknown ones: to this model an unknown subject may be any shape.

The shipped set took about five hours on two shared CPU cores, two models at a time. Two parts
were trained in stages rather than in one go: the VAE saw paths anywhere in the frame (and, for its
first 2,200 steps, shapes 5 % to 17 % smaller), as its decoder did for 1,200 steps; and decoder and
transformer had their schedules extended on the way. The transformer made 14,000 steps without
unknown words and 3,500 with them, under a second decay of the learning rate. All others are what
`squbed train-world` makes.

| coverage | shapes |
|---|---|
{coverage}

## Quality

Agreement of generated videos with fully specified prompts, as the recogniser sees it (a network
of its own, trained apart; its accuracy on fresh renderings is the first row):

| | {attributes} |
|---|{rule}|
{generation}

- VAE reconstruction: {psnr_db:.1f} dB PSNR on fresh clips.
- Refiner: {compatible:.2%} of its draws keep the prompt. Chi-squared p-values of the values it
  fills in against the grammar's uniform: {chi_squared}.
- Found again among 256 scenes (top 1): {retrieval}.
- LPIPS here is the unlearned form (no perceptual weights) on a SqueezeNet trained to name what
  a frame shows.

## Limits

The models know the shapes world and nothing else. What the video model does with a shape that it
never saw is part of what the notebooks study, and is reported as found.
"""


def write_card(path: Path, report: dict, steps: dict[str, int], clips: int) -> None:
    """Write the model card, a Markdown file.

    `report` is what ``train.measure`` returns, `steps` are the optimiser steps by part, and `clips`
    are the clips in the video model's training set.
    """
    sizes = report["parameters"] | dict.fromkeys(
        ("vae", "decoder", "transformer"), "in video_model"
    )
    levels = zip(COVERAGE, zip(*CATEGORIES.values(), strict=True), strict=True)
    rows = {"recogniser on renderings": report["recogniser"]} | {
        f"generated, {level} subjects": row for level, row in report["generation"].items()
    }
    chi = report["refiner"]["chi_squared_p"]
    path.write_text(
        CARD.format(
            machine=report["machine"],
            models="\n".join(f"| {name} | {n} | {sizes[name]} |" for name, n in steps.items()),
            clips=clips,
            shares=", ".join(f"{level} {share:.0%}" for level, share in COVERAGE.items()),
            coverage="\n".join(f"| {level} | {', '.join(shapes)} |" for level, shapes in levels),
            attributes=" | ".join(ATTRIBUTES),
            rule="|".join("---" for _ in ATTRIBUTES),
            generation="\n".join(_row(name, row) for name, row in rows.items()),
            psnr_db=report["psnr_db"],
            compatible=report["refiner"]["compatible"],
            chi_squared=", ".join(f"{a} {chi[a]:.2f}" for a in ATTRIBUTES),
            retrieval=", ".join(f"{name} {v:.1%}" for name, v in report["retrieval"].items()),
        )
    )


def _row(name: str, row: dict[str, float]) -> str:
    return f"| {name} | " + " | ".join(f"{row[a]:.1%}" for a in ATTRIBUTES) + " |"
