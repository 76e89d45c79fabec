"""What a profile can name: the kinds of task source and of model, with their settings.

A role with several kinds is a union; the entry ``kind`` picks one, by default the first. A model's
``path`` is a folder (absolute or relative to the repository) or a hub id, ``organisation/name``.
"""

import dataclasses
import math
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import UnionType
from urllib.parse import urlsplit

from squbed_utils.files import path_of
from squbed_utils.instructions import FIELD, check_fields
from squbed_utils.text import shortened, suggestion

LONGEST_TEXT = 10_000
"""Most characters of a setting."""


def least(least: float, *, most: float = math.inf, **default: object) -> object:
    """Return a dataclass field with a least and a greatest value."""
    return dataclasses.field(metadata={"least": least, "most": most}, **default)


def known(*known: str, **default: object) -> object:
    """Return a dataclass field whose value is one of some words."""
    return dataclasses.field(metadata={"known": known}, **default)


def build(cls: type, values: object, where: str) -> object:
    """Make a dataclass from a mapping, checking keys, types and ranges; `where` starts every error.

    A field's metadata may hold `least` and `most` (numbers) or `known` (choices). Raises ValueError
    if `values` is no mapping or an entry is unknown, missing or wrong.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where} is {shortened(values)}; expected keys and values")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            hint = suggestion(str(key)[:100], list(fields))
            known = ", ".join(fields)
            raise ValueError(f"{where}: unknown key {shortened(key)}{hint}; known: {known}")
    missing = [f.name for f in fields.values() if f.name not in values and not _has_default(f)]
    if missing:
        raise ValueError(f"{where}: missing {', '.join(missing)}; add it or extend a profile")
    hints = typing.get_type_hints(cls)
    return cls(
        **{k: _convert(hints[k], v, f"{where}: {k}", fields[k].metadata) for k, v in values.items()}
    )


def check_field(cls: type, name: str, value: object, where: str) -> None:
    """Check one value against a dataclass's field, as `build` does."""
    (field,) = (f for f in dataclasses.fields(cls) if f.name == name)
    _convert(typing.get_type_hints(cls)[name], value, where, field.metadata)


def _has_default(f: dataclasses.Field) -> bool:
    return f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING


def _convert(hint: type, value: object, where: str, rule: Mapping) -> object:
    """Check one value against its type and its rule."""
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)
    kinds = tuple(filter(dataclasses.is_dataclass, typing.get_args(hint)))
    if kinds and not (value is None and type(None) in typing.get_args(hint)):
        return build(_of_kind(kinds, value, where), value, where)
    accepted = typing.get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if float in accepted and type(value) is int:
        value = float(value)
    if type(value) not in accepted:
        names = " or ".join("null" if a is type(None) else a.__name__ for a in accepted)
        raise ValueError(f"{where} is {shortened(value)}; expected {names}")
    if "least" in rule and value is not None:
        if not rule["least"] <= value <= rule["most"] or value == math.inf:
            bound = f"at most {rule['most']}" if rule["most"] < value < math.inf else "finite"
            expected = f"at least {rule['least']}, and {bound}"
            raise ValueError(f"{where} is {value!r}; expected {expected}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value!r}; expected a finite number")
    if "known" in rule and value not in rule["known"]:
        raise ValueError(f"{where} is {shortened(value)}; known: {', '.join(rule['known'])}")
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise ValueError(f"{where} has {len(value):,} characters; expected at most {LONGEST_TEXT}")
    for key, each in _entries(value):  # of free lists and mappings
        _convert(type(each), each, f"{where}: {key}", {})
    return value


def _entries(value: object) -> list[tuple[object, object]]:
    """Return the entries of a list or mapping with their places or keys; else an empty list."""
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value, 1)) if isinstance(value, list) else []


def _of_kind(classes: tuple[type, ...], value: object, where: str) -> type:
    """Return the dataclass that a mapping's `kind` names, by default the first."""
    kinds = {kind: cls for cls in classes for kind in _kinds(cls)}
    if not isinstance(value, dict) or "kind" not in value:
        return classes[0]
    if not isinstance(value["kind"], str) or value["kind"] not in kinds:
        hint = suggestion(str(value["kind"])[:100], list(kinds))
        named = f"{where}: kind is {shortened(value['kind'])}{hint}"
        raise ValueError(f"{named}; known: {', '.join(kinds)}")
    return kinds[value["kind"]]


