"""Profiles: which models, prompts and sizes a run uses, as a validated YAML file."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StrictInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from squbed_utils import plain_yaml, roles
from squbed_utils.archive.layout import BOUNDS, PAID, SAFE_ID, TWIN
from squbed_utils.estimators import estimate as estimators
from squbed_utils.files import ROOT, left_by_a_tool
from squbed_utils.settings import HUB_ID, PROMPT_PACKAGES, DType, Settings
from squbed_utils.text import expected, shortened, suggestion
from squbed_utils.video_models import CALL

FOLDER = ROOT / "data" / "profiles"

VERSIONED = ("numpy", "torch", "diffusers", "transformers", "sentence-transformers")
VERSIONED += ("open_clip_torch", "av")
"""Libraries whose versions an archive records."""

NOT_SAMPLED = ("estimator", "pca", "estimates", "versions")
NOT_SAMPLED += tuple(f"video_model.{key}" for key in PAID)
NOT_SAMPLED += tuple(f"refiner.{key}" for key in ("key", "timeout", "retries", "price", "budget"))
NOT_SAMPLED += ("refiner.max_calls", "refiner.max_tokens")
"""Entries that may change between two runs on one archive."""

A_KEY = re.compile(
    r"\b(sk-(?=[\w-]*\d)[\w-]{20,}|AIza[\w-]{30,}|(hf|gh[oprsu]|gsk)_\w{30,}|AKIA[A-Z0-9]{16})"
)

MOST_SHOWN = 5


def within(name: str) -> Field:
    """Return the bounds of a whole number of a profile."""
    least, most = BOUNDS[name]
    return Field(ge=least, le=most)


@dataclass(frozen=True)
class Profile(Settings):
    """Everything that a run depends on; paths are relative to the repository.

    A task gets `n` latent prompts, of which the first `videos_of` (None: all) get `m` videos each.
    `dataset` is None where a command is given prompts, `refiner` where the dataset is an archive
    that gives the latent prompts. Without a `captioner` the estimator PUNC is left out. At once,
    `batch_size` videos are made; it changes the last bits of the result, so it is fixed, and the
    last batch is padded. `pca` dimensions are kept before estimation (None: all). `device` auto is
    CUDA where there is one; `dtype` is that of the video model's weights. `twin` is what differs in
    a cheaper twin of the video model (`twin_of`); no archive records it but the twin's own.
    """

    name: str
    dataset: roles.Dataset | None
    n: Annotated[StrictInt, within("n")]
    m: Annotated[StrictInt, within("m")]
    video_model: roles.VideoModel
    refiner: roles.Refiner | None
    text_encoder: roles.TextEncoder
    video_encoder: roles.VideoEncoder
    clip: roles.Alignment
    lpips: roles.Lpips
    batch_size: Annotated[StrictInt, within("batch_size")]
    captioner: roles.CaptionModel | None = None
    twin: dict[str, JsonValue] | None = None
    videos_of: Annotated[StrictInt, within("videos_of")] | None = None
    estimates: roles.Estimates = roles.Estimates()
    seed: Annotated[StrictInt, within("seed")] = 0
    estimator: str = "squbed"
    pca: Annotated[StrictInt, within("pca")] | None = None
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    dtype: DType = "float32"

    def __post_init__(self) -> None:
        if not SAFE_ID.fullmatch(self.name):
            raise ValueError(f"name is {self.name!r}; expected letters, digits, dots and dashes")
        least = estimators.lookup(self.estimator).least_videos
        if self.m < least:
            raise ValueError(
                f"m is {self.m}, and estimator {self.estimator!r} reads {least} videos of a latent "
                "prompt; take more, or estimator: energy_split"
            )
        if self.videos_of is not None and self.videos_of > self.n:
            raise ValueError(
                f"videos_of is {self.videos_of}; expected at most n, which is {self.n}"
            )
        if (self.refiner is None) != isinstance(self.dataset, roles.Like):
            raise ValueError(
                "refiner is the language model that draws latent prompts; it is null where dataset "
                "is an archive that gives them (kind: like), and nowhere else"
            )
        if self.twin is not None:
            twin_of(self)

    def videos(self, latent: int) -> int:
        """Return how many videos a latent prompt gets, 0 to n - 1."""
        return self.m if latent < (self.videos_of or self.n) else 0


def load(name: str | Path | Profile) -> Profile:
    """Return the profile of that name in ``data/profiles/``, of a ``.yaml`` file, or as it is.

    An unknown name is a FileNotFoundError that lists the known ones; a wrong entry is a ValueError.

    Examples
    --------
    >>> load("world").n
    6
    """
    if isinstance(name, Profile):
        return name
    settings = _read(find(name), ())
    for entry, value in settings.items():
        if A_KEY.search(str(value)):
            raise ValueError(
                f"profile {name}: {entry} holds what looks like a key, which would be archived; "
                "take it out, and set an environment variable"
            )
    return build(settings, f"profile {settings.get('name', name)}")


def build(settings: Mapping, where: str) -> Profile:
    """Make a profile of its settings; `where` starts the error, which names every mistake."""
    try:
        return TypeAdapter(Profile).validate_python(settings)
    except ValidationError as error:  # which would show a traceback the settings, keys and all
        mistakes = [_mistake(each, settings) for each in error.errors()]
    more = f", and {len(mistakes) - MOST_SHOWN} more" if len(mistakes) > MOST_SHOWN else ""
    raise ValueError(f"{where}: {'; also '.join(mistakes[:MOST_SHOWN])}{more}")


def changed(profile: Profile, **settings: object) -> Profile:
    """Return a profile with other settings, checked as all are; None leaves one as it is."""
    given = {name: value for name, value in settings.items() if value is not None}
    return replaced(profile, **given)


def replaced(profile: Profile, **settings: object) -> Profile:
    """Return a profile with other settings, checked as all are."""
    return build(vars(profile) | settings, f"profile {profile.name}")


def recorded(profile: Profile) -> dict:
    """Return what an archive records of a profile's settings: all that it was made by."""
    settings = asdict(profile)
    del settings["twin"]
    return settings


