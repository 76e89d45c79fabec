"""The smallest untrained checkpoints of the encoders' and language models' classes, in folders."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    CLIPImageProcessor,
    CLIPVisionConfig,
    GitConfig,
    GitForCausalLM,
    GitProcessor,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    VideoMAEConfig,
    VideoMAEImageProcessor,
    VideoMAEModel,
    VideoPrismClipModel,
    VideoPrismConfig,
    VideoPrismVisionConfig,
    VideoPrismVisionModel,
    VJEPA2Config,
    VJEPA2Model,
    VJEPA2VideoProcessor,
    XCLIPConfig,
    XCLIPModel,
)
from transformers.models.llava_onevision import LlavaOnevisionVideoProcessor

TEMPLATE = "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} {% endfor %}"
TEMPLATE += "{% if add_generation_prompt %}assistant :{% endif %}"
WORDS = ["yes", "no", "food", "people", "a", "red", "circle", "user", "assistant", ":"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
SMALL |= {"intermediate_size": 16}


def chat(folder: Path, template: str | None = TEMPLATE) -> Path:
    """Save a Llama of a few words with a chat template."""
    torch.manual_seed(0)
    words = {word: i for i, word in enumerate(["<pad>", "<unk>", "</s>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="</s>"
    )
    fast.chat_template = template
    fast.save_pretrained(folder)
    config = LlamaConfig(vocab_size=len(fast), num_key_value_heads=2, **SMALL)
    config.eos_token_id, config.bos_token_id, config.pad_token_id = 2, None, 0
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def nli(folder: Path, labels: list[str], probable: int) -> Path:
    """Save a BERT that finds one label the most probable, whatever the pair."""
    torch.manual_seed(0)
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "circle"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(vocab_size=len(words), num_labels=len(labels), **SMALL)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: i for i, label in enumerate(labels)}
    model = BertForSequenceClassification(config)
    torch.nn.init.zeros_(model.classifier.weight)
    model.classifier.bias.data[probable] = 1.0
    model.save_pretrained(folder)
    return folder


def video_encoder(family: str, folder: Path) -> Path:
    """Save a video encoder of a family, and its preparation of frames to 32 pixels a side."""
    torch.manual_seed(0)
    model, processor = FAMILIES[family]()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _videomae():
    config = VideoMAEConfig(image_size=32, patch_size=16, num_frames=4, **SMALL)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    return VideoMAEModel(config), VideoMAEImageProcessor(**size)


def _xclip():
    text = {"vocab_size": 50, "max_position_embeddings": 8, **SMALL}
    vision = {"image_size": 32, "patch_size": 16, "num_frames": 4, **SMALL}
    vision |= {"mit_hidden_size": 16, "mit_intermediate_size": 16, "mit_num_attention_heads": 2}
    prompt = {"prompt_num_attention_heads": 2, "prompt_layers": 1}
    config = XCLIPConfig(text_config=text, vision_config=vision, projection_dim=16, **prompt)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    return XCLIPModel(config), CLIPImageProcessor(**size)


def _vjepa2():
    sizes = {"pred_hidden_size": 12, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
    config = VJEPA2Config(
        crop_size=32,
        frames_per_clip=4,
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        **sizes,
    )
    return VJEPA2Model(config), VJEPA2VideoProcessor(crop_size={"height": 32, "width": 32})


VIDEOPRISM = {"image_size": 36, "num_frames": 4, "hidden_size": 16, "intermediate_size": 16}
VIDEOPRISM |= {"num_attention_heads": 2, "num_spatial_layers": 1, "num_temporal_layers": 1}
VIDEOPRISM |= {"num_auxiliary_layers": 1}


def _videoprism_processor():
    return LlavaOnevisionVideoProcessor(size={"height": 36, "width": 36})


def _videoprism():
    text = {"vocab_size": 50, "max_position_embeddings": 8, **SMALL}
    config = VideoPrismConfig(vision_config=VIDEOPRISM, text_config=text)
    return VideoPrismClipModel(config), _videoprism_processor()


def _videoprism_vision():
    return VideoPrismVisionModel(VideoPrismVisionConfig(**VIDEOPRISM)), _videoprism_processor()


FAMILIES = {
    "videomae": _videomae,
    "xclip": _xclip,
    "vjepa2": _vjepa2,
    "videoprism": _videoprism,
    "videoprism_vision_model": _videoprism_vision,
}

PICTURES = {"image_size": 32, "patch_size": 16, **SMALL}
CROP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
VARIED = {"initializer_range": 1.0}
"""Weights so wide that what an untrained model says depends on what it sees."""


def captioner(kind: str, folder: Path) -> Path:
    """Save a model that makes text of pictures, none of which leaves it speechless."""
    torch.manual_seed(1)
    folder.mkdir()
    model, processor = CAPTIONERS[kind](folder)
    model.generation_config.eos_token_id = None  # it says as much as it may
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _bert_tokenizer(folder):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(words))
    ids = {"vocab_size": len(words), "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    return BertTokenizerFast(str(folder / "vocab.txt")), ids | {"max_position_embeddings": 32}


def _blip(folder):
    tokenizer, ids = _bert_tokenizer(folder)
    text = {**SMALL, **ids, **VARIED, "encoder_hidden_size": 16, "sep_token_id": 3}
    config = BlipConfig(text_config=text, vision_config={**PICTURES, **VARIED}, projection_dim=16)
    pictures = BlipImageProcessor(size={"height": 32, "width": 32})
    return BlipForConditionalGeneration(config), BlipProcessor(pictures, tokenizer)


def _git(folder):
    tokenizer, ids = _bert_tokenizer(folder)
    config = GitConfig(vision_config={**PICTURES, **VARIED}, **SMALL, **ids, **VARIED)
    return GitForCausalLM(config), GitProcessor(CLIPImageProcessor(**CROP), tokenizer)


def _looking_tokenizer(*marks):
    """Return a tokenizer of a few words and the marks of pictures, which are numbered from 3."""
    words = ["<pad>", "<unk>", "</s>", *marks, *WORDS]
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, additional_special_tokens=list(marks), **special
    )


def _llava(folder):
    fast = _looking_tokenizer("<image>")
    text = LlamaConfig(vocab_size=len(fast), num_key_value_heads=2, **SMALL, **VARIED)
    text.eos_token_id, text.bos_token_id, text.pad_token_id = 2, None, 0
    vision = CLIPVisionConfig(**PICTURES, **VARIED)
    parts = {"vision_config": vision, "text_config": text}
    config = LlavaConfig(**parts, image_token_index=3, vision_feature_layer=-1, **VARIED)
    processor = LlavaProcessor(
        CLIPImageProcessor(**CROP),
        fast,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=LOOKING,
    )
    return LlavaForConditionalGeneration(config), processor


def _qwen(folder):
    marks = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    fast = _looking_tokenizer(*marks)
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
    text = {"vocab_size": len(fast), "num_key_value_heads": 2, "rope_parameters": rope}
    text |= {"bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0, **SMALL, **VARIED}
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, **VARIED}
    vision |= {"out_hidden_size": 16, "fullatt_block_indexes": [0], "window_size": 56}
    ids = {"image_token_id": 3, "video_token_id": 4}
    ids |= {"vision_start_token_id": 5, "vision_end_token_id": 6}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=56 * 56),
        fast,
        Qwen2VLVideoProcessor(),
        chat_template=LOOKING.replace("<image>", f"{marks[2]} {marks[0]} {marks[3]}"),
    )
    return Qwen2_5_VLForConditionalGeneration(config), processor


LOOKING = "{% for m in messages %}{% for part in m['content'] %}"
LOOKING += "{{ '<image>' if part['type'] == 'image' else part['text'] }} "
LOOKING += "{% endfor %}{% endfor %}assistant :"

CAPTIONERS = {"blip": _blip, "git": _git, "llava": _llava, "qwen2.5-vl": _qwen}
