"""A video model as a command, which writes one mp4 into the folder that it is given."""

import sys

from python_model import draw

from squbed_utils import video

prompt, seed, output = sys.argv[1:]
video.write(f"{output}/video.mp4", draw(prompt, int(seed)), fps=8)
