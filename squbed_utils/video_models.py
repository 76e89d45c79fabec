"""The kinds of video models, and what is known of diffusers' pipelines by family."""

import re
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field, JsonValue, StrictBool, StrictInt
from pydantic.dataclasses import dataclass

from squbed_utils.files import path_of
from squbed_utils.instructions import FIELD
from squbed_utils.settings import (
    Amount,
    Checkpoint,
    Frames,
    Place,
    Rate,
    Seconds,
    Settings,
    Side,
    Steps,
    refuse_address,
)
from squbed_utils.text import shortened, suggestion


class Family(NamedTuple):
    """Constraints and calling convention of one kind of diffusers pipeline.

    `pipeline` is its class in ``model_index.json``, `image_pipeline` the text-to-image class that
    draws the first image, if it starts from one. Height and width are multiples of `multiple`, the
    number of frames is one more than a multiple of `stride`. `rate` names the call's frame-rate
    argument, `guidance` says whether it takes ``guidance_scale``, `guardrail` whether a safety
    checker sees prompts and videos. With `slicing` the autoencoder decodes a batch's videos one by
    one. Parts in `float32` stay so whatever the profile's dtype. `revision` is the hub branch of
    its diffusers files, if not main.
    """

    pipeline: str
    multiple: int = 16
    stride: int = 4
    image_pipeline: str | None = None
    guidance: bool = True
    guardrail: bool = False
    rate: str | None = None
    slicing: bool = False
    float32: tuple[str, ...] = ()
    revision: str | None = None


FAMILIES = {
    "cosmos2": Family(
        "Cosmos2VideoToWorldPipeline",
        image_pipeline="Cosmos2TextToImagePipeline",
        guardrail=True,
        rate="fps",
    ),
    "cosmos2.5": Family(
        "Cosmos2_5_PredictBasePipeline", guardrail=True, revision="diffusers/base/post-trained"
    ),
    "wan": Family("WanPipeline", float32=("vae",)),
    # Its autoencoder reduces twice as much as that of the other Wan models.
    "wan-ti2v": Family("WanPipeline", multiple=32, float32=("vae",)),
    # Of other numbers of frames its autoencoder decodes more than were asked for.
    "cogvideox": Family("CogVideoXPipeline", stride=8),
    "ltx": Family("LTXPipeline", multiple=32, stride=8, rate="frame_rate"),
    # Its guidance scale is a setting of its guider, in the checkpoint; its autoencoder's attention
    # mask does not fit a batch.
    "hunyuan1.5": Family("HunyuanVideo15Pipeline", guidance=False, slicing=True),
}


def families_of(name: str) -> list[str]:
    """Return the families of a pipeline's class."""
    return [key for key, row in FAMILIES.items() if name in (row.pipeline, row.image_pipeline)]


@dataclass(frozen=True)
class Diffusers(Checkpoint):
    """A text-to-video pipeline of diffusers; without `guidance` the pipeline's default applies.

    `family` names its constraints and calling convention (``FAMILIES``). Without one, any pipeline
    is called as it is, and what is not set is its call's own default. A video-to-world
    model starts from an image that `image_model` draws at the video's size, with the same steps and
    guidance. `transformer` is the folder of one that takes the place of the pipeline's own, and
    shares the rest. `options` are further arguments of the call. `guardrail` matters only for
    Cosmos.
    """

    fps: Rate
    height: Side | None = None
    width: Side | None = None
    frames: Frames | None = None
    steps: Steps | None = None
    kind: Literal["diffusers"] = "diffusers"
    family: str | None = None
    guidance: Amount | None = None
    options: dict[str, JsonValue] = Field(default_factory=dict)
    revision: str | None = None
    image_model: str | None = None
    transformer: str | None = None
    guardrail: StrictBool = True
    offload: StrictBool = False
    vae_tiling: StrictBool = False

    MARKER: ClassVar[str] = "model_index.json"

    def __post_init__(self) -> None:
        family = self.constraints
        missing = [key for key in ("height", "width", "frames", "steps") if not getattr(self, key)]
        if self.family and missing:
            raise ValueError(f"missing {', '.join(missing)}; add it or extend a profile")
        for name, step, offset in (
            ("height", family.multiple, 0),
            ("width", family.multiple, 0),
            ("frames", family.stride, 1),
        ):
            value = getattr(self, name)
            if self.family and value % step != offset:
                below = (value - offset) // step * step + offset
                near = " or ".join(str(v) for v in (below, below + step) if v >= 1)
                rule = f"{step} k + {offset}" if offset else f"multiples of {step}"
                raise ValueError(f"{name} is {value}; {self.family} takes {rule}: set it to {near}")
        if self.guidance is not None and not family.guidance:
            raise ValueError(
                f"guidance is {self.guidance:g}, but {self.family} takes none (its checkpoint sets "
                "it); set guidance: null"
            )
        if family.image_pipeline and self.image_model is None:
            raise ValueError(
                f"missing image_model; {self.family} starts from the image that a "
                f"{family.image_pipeline} draws: name its folder or hub id"
            )
        if self.image_model is not None and not family.image_pipeline:
            whom = self.family or "a pipeline without a family"
            raise ValueError(f"image_model is not taken by {whom}; remove it")
        if family.revision and self.revision is None and not path_of(self.path).exists():
            raise ValueError(
                f"missing revision; {self.path} keeps its files for diffusers in a branch: set "
                f"revision: {family.revision}"
            )

    @property
    def constraints(self) -> Family:
        """Its family; an unknown one is refused."""
        if self.family is not None and self.family not in FAMILIES:
            hint = suggestion(self.family, list(FAMILIES))
            raise ValueError(f"family is {self.family!r}{hint}; known: {', '.join(FAMILIES)}")
        return FAMILIES.get(self.family, Family(""))

    def places(self) -> dict[str, Place]:
        """Return the folders of the pipeline, of its first image's and of another transformer."""
        markers = {"image_model": self.MARKER, "transformer": Checkpoint.MARKER}
        named = {name: getattr(self, name) for name in markers}
        return super().places() | {n: Place(path, markers[n]) for n, path in named.items() if path}