def twin_of(profile: Profile) -> Profile:
    """Return the profile NAME-twin, of the video model's cheaper twin, checked as all are.

    How long one of its videos takes is not known.
    """
    if not profile.twin:
        raise ValueError(
            f"profile {profile.name} names no twin of its video model; add what differs in it, "
            "such as `twin: {steps: 2}`"
        )
    model = _merge({"twin": asdict(profile.video_model)}, {"twin": profile.twin})["twin"]
    estimates = asdict(profile.estimates) | {"source": "", "seconds": None}
    changes = {"name": f"{profile.name}{TWIN}", "video_model": model, "twin": None}
    return build(vars(profile) | changes | {"estimates": estimates}, "twin")


def _mistake(error: dict, settings: object) -> str:
    """Say one of pydantic's errors in words: the setting, its value, and what was expected."""
    place, value = "", settings
    for part in error["loc"]:  # among the keys stand kinds and types, which are no part of the file
        if isinstance(value, dict) and part in value:
            place, value = f"{place}{part}: ", value[part]
        elif isinstance(value, list) and isinstance(part, int):
            place, value = f"{place}{part + 1}: ", value[part]
    if error["type"] == "value_error":
        return place + expected(error["msg"])
    if error["type"] == "union_tag_invalid":
        kind, kinds = value["kind"], error["ctx"]["expected_tags"].replace("'", "")
        hint = suggestion(str(kind)[:100], kinds.split(", "))
        return f"{place}kind is {shortened(kind)}{hint}; known: {kinds}"
    return f"{place.removesuffix(': ')} is {shortened(value)}; {expected(error['msg'])}"


def names() -> list[str]:
    """Return the names of the package's profiles."""
    return sorted(p.stem for p in FOLDER.glob("*.yaml") if not left_by_a_tool(p.name))


def find(name: str | Path) -> Path:
    """Return the path of a profile; refuse an unknown name and list the known ones."""
    text = str(name)
    path = Path(text) if text.endswith((".yaml", ".yml")) else FOLDER / f"{text}.yaml"
    if path.is_file():
        return path
    if path.exists():
        raise ValueError(f"profile {path} is a folder, a pipe or a device; expected a file")
    own = f"{text}.yaml"
    hint = f" (did you mean {own!r}?)" if Path(own).is_file() else suggestion(text, names())
    raise FileNotFoundError(
        f"no profile {text!r}{hint}; known: {', '.join(names())}; or give the path of a .yaml file"
    )


