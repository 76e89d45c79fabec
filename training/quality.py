"""How good the world's models are on fresh draws; the model card's numbers."""

from collections import Counter
from pathlib import Path

import numpy as np
import open_clip
import torch
from diffusers import DiffusionPipeline
from scipy.stats import chisquare
from sentence_transformers import SentenceTransformer
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoTokenizer,
)

from squbed_utils.files import seed_of
from squbed_utils.world.render import FRAMES, SIDE, render
from squbed_utils.world.scenes import ATTRIBUTES, complete, entails, parse, recognise
from training.draw import any_scene, caption, clips, partial
from training.encoders import SEEN_IN_A_FRAME
from training.language import ARROW, MAX_TOKENS
from training.tasks import task_caption

SAMPLING = {"num_inference_steps": 12, "guidance_scale": 1.0}
"""How the video model is sampled here and in the world's profiles."""

VIDEOS = 6
"""Videos of one prompt, as many as in the profile ``world``."""


def generator_of(*names: object) -> np.random.Generator:
    """Return a NumPy generator seeded by names."""
    return np.random.default_rng(seed_of("quality", *names))


def agreement(asked: list[dict[str, str]], named: list[dict[str, str]]) -> dict[str, float]:
    """Return, by attribute, the fraction of scenes that agree."""
    pairs = list(zip(asked, named, strict=True))
    return {a: float(np.mean([s[a] == r[a] for s, r in pairs])) for a in ATTRIBUTES}


def recogniser_accuracy(folder: Path, count: int = 2160) -> dict[str, float]:
    """Return, by attribute, the fraction of fresh renderings that the recogniser names rightly."""
    model = AutoModelForImageClassification.from_pretrained(folder / "recogniser").eval()
    rng = generator_of("recogniser")
    scenes = [any_scene(rng) for _ in range(count)]
    named = []
    for start in range(0, count, 240):
        part = scenes[start : start + 240]
        named += recognise(model, np.stack([render(scene, rng) for scene in part]))
    return agreement(scenes, named)


@torch.inference_mode()
def reconstruction(vae: torch.nn.Module, count: int = 256) -> float:
    """Return the VAE's mean PSNR on fresh clips of the whole world, in dB."""
    rng = generator_of("vae")
    videos = clips([any_scene(rng) for _ in range(count)], rng)
    ratios = []
    for batch in videos.split(32):
        decoded = vae.decode(vae.encode(batch).latent_dist.mode()).sample
        error = (decoded.clamp(-1, 1) - batch).square().mean((1, 2, 3, 4)) / 4
        ratios += (-10 * error.log10()).tolist()
    return float(np.mean(ratios))


def generate(pipeline: DiffusionPipeline, prompts: list[str]) -> np.ndarray:
    """Generate one video a prompt: uint8, shape (prompts, 9, 32, 32, 3)."""
    videos = pipeline(
        prompt=prompts,
        height=SIDE,
        width=SIDE,
        num_frames=FRAMES,
        generator=[torch.Generator().manual_seed(i) for i in range(len(prompts))],
        max_sequence_length=MAX_TOKENS,
        output_type="np",
        **SAMPLING,
    ).frames
    return np.round(255 * videos).astype(np.uint8)


def generation(
    pipeline: DiffusionPipeline, folder: Path, coverage: dict[str, int], prompts: int = 7
) -> dict[str, dict[str, float]]:
    """Return what videos of fully specified prompts show, by the subject's training clips.

    By attribute the share of videos that agree; ``distinct``, the mean number of subjects among a
    prompt's videos; ``sure_and_right`` and ``sure_and_wrong``, the shares of prompts of which all
    videos show the one subject, and it is, or is not, the one asked for.
    """
    model = AutoModelForImageClassification.from_pretrained(folder / "recogniser").eval()
    table = {}
    for level in sorted(set(coverage.values())):
        rng = generator_of("generation", level)
        subjects = [s for s, count in coverage.items() if count == level] * prompts
        scenes = [complete({"shape": subject}, rng) for subject in subjects]
        named = []
        for start in range(0, len(scenes), 8):
            texts = [caption(scene, rng) for scene in scenes[start : start + 8]]
            named += recognise(model, generate(pipeline, [t for t in texts for _ in range(VIDEOS)]))
        shown = [{r["shape"] for r in named[k : k + VIDEOS]} for k in range(0, len(named), VIDEOS)]
        sure = np.array([len(shapes) == 1 for shapes in shown])
        right = np.array([s["shape"] in shapes for s, shapes in zip(scenes, shown, strict=True)])
        table[str(level)] = agreement([s for s in scenes for _ in range(VIDEOS)], named) | {
            "distinct": float(np.mean([len(shapes) for shapes in shown])),
            "sure_and_right": float(np.mean(sure & right)),
            "sure_and_wrong": float(np.mean(sure & ~right)),
        }
    return table


