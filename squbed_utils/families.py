"""What each kind of video model accepts, as one small table, checked when a profile is loaded."""

from dataclasses import dataclass

from squbed_utils.files import path_of
from squbed_utils.instructions import FIELD
from squbed_utils.roles import Command, Diffusers, Veo, VideoModel
from squbed_utils.schema import suggestion


@dataclass(frozen=True)
class Family:
    """Constraints and calling convention of one kind of diffusers pipeline.

    `pipeline` is its class in ``model_index.json``, `image_pipeline` the text-to-image class that
    draws the first image, if it starts from one. Height and width are multiples of `multiple`, the
    number of frames is one more than a multiple of `stride`. `rate` names the call's frame-rate
    argument, `guidance` says whether it takes ``guidance_scale``, `guardrail` whether a safety
    checker sees prompts and videos. With `slicing` the autoencoder decodes a batch's videos one by
    one. The parts in `float32` stay in float32 whatever the profile's dtype. `revision` is the hub
    branch of its diffusers files, if not main.
    """

    pipeline: str
    multiple: int
    stride: int
    image_pipeline: str | None = None
    guidance: bool = True
    guardrail: bool = False
    rate: str | None = None
    slicing: bool = False
    float32: tuple[str, ...] = ()
    revision: str | None = None


FAMILIES = {
    "cosmos2": Family(
        pipeline="Cosmos2VideoToWorldPipeline",
        multiple=16,
        stride=4,
        image_pipeline="Cosmos2TextToImagePipeline",
        guardrail=True,
        rate="fps",
    ),
    "cosmos2.5": Family(
        pipeline="Cosmos2_5_PredictBasePipeline",
        multiple=16,
        stride=4,
        guardrail=True,
        revision="diffusers/base/post-trained",
    ),
    "wan": Family(pipeline="WanPipeline", multiple=16, stride=4, float32=("vae",)),
    # Its autoencoder reduces twice as much as that of the other Wan models.
    "wan-ti2v": Family(pipeline="WanPipeline", multiple=32, stride=4, float32=("vae",)),
    # Of other numbers of frames its autoencoder decodes more than were asked for.
    "cogvideox": Family(pipeline="CogVideoXPipeline", multiple=16, stride=8),
    "ltx": Family(pipeline="LTXPipeline", multiple=32, stride=8, rate="frame_rate"),
    # Its guidance scale is a setting of its guider, in the checkpoint; its autoencoder's attention
    # mask does not fit a batch.
    "hunyuan1.5": Family(
        pipeline="HunyuanVideo15Pipeline", multiple=16, stride=4, guidance=False, slicing=True
    ),
}

PLACEHOLDERS = ("prompt", "seed", "height", "width", "frames", "fps", "steps", "guidance", "path")
PLACEHOLDERS += ("output",)
NEEDED = ("prompt", "seed", "output")
"""Placeholders without which a command cannot make the video asked for, or hand it over."""

VEO_KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
"""Environment variables that may hold the key, in order of preference."""

VEO_SIZES = ((720, 1280), (1280, 720), (1080, 1920), (1920, 1080))
VEO_SECONDS = (4, 8)


def check(model: VideoModel, where: str) -> None:
    """Refuse settings that a video model does not accept, and name the nearest that it does.

    `where` starts every error.
    """
    checks = {Diffusers: _check_diffusers, Command: _check_command, Veo: _check_veo}
    checks[type(model)](model, where)


def _check_diffusers(model: Diffusers, where: str) -> None:
    if model.family not in FAMILIES:
        hint = suggestion(model.family, list(FAMILIES))
        raise ValueError(f"{where}: family is {model.family!r}{hint}; known: {', '.join(FAMILIES)}")
    family = FAMILIES[model.family]
    for name in ("height", "width"):
        _check_step(model, name, family.multiple, 0, where)
    _check_step(model, "frames", family.stride, 1, where)
    if model.guidance is not None and not family.guidance:
        raise ValueError(
            f"{where}: guidance is {model.guidance:g}, but {model.family} takes none (its "
            "checkpoint sets it); set guidance: null"
        )
    _check_image_model(model, family, where)
    if family.revision and model.revision is None and not path_of(model.path).exists():
        raise ValueError(
            f"{where}: missing revision; {model.path} keeps its files for diffusers in a branch: "
            f"set revision: {family.revision}"
        )


def _check_step(model: Diffusers, name: str, step: int, offset: int, where: str) -> None:
    """Refuse a number that is not `step` k + `offset` for a whole k."""
    value = getattr(model, name)
    if value % step == offset:
        return
    below = (value - offset) // step * step + offset
    near = " or ".join(str(v) for v in (below, below + step) if v >= 1)
    rule = f"{step} k + {offset}" if offset else f"multiples of {step}"
    raise ValueError(f"{where}: {name} is {value}; {model.family} takes {rule}: set it to {near}")


def _check_image_model(model: Diffusers, family: Family, where: str) -> None:
    if family.image_pipeline and model.image_model is None:
        raise ValueError(
            f"{where}: missing image_model; {model.family} starts from the image that a "
            f"{family.image_pipeline} draws: name its folder or hub id"
        )
    if model.image_model is not None and not family.image_pipeline:
        raise ValueError(f"{where}: image_model is not taken by {model.family}; remove it")


def _check_command(model: Command, where: str) -> None:
    words = model.command
    if not words or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{where}: command is {words!r}; expected a list of words, in quotes")
    found = {name for word in words for name in FIELD.findall(word)}
    for name in sorted(found - set(PLACEHOLDERS)):
        known = ", ".join(f"{{{p}}}" for p in PLACEHOLDERS)
        raise ValueError(
            f"{where}: command has {{{name}}}, which stands for nothing; known: {known}"
        )
    for name in NEEDED:
        if name not in found:
            raise ValueError(f"{where}: command lacks {{{name}}}; add it where the script takes it")
    if "guidance" in found and model.guidance is None:
        raise ValueError(f"{where}: command has {{guidance}}, but guidance is not set; set it")


def _check_veo(model: Veo, where: str) -> None:
    if (model.height, model.width) not in VEO_SIZES:
        sizes = ", ".join(f"{h} x {w}" for h, w in VEO_SIZES)
        raise ValueError(
            f"{where}: height x width is {model.height} x {model.width}; Veo makes {sizes}"
        )
    if not VEO_SECONDS[0] <= model.seconds <= VEO_SECONDS[1]:
        raise ValueError(
            f"{where}: seconds is {model.seconds}; Veo makes {VEO_SECONDS[0]} to {VEO_SECONDS[1]}"
        )