def new(name: str, video_model: str, prompts: str | None = None, *, packages: bool = False) -> Path:
    """Write ``NAME.yaml`` into the current folder: a profile in which nothing is paid.

    The video model is a function, ``FILE.py:FUNCTION``, or a pipeline of diffusers, by its folder
    or hub id. `packages`: all other models are those of the extra ``real``.
    """
    path, folder = Path(f"{name}.yaml"), Path(video_model).expanduser()
    if not (named := SAFE_ID.fullmatch(name)) or path.exists():
        why = "exists" if named else "is no name of letters, digits, dots and dashes"
        raise ValueError(f"{path} {why}; choose another name")
    kind, model = "diffusers", video_model
    if function := CALL.fullmatch(video_model):
        kind, model = "python", f"{_absolute(function['file'] + '.py')}:{function['name']}"
    elif (folder / roles.Diffusers.MARKER).is_file():
        model = folder.absolute()
    elif folder.exists() or not HUB_ID.fullmatch(video_model):
        raise ValueError(
            f"{video_model} is no video model; expected FILE.py:FUNCTION, or a pipeline of "
            f"diffusers: its hub id, or its folder, which holds {roles.Diffusers.MARKER}. For "
            "another program write a profile with kind: command (docs/profiles.md)"
        )
    dataset = "# dataset: {kind: prompts, path: FILE}   # or `squbed collect --prompts FILE`"
    if prompts is not None:
        file = prompts if prompts in PROMPT_PACKAGES else _absolute(prompts)
        dataset = f"dataset:\n  kind: prompts\n  path: {_quoted(file)}"
    template = (ROOT / "data" / "templates" / f"{kind}.yaml").read_text(encoding="utf-8")
    base = "base/packages.yaml" if packages else "base/free.yaml"
    text = template.format(name=name, base=base, dataset=dataset, model=_quoted(model))
    path.write_text(text, encoding="utf-8")
    return path


def _absolute(path: str) -> Path:
    """Return the absolute path of a file that a user names in the current folder."""
    file = Path(path).expanduser().absolute()
    if not file.is_file():
        raise FileNotFoundError(f"no file {file}; check the path")
    return file


def _quoted(value: object) -> str:
    """Return a text as YAML has it, on one line."""
    return json.dumps(str(value), ensure_ascii=False)


ADDED = {"clip.kind": "open_clip", "refiner.similarity": 0.4, "refiner.unwanted": []}
ADDED |= {"refiner.opening": ""}
"""Settings that older archives do not record, with what they were."""


def differences(old: Mapping, new: Mapping, *, where: str = "") -> list[str]:
    """List in words the differences of two resolved profiles that change samples."""
    found = []
    for key in sorted(old.keys() | new.keys(), key=str):
        name = f"{where}{key}"
        a, b = (side.get(key, ADDED.get(name)) for side in (old, new))
        if a == b or name in NOT_SAMPLED:
            continue
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, where=f"{name}.")
        else:
            there, here = (text if len(text := str(v)) <= 40 else f"{text[:12]}..." for v in (a, b))
            found.append(f"{name} is {there} there and {here} here")
    return found


def _read(path: Path, seen: tuple[Path, ...]) -> dict:
    """Read a profile's file, merged over the profile that it extends."""
    if path in seen:
        chain = " -> ".join(p.stem for p in (*seen, path))
        raise ValueError(f"profile {path.stem} extends itself: {chain}; break the circle")
    settings = plain_yaml.read(path, "profile")
    base = settings.pop("extends", None)
    if base is None:
        return settings
    files = [folder / str(base) for folder in (path.parent, FOLDER) if str(base).endswith(".yaml")]
    parent = next((file for file in files if file.is_file()), None) or find(base)
    return _merge(_read(parent, (*seen, path)), settings)


def _merge(base: dict, over: dict) -> dict:
    """Merge one mapping over another; a role of another kind takes nothing from the old one.

    Nor does a video model of another kind take the old one's twin.
    """
    nested = {
        key: _merge(base[key], value)
        for key, value in over.items()
        if isinstance(value, dict)
        and isinstance(base.get(key), dict)
        and value.get("kind", base[key].get("kind")) == base[key].get("kind")
    }
    if "video_model" in over.keys() - nested.keys() and base.get("twin"):
        return _merge(base | {"twin": None}, over)
    return base | over | nested