@torch.inference_mode()
def refiner_quality(folder: Path, count: int = 2000) -> dict[str, object]:
    """Return the share of draws that keep the prompt, and chi-squared p-values of added values.

    Prompts are said as the tasks say them. Under the grammar every value of a missing attribute is
    equally likely; one test an attribute.
    """
    model = AutoModelForCausalLM.from_pretrained(folder / "refiner").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "refiner")
    rng = generator_of("refiner")
    torch.manual_seed(seed_of("quality", "refiner"))
    counts = {a: Counter(dict.fromkeys(values, 0)) for a, values in ATTRIBUTES.items()}
    compatible = 0
    for _ in range(count):
        prompt = task_caption(partial(any_scene(rng), rng), rng)
        answer = draw_refinement(model, tokenizer, prompt)
        compatible += keeps(answer, prompt)
        if keeps(answer, prompt):
            for a in ATTRIBUTES.keys() - parse(prompt).keys():
                counts[a][parse(answer)[a]] += 1
    pvalues = {a: float(chisquare(list(c.values())).pvalue) for a, c in counts.items()}
    return {"compatible": compatible / count, "chi_squared_p": pvalues}


def draw_refinement(model: torch.nn.Module, tokenizer: object, prompt: str) -> str:
    """Draw one latent prompt at temperature 1."""
    ids = tokenizer(f"{prompt} {ARROW}", return_tensors="pt", add_special_tokens=False)
    drawn = model.generate(
        **ids, do_sample=True, top_k=0, max_new_tokens=MAX_TOKENS, pad_token_id=0
    )
    return tokenizer.decode(drawn[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)


def keeps(answer: str, prompt: str) -> bool:
    """Say whether a drawn text is a full sentence of the grammar that entails the prompt."""
    try:
        return len(parse(answer)) == len(ATTRIBUTES) and entails(answer, prompt)
    except ValueError:
        return False


@torch.inference_mode()
def retrieval(folder: Path, count: int = 256) -> dict[str, float]:
    """Return each encoder's top-1 accuracy of finding a scene again among `count`.

    The sentence encoder looks for another phrasing, the video encoder for another path of the same
    scene, CLIP for the caption of a frame.
    """
    rng = generator_of("retrieval")
    scenes = [any_scene(rng) for _ in range(count)]
    texts, videos = [caption(s, rng) for s in scenes], clips(scenes, rng)
    sentences = SentenceTransformer(str(folder / "sentence_encoder"), device="cpu")
    encoder = AutoModel.from_pretrained(folder / "video_encoder").eval()
    name = f"local-dir:{folder / 'clip'}"
    clip = open_clip.create_model_and_transforms(name)[0].eval()
    seen = [caption({a: s[a] for a in SEEN_IN_A_FRAME}, rng) for s in scenes]
    return {
        "sentence_encoder": _top1(
            sentences.encode(texts), sentences.encode([caption(s, rng) for s in scenes])
        ),
        "video_encoder": _top1(
            _mean_token(encoder, videos), _mean_token(encoder, clips(scenes, rng))
        ),
        "clip": _top1(
            clip.encode_image(videos[:, :, FRAMES // 2]).numpy(),
            clip.encode_text(open_clip.get_tokenizer(name)(seen)).numpy(),
        ),
    }


def _mean_token(encoder: torch.nn.Module, videos: torch.Tensor) -> np.ndarray:
    return encoder(videos.transpose(1, 2)).last_hidden_state.mean(1).numpy()


def _top1(a: np.ndarray, b: np.ndarray) -> float:
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    return float(np.mean((unit[0] @ unit[1].T).argmax(1) == np.arange(len(a))))