def _kinds(cls: type) -> tuple[str, ...]:
    return next(f.metadata["known"] for f in dataclasses.fields(cls) if f.name == "kind")


INSTRUCTIONS = "data/instructions"

MOST_PIXELS, MOST_FRAMES, MOST_TOKENS = 16_384, 10_000, 1_000_000
"""Limits of a side in pixels, of a video's frames, of an answer's tokens."""

LONGEST = 1e6
"""Most seconds that a setting may ask a run to wait."""

CHECKS = ("none", "grammar", "nli", "model")
"""How a draw is checked against its prompt: not at all, by the shapes world's grammar, by a
natural-language inference model (`nli_model`), or by the language model itself."""

VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*_(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS)")
"""An environment variable that may hold a key; a model's own scripts do not get it."""


@dataclass(frozen=True)
class World:
    """The shapes world's task table, and which tasks to take (``shapes_world.select``)."""

    path: str
    kind: str = known("world", default="world")
    tasks: list | None = None
    categories: list | None = None
    per_cell: int | None = least(1, most=100_000, default=None)


@dataclass(frozen=True)
class Captioned:
    """Clips with captions, from which tasks are sampled."""

    path: str
    videos: str
    kind: str
    tasks: int = least(1, most=100_000, default=200)
    pool: int = least(1, most=10_000_000, default=2000)  # captions labelled, and sampled from
    seed: int = least(0, most=2**63 - 1, default=0)  # of the draw, apart from the run's

    def __post_init__(self) -> None:
        if self.pool < self.tasks:
            raise ValueError(
                f"dataset.pool is {self.pool}; expected at least dataset.tasks, {self.tasks}"
            )


@dataclass(frozen=True)
class Panda70M(Captioned):
    """A Panda-70M CSV and its folder of clips, as the dataset's download tool writes them."""

    kind: str = known("panda70m")


@dataclass(frozen=True)
class VidGen1M(Captioned):
    """VidGen-1M's caption JSON and the folder of its zip files, which stay packed."""

    kind: str = known("vidgen1m")


@dataclass(frozen=True)
class Diffusers:
    """A text-to-video pipeline of diffusers; without `guidance` the pipeline's default applies.

    `family` names its constraints and calling convention (``FAMILIES``). A video-to-world
    model starts from an image that `image_model` draws at the video's size, with the same steps and
    guidance. `transformer` is the folder of one that takes the place of the pipeline's own, and
    shares the rest. `options` are further arguments of the call. `guardrail` matters only for
    Cosmos.
    """

    path: str
    height: int = least(1, most=MOST_PIXELS)
    width: int = least(1, most=MOST_PIXELS)
    frames: int = least(1, most=MOST_FRAMES)
    fps: float = least(0.1, most=1000)
    steps: int = least(1, most=10_000)
    kind: str = known("diffusers", default="diffusers")
    family: str = "wan"
    guidance: float | None = least(0, default=None)
    options: dict = field(default_factory=dict)
    revision: str | None = None
    image_model: str | None = None
    transformer: str | None = None
    guardrail: bool = True
    offload: bool = False
    vae_tiling: bool = False


@dataclass(frozen=True)
class Command:
    """A model run by scripts of its own: one subprocess a video, in the folder `path`.

    In `command`, a list of words that no shell sees, ``{prompt}``, ``{seed}``, ``{height}``,
    ``{width}``, ``{frames}``, ``{fps}``, ``{steps}``, ``{guidance}``, ``{path}`` and ``{output}``
    are filled in. It must write one mp4 into the folder ``{output}``, at any depth; the video keeps
    that file's size and rate.
    """

    path: str
    command: list
    height: int = least(1, most=MOST_PIXELS)
    width: int = least(1, most=MOST_PIXELS)
    frames: int = least(1, most=MOST_FRAMES)
    fps: float = least(0.1, most=1000)
    steps: int = least(1, most=10_000)
    kind: str = known("command")
    guidance: float | None = least(0, default=None)
    timeout: float = least(0.1, most=LONGEST, default=3600)  # seconds


