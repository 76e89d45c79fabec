"""The safety checker that Cosmos pipelines ask about prompts and videos."""

import numpy as np
import torch


def guardrail(wanted: bool) -> object:
    """Return the Cosmos guardrail, or an object that lets everything pass.

    A refused prompt or video raises ValueError when it is made.

    Raises
    ------
    RuntimeError
        If the guardrail is wanted and its package is not installed.
    """
    if not wanted:
        return _LetPass()
    try:
        from cosmos_guardrail import CosmosSafetyChecker
    except ImportError as error:
        raise RuntimeError(
            "the guardrail of Cosmos needs the package cosmos_guardrail, which is not installed; "
            "run `pip install cosmos_guardrail`, or, where the model's licence allows it, set "
            "video_model.guardrail: false in the profile"
        ) from error
    checker = CosmosSafetyChecker()
    check = checker.check_video_safety

    def check_or_refuse(frames: np.ndarray) -> np.ndarray:
        checked = check(frames)
        if checked is None:
            raise ValueError("the Cosmos guardrail refuses the generated video")
        return checked

    checker.check_video_safety = check_or_refuse
    return checker


class _LetPass:
    """Has what the pipelines use of a checker."""

    device, dtype = torch.device("cpu"), torch.float32

    def to(self, *where: object) -> "_LetPass":
        return self

    def check_text_safety(self, prompt: str) -> bool:
        return True

    def check_video_safety(self, frames: np.ndarray) -> np.ndarray:
        return frames
