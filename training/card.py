"""The model card of the shapes world, written from what was measured."""

from pathlib import Path

from squbed_utils.world.scenes import ATTRIBUTES
from training.tasks import deal, with_added

CARD = """# The shapes world's models

Small models trained by `python -m training.train` (or `squbed train-world`) on clips and captions
that `squbed_utils/world` draws and says. Safetensors in the standard folder formats; licence
Apache-2.0. Every number below was measured on fresh draws by `training/quality.py` (`quality.json`
holds them all) on {machine}.

## What they know

54 subjects in six families, in two sizes, eight colours, five motions, on four backgrounds. The
number of distinct clips that the video model was shown of each subject is dealt by a seed; clips
are drawn uniformly. `transformer.csv` has clips, those that differ in a pixel, and exposures.

| clips | subjects |
|---|---|
{coverage}

The text encoder was trained on text alone: captions of the whole world, and sentences that say what
its things are like ("a diamond is a square on its corner"); every word has a row of its own. It was
frozen when the video model was trained, so that a subject which was never shown is a word that is
known of a thing that is not. One caption in ten was empty, two in ten left attributes out. All
other models saw the whole world. No model read the phrasings of the tasks' prompts.

`transformer-added` went on from `transformer` with 1,024 clips each of
{added}.
`transformer-2` and `transformer-3`, where they are here, are other seeds. All share the rest of
`video_model`.

## Training

| model | optimiser steps | MB |
|---|---|---|
{models}

{making}
## Quality

Agreement of generated videos with fully specified prompts, as the recogniser sees it (a network of
its own, trained apart; its accuracy on fresh renderings is the first row):

| clips | {attributes} |
|---|{rule}|
{agreement}

How sure the video model is of a subject, over the six videos of a prompt: the mean number of
subjects that they show, and the share of prompts of which all six show the same one, which is the
one that was asked for (right) or another (a confident mistake):

| clips | subjects shown | all six right | all six the same wrong one |
|---|---|---|---|
{sure}
{others}
- VAE reconstruction: {psnr_db:.1f} dB PSNR on fresh clips of all subjects.
- Refiner: {compatible:.2%} of its draws keep the prompt. Chi-squared p-values of the values it
  fills in against the grammar's uniform: {chi_squared}.
- Found again among 256 scenes (top 1): {retrieval}.
- LPIPS here is the unlearned form (no perceptual weights) on a SqueezeNet trained to name what
  a frame shows.

## Limits

The models know the shapes world and nothing else. What the video model does with a shape that it
never saw is part of what the notebooks study, and is reported as found.
"""

MAKING = """The set in the repository took several hours on two busy CPU cores. Its VAE's encoder is
older than the command: it had been trained on ten of the shapes, of which some are now never shown
to the video model. `--vae data/world/video_model/vae` takes it over; without that a VAE is trained
first.
"""

SURE = ("distinct", "sure_and_right", "sure_and_wrong")


def write_card(path: Path, report: dict, steps: dict[str, int]) -> None:
    """Write the model card, a Markdown file, from what ``train.measure`` returns."""
    inner = ("text_encoder", "decoder", "transformer")
    sizes = report["parameters"] | dict.fromkeys(inner, "in video_model")
    dealt, first = deal(), report["generation"]["transformer"]
    added = sorted(s for s, count in with_added(dealt).items() if count != dealt[s])
    levels = sorted(set(dealt.values()))
    chi = report["refiner"]["chi_squared_p"]
    rows = {"(renderings)": report["recogniser"]} | first
    path.write_text(
        CARD.format(
            machine=report["machine"],
            coverage="\n".join(
                f"| {level:,} | {', '.join(s for s in dealt if dealt[s] == level)} |"
                for level in levels
            ),
            added=", ".join(added),
            models="\n".join(
                f"| {name} | {n:,} | {sizes[name]} |" for name, n in steps.items() if name in sizes
            ),
            making=MAKING,
            attributes=" | ".join(ATTRIBUTES),
            rule="|".join("---" for _ in ATTRIBUTES),
            agreement="\n".join(_row(name, row, ATTRIBUTES) for name, row in rows.items()),
            sure="\n".join(_row(name, row, SURE) for name, row in first.items()),
            others=_others(report["generation"]),
            psnr_db=report["psnr_db"],
            compatible=report["refiner"]["compatible"],
            chi_squared=", ".join(f"{a} {chi[a]:.2f}" for a in ATTRIBUTES),
            retrieval=", ".join(f"{name} {v:.1%}" for name, v in report["retrieval"].items()),
        )
    )


def _row(name: str, row: dict[str, float], columns: tuple[str, ...]) -> str:
    cells = (f"{row[c]:.1f}" if c == "distinct" else f"{row[c]:.1%}" for c in columns)
    return f"| {name} | " + " | ".join(cells) + " |"


def _others(generation: dict[str, dict]) -> str:
    """Return a table of how often the other transformers show the subject asked for."""
    names = list(generation)
    if len(names) == 1:
        return ""
    levels = generation["transformer"]
    rows = (
        f"| {k} | " + " | ".join(f"{generation[n][k]['shape']:.1%}" for n in names) + " |"
        for k in levels
    )
    head = f"| clips | {' | '.join(names)} |\n|---|" + "---|" * len(names)
    return f"\nThe subject that was asked for is shown by:\n\n{head}\n" + "\n".join(rows) + "\n"
