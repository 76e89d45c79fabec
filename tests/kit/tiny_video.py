"""The smallest pipelines of each family of video models, untrained, saved as a user's would lie."""

from pathlib import Path

import torch
from diffusers import (
    AnimateDiffPipeline,
    AutoencoderKL,
    AutoencoderKLCogVideoX,
    AutoencoderKLHunyuanVideo15,
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    ClassifierFreeGuidance,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    Cosmos2_5_PredictBasePipeline,
    Cosmos2TextToImagePipeline,
    Cosmos2VideoToWorldPipeline,
    CosmosTransformer3DModel,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideo15Pipeline,
    HunyuanVideo15Transformer3DModel,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    MotionAdapter,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from transformers import (
    ByT5Tokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLTextConfig,
    Qwen2_5_VLTextModel,
    T5Config,
    T5EncoderModel,
)

from squbed_utils.models.diffusion import guardrail
from training import language

CHAT = "{% for m in messages %}{{ m.content if m.content is string else m.content[0].text }} "
CHAT += "{% endfor %}"


def t5(vocabulary: int) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(vocab_size=vocabulary, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    )


def wan_vae() -> AutoencoderKLWan:
    return AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1],
        num_res_blocks=1,
        attn_scales=[],
        temperal_downsample=[False, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
        scale_factor_spatial=4,
        scale_factor_temporal=2,
    )


def cosmos_transformer(channels: int, **changes: object) -> CosmosTransformer3DModel:
    return CosmosTransformer3DModel(
        in_channels=channels,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        text_embed_dim=16,
        adaln_lora_dim=4,
        max_size=(4, 32, 32),
        extra_pos_embed_type=None,
        **changes,
    )


def cosmos2(folder: Path) -> dict:
    """Save both halves; return the settings of a profile."""
    halves = {"image": (Cosmos2TextToImagePipeline, 4), "video": (Cosmos2VideoToWorldPipeline, 5)}
    for half, (pipeline, channels) in halves.items():
        tokenizer = language.new_tokenizer()
        made = pipeline(
            text_encoder=t5(len(tokenizer)),
            tokenizer=tokenizer,
            transformer=cosmos_transformer(channels),
            vae=wan_vae(),
            scheduler=FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True),
            safety_checker=guardrail(False),
        )
        made.register_modules(safety_checker=None)
        made.save_pretrained(folder / half)
    paths = {"path": str(folder / "video"), "image_model": str(folder / "image")}
    return paths | {"guardrail": False, "options": {"max_sequence_length": 24}}


def cosmos25(folder: Path) -> dict:
    tokenizer = language.new_tokenizer()
    tokenizer.chat_template = CHAT
    text = {"vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16}
    text |= {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    text |= {"rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}}
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2}
    vision |= {"out_hidden_size": 16, "fullatt_block_indexes": [0]}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision)
    made = Cosmos2_5_PredictBasePipeline(
        text_encoder=Qwen2_5_VLForConditionalGeneration(config),
        tokenizer=tokenizer,
        transformer=cosmos_transformer(5),
        vae=wan_vae(),
        scheduler=UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction"),
        safety_checker=guardrail(False),
    )
    made.register_modules(safety_checker=None)
    made.save_pretrained(folder)
    return {"path": str(folder), "guardrail": False, "options": {"max_sequence_length": 24}}


def cogvideox(folder: Path) -> dict:
    tokenizer = language.new_tokenizer()
    vae = AutoencoderKLCogVideoX(
        block_out_channels=(4, 4, 4, 4),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    )
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=4,
        time_embed_dim=2,
        text_embed_dim=16,
        num_layers=1,
        sample_width=4,
        sample_height=4,
        sample_frames=9,
        max_text_seq_length=24,
    )
    CogVideoXPipeline(
        tokenizer=tokenizer,
        text_encoder=t5(len(tokenizer)),
        vae=vae,
        transformer=transformer,
        scheduler=CogVideoXDDIMScheduler(),
    ).save_pretrained(folder)
    return {"path": str(folder), "options": {"max_sequence_length": 24}}


def ltx(folder: Path) -> dict:
    tokenizer = language.new_tokenizer()
    vae = AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
    )
    transformer = LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=2,
        attention_head_dim=16,
        cross_attention_dim=32,
        num_layers=1,
        caption_channels=16,
    )
    LTXPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae,
        text_encoder=t5(len(tokenizer)),
        tokenizer=tokenizer,
        transformer=transformer,
    ).save_pretrained(folder)
    return {"path": str(folder), "options": {"max_sequence_length": 24}}


def hunyuan15(folder: Path) -> dict:
    tokenizer = language.new_tokenizer()
    tokenizer.chat_template = CHAT
    config = Qwen2_5_VLTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        rope_scaling={"type": "mrope", "mrope_section": [1, 1, 2]},
    )
    vae = AutoencoderKLHunyuanVideo15(
        latent_channels=4,
        block_out_channels=(16, 16, 16, 16, 16),
        layers_per_block=1,
        spatial_compression_ratio=16,
        temporal_compression_ratio=4,
    )
    transformer = HunyuanVideo15Transformer3DModel(
        in_channels=9,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        num_refiner_layers=1,
        text_embed_dim=16,
        text_embed_2_dim=16,
        image_embed_dim=8,
        rope_axes_dim=(4, 6, 6),
        task_type="t2v",
    )
    HunyuanVideo15Pipeline(
        text_encoder=Qwen2_5_VLTextModel(config),
        tokenizer=tokenizer,
        transformer=transformer,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(),
        text_encoder_2=t5(384),
        tokenizer_2=ByT5Tokenizer(),
        guider=ClassifierFreeGuidance(guidance_scale=6.0),
    ).save_pretrained(folder)
    return {"path": str(folder)}


def animatediff(folder: Path) -> dict:
    """Save a pipeline of a class that has no family; its call's defaults make 16 frames of 32."""
    torch.manual_seed(0)
    tokenizer = language.new_tokenizer()
    tokenizer.model_max_length = 24
    text = {"vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16}
    text |= {"num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 24}
    channels = {"block_out_channels": (8, 8)}
    unet = UNet2DConditionModel(
        sample_size=16,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=2,
        **channels,
    )
    motion = {"motion_layers_per_block": 1, "motion_norm_num_groups": 2}
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        norm_num_groups=2,
        **channels,
    )
    AnimateDiffPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(CLIPTextConfig(**text)),
        tokenizer=tokenizer,
        unet=unet,
        motion_adapter=MotionAdapter(motion_num_attention_heads=2, **motion, **channels),
        scheduler=DDIMScheduler(),
    ).save_pretrained(folder)
    return {"path": str(folder), "fps": 8}


BUILDERS = {
    "cosmos2": cosmos2,
    "cosmos2.5": cosmos25,
    "cogvideox": cogvideox,
    "ltx": ltx,
    "hunyuan1.5": hunyuan15,
}


def make(family: str, folder: Path) -> dict:
    """Save an untrained pipeline; return the settings of its profile's video model."""
    torch.manual_seed(0)
    settings = {"family": family, "height": 32, "width": 32, "frames": 9, "fps": 8, "steps": 2}
    return settings | BUILDERS[family](folder)