@dataclass(frozen=True)
class Veo:
    """A paid model behind google-genai, which is polled until the video is ready."""

    model: str
    height: int = least(1, most=MOST_PIXELS)
    width: int = least(1, most=MOST_PIXELS)
    seconds: int = least(1, most=3600)
    fps: float = least(0.1, most=1000)
    price: float = least(0)  # US dollars a second of video, as the vendor lists it
    budget: float = least(0)  # US dollars, after which the run stops
    kind: str = known("veo")
    base_url: str | None = None
    timeout: float = least(0.1, most=LONGEST, default=900)  # seconds for one video
    poll: float = least(0.01, most=LONGEST, default=10)  # seconds between two questions

    def __post_init__(self) -> None:
        _refuse_address(self.base_url, "video_model.base_url")

    @property
    def frames(self) -> int:
        """Frames of one video, an estimate until the video is made."""
        return round(self.seconds * self.fps)


@dataclass(frozen=True)
class CausalLM:
    """A local causal language model that completes `template` with its ``{prompt}`` filled in."""

    path: str
    kind: str = known("local", default="local")
    template: str = "{prompt} =>"
    check: str = known(*CHECKS, default="grammar")
    nli_model: str | None = None
    max_new_tokens: int = least(1, most=MOST_TOKENS, default=24)
    temperature: float = least(0.01, default=1.0)
    revision: str | None = None

    def __post_init__(self) -> None:
        _refuse_unnamed_nli(self)
        if self.check == "model":
            raise ValueError("refiner.check is model; a refiner of kind local needs another check")
        check_fields(self.template, ("prompt",), "refiner.template")


@dataclass(frozen=True)
class Chat:
    """A local causal language model with a chat template; `instructions` is a folder of texts."""

    path: str
    kind: str = known("chat")
    instructions: str = INSTRUCTIONS
    check: str = known(*CHECKS, default="model")
    nli_model: str | None = None
    draws: str = known("independent", "list", default="independent")
    max_new_tokens: int = least(1, most=MOST_TOKENS, default=256)
    temperature: float = least(0.01, default=1.0)
    dtype: str = known("float32", "bfloat16", "float16", default="float32")
    revision: str | None = None

    def __post_init__(self) -> None:
        _refuse_unnamed_nli(self)


@dataclass(frozen=True)
class OpenAI:
    """A language model behind OpenAI's API or a compatible server (`base_url`).

    The key is read from the environment variable `key`, whose name ends in _KEY or _TOKEN.
    `temperature` null is not sent; the seed goes only to compatible servers. `price` is the
    vendor's highest for the model (that of its answers), in US dollars per million tokens; null:
    not stated, 0: free. `budget` (US dollars, needs a price) and `max_calls` stop the run; null:
    unlimited.
    """

    model: str
    kind: str = known("openai")
    base_url: str | None = None
    key: str = "OPENAI_API_KEY"
    instructions: str = INSTRUCTIONS
    check: str = known(*CHECKS, default="model")
    nli_model: str | None = None
    draws: str = known("independent", "list", default="independent")
    temperature: float | None = least(0, default=None)
    price: float | None = least(0, default=None)
    budget: float | None = least(0, default=None)
    max_calls: int | None = least(0, default=None)
    max_tokens: int = least(1, most=MOST_TOKENS, default=4096)  # with what it thinks first
    timeout: float = least(1, most=LONGEST, default=120)
    retries: int = least(0, most=1000, default=5)

    def __post_init__(self) -> None:
        _refuse_unnamed_nli(self)
        if self.budget is not None and self.price is None:
            raise ValueError(
                f"refiner.budget is {self.budget:g} dollars, but refiner.price is not stated; add "
                "it, or limit refiner.max_calls instead"
            )
        if not VARIABLE.fullmatch(self.key):  # not shown: it may be the key itself
            raise ValueError(
                "refiner.key does not name an environment variable in capitals that ends in _KEY "
                "or _TOKEN, such as OPENAI_API_KEY; a key itself stands in no profile, which would "
                "be archived: put it into such a variable"
            )
        _refuse_address(self.base_url, "refiner.base_url")