PLACEHOLDERS = ("prompt", "seed", "height", "width", "frames", "fps", "steps", "guidance", "path")
PLACEHOLDERS += ("output",)

NEEDED = ("prompt", "seed", "output")
"""Placeholders without which a command cannot make the video asked for, or hand it over."""


@dataclass(frozen=True)
class Command(Settings):
    """A model run by scripts of its own: one subprocess a video, in the folder `path`.

    In `command`, a list of words that no shell sees, ``{prompt}``, ``{seed}``, ``{height}``,
    ``{width}``, ``{frames}``, ``{fps}``, ``{steps}``, ``{guidance}``, ``{path}`` and ``{output}``
    are filled in. It must write one mp4 into the folder ``{output}``, at any depth; the video keeps
    that file's size and rate.
    """

    path: str
    command: Annotated[list[str], Field(min_length=1)]
    height: Side
    width: Side
    frames: Frames
    fps: Rate
    steps: Steps
    kind: Literal["command"]
    guidance: Amount | None = None
    timeout: Seconds = 3600

    PLAIN: ClassVar = ("path",)

    def __post_init__(self) -> None:
        fields = {name for word in self.command for name in FIELD.findall(word)}
        for name in sorted(fields - set(PLACEHOLDERS)):
            known = ", ".join(f"{{{p}}}" for p in PLACEHOLDERS)
            raise ValueError(f"command has {{{name}}}, which stands for nothing; known: {known}")
        for name in NEEDED:
            if name not in fields:
                raise ValueError(f"command lacks {{{name}}}; add it where the script takes it")
        if "guidance" in fields and self.guidance is None:
            raise ValueError("command has {guidance}, but guidance is not set; set it")


CALL = re.compile(r"(?P<file>.+?)(\.py)?:(?P<name>[^\W\d]\w*)")


@dataclass(frozen=True)
class Python(Settings):
    """A function in a file of the user's, which only a profile that the user passes may name.

    `call` is ``FILE.py:FUNCTION``, or without the ending. The function takes prompts and seeds, two
    lists of one length, and returns for each a pair: frames, uint8 (T, H, W, 3), and how many of
    them a second lasts. The file's hash is recorded, not that of what it imports.
    """

    call: str
    kind: Literal["python"]

    height: ClassVar[None] = None  # the function decides
    width: ClassVar[None] = None
    frames: ClassVar[None] = None

    def __post_init__(self) -> None:
        if not CALL.fullmatch(self.call):
            raise ValueError(
                f"call is {shortened(self.call)}; expected a file and a function in it, such as "
                "my_model.py:generate"
            )

    def places(self) -> dict[str, Place]:
        """Return the file of the function."""
        return {"call": Place(CALL.fullmatch(self.call)["file"] + ".py")}


VEO_KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
"""Environment variables that may hold the key, in order of preference."""

VEO_SIZES = ((720, 1280), (1280, 720), (1080, 1920), (1920, 1080))


@dataclass(frozen=True)
class Veo(Settings):
    """A paid model behind google-genai, which is polled until the video is ready."""

    model: str
    height: Side
    width: Side
    seconds: Annotated[StrictInt, Field(ge=4, le=8)]
    fps: Rate
    price: Amount  # US dollars a second of video, as the vendor lists it
    budget: Amount  # US dollars, after which the run stops
    kind: Literal["veo"]
    base_url: str | None = None
    timeout: Seconds = 900  # for one video
    poll: Seconds = 10  # between two questions

    def __post_init__(self) -> None:
        refuse_address(self.base_url)
        if (self.height, self.width) not in VEO_SIZES:
            sizes = ", ".join(f"{h} x {w}" for h, w in VEO_SIZES)
            raise ValueError(f"height x width is {self.height} x {self.width}; Veo makes {sizes}")

    @property
    def frames(self) -> int:
        """Frames of one video, an estimate until the video is made."""
        return round(self.seconds * self.fps)
