"""Families of diffusers' text-to-video pipelines: what each can make, and how it is called."""

from typing import NamedTuple


class Family(NamedTuple):
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
    multiple: int = 16
    stride: int = 4
    image_pipeline: str | None = None
    guidance: bool = True
    guardrail: bool = False
    rate: str | None = None
    slicing: bool = False
    float32: tuple[str, ...] = ()
    revision: str | None = None


ANY = Family("")
"""Stands for no family, of whose pipelines nothing is known."""

NOT_CHECKED = "not checked are sizes and numbers of frames, parts that need float32, and that a "
NOT_CHECKED += "video depends on its prompt and seed alone"
"""Of a pipeline without a family."""

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