@dataclass(frozen=True)
class TextEncoder:
    """A SentenceTransformer; `prompt_name` picks one of the prompts that come with it."""

    path: str
    prompt_name: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class TransformersVideoEncoder:
    """A video encoder of transformers: X-CLIP, VideoMAE, V-JEPA 2, VideoPrism and their like."""

    path: str
    kind: str = known("transformers", default="transformers")
    revision: str | None = None


@dataclass(frozen=True)
class S3D:
    """S3D: torchvision's (Kinetics-400), or MIL-NCE's (HowTo100M), the paper's, from one file.

    The file must have the `sha256`, if one is given; the archive records it. A video enters as
    `frames` frames of `size` pixels a side, both even.
    """

    path: str
    kind: str = known("torchvision-s3d", "milnce-s3d")
    sha256: str | None = None
    frames: int = least(8, most=MOST_FRAMES, default=32)
    size: int = least(32, most=MOST_PIXELS, default=224)

    def __post_init__(self) -> None:
        for name in ("frames", "size"):
            if getattr(self, name) % 2:
                raise ValueError(
                    f"video_encoder.{name} is {getattr(self, name)}; expected an even number"
                )


@dataclass(frozen=True)
class Clip:
    """An open_clip model."""

    path: str
    revision: str | None = None


@dataclass(frozen=True)
class Lpips:
    """LPIPS as learned (AlexNet), or unlearned, which sums over channels unweighted.

    `path` holds the backbone: a file for ``alex``, a folder with a SqueezeNet for ``unlearned``.
    """

    path: str
    kind: str = known("unlearned", "alex", default="unlearned")


@dataclass(frozen=True)
class Captioner:
    """A transformers model that describes videos, for the estimator PUNC.

    A chat model (LLaVA, Qwen-VL, SmolVLM) sees `frames` evenly spaced frames and the `instruction`;
    one without a chat template (BLIP, GIT) sees the middle frame.
    """

    path: str
    kind: str = known("transformers", default="transformers")
    frames: int = least(1, most=MOST_FRAMES, default=8)
    instruction: str = "These are frames of one video. Describe the video in one sentence."
    max_new_tokens: int = least(1, most=MOST_TOKENS, default=64)
    dtype: str = known("float32", "bfloat16", "float16", default="float32")
    revision: str | None = None


@dataclass(frozen=True)
class Recogniser:
    """The shapes world's recogniser, whose attributes the grammar turns into a caption."""

    path: str
    kind: str = known("world")


@dataclass(frozen=True)
class Estimates:
    """What one video takes; `source` says who measured it, and on what."""

    source: str = ""
    seconds: float | None = least(0, default=None)  # GPU seconds a video
    gpu_memory: float | None = least(0, default=None)  # GB
    gpus: float = least(0.01, default=1.0)  # that one worker takes; 0.5: two share one


def _refuse_address(url: str | None, name: str) -> None:
    """Refuse an address that is not http(s), or that holds a key."""
    if url is None:
        return
    try:
        address = urlsplit(url)
        there = address.scheme in ("http", "https") and address.hostname
    except ValueError:
        there = False
    if not there:
        raise ValueError(f"{name} is no address that starts with http:// or https://; correct it")
    if address.username is not None or address.query:
        raise ValueError(
            f"{name} holds a user or a query, which may hold a key and would be archived; put the "
            "key into an environment variable"
        )


def _refuse_unnamed_nli(refiner: CausalLM | Chat | OpenAI) -> None:
    if refiner.check == "nli" and not refiner.nli_model:
        raise ValueError("refiner.check is nli; name its model in refiner.nli_model")


Dataset = World | Panda70M | VidGen1M
VideoModel = Diffusers | Command | Veo
Refiner = CausalLM | Chat | OpenAI
VideoEncoder = TransformersVideoEncoder | S3D
CaptionModel = Captioner | Recogniser


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
    """Refuse settings that a video model does not accept, and name the nearest that it does."""
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
