"""What a profile can name: the kinds of task source and of model, with their settings.

A role with several kinds is a union; the entry ``kind`` picks one, by default the first. A model's
``path`` is a folder (absolute or relative to the repository) or a hub id, ``organisation/name``.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from squbed_utils.instructions import check_fields
from squbed_utils.schema import known, least

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
        """Refuse a pool smaller than the number of tasks."""
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

    `family` names its constraints and calling convention (``families.FAMILIES``). A video-to-world
    model starts from an image that `image_model` draws at the video's size, with the same steps and
    guidance. `options` are further arguments of the call. `guardrail` matters only for Cosmos.
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
        """Refuse an address with a key."""
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
        """Refuse a check without its model, and a template without its field."""
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
        """Refuse a check without what it needs."""
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
        """Refuse a check or budget without what it needs, and an address with a key."""
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
        """Refuse odd sizes, which the network cannot halve."""
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
