"""Rewards of a judge that `mtrl serve` serves, for trainers of image generators (docs/judging-and-serving.md).

    rewards([image, ...], ["a red square", ...], "http://127.0.0.1:8080", "seetrue")  ->  [a float, ...]

One file that imports nothing of mtrl: copy it next to the trainer. An image is a PIL image, a tensor (C, H, W) of uint8
or of floats from 0 to 1, or an array (H, W, C) of uint8. Any error is raised: no reward is ever made up.
"""

import io
import json
import os

import requests
from PIL import Image

BATCH = 16  # images per request
SESSION = requests.Session()
for scheme in ("http://", "https://"):  # 503: the judge is starting again, and the server says when to come back
    retry = requests.adapters.Retry(8, backoff_factor=1, status_forcelist=[503], allowed_methods=None)
    SESSION.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=64, max_retries=retry))


def png(image):
    if hasattr(image, "cpu"):
        image = image.detach().cpu()
        image = (image.float() * 255).round().clamp(0, 255).byte() if image.is_floating_point() else image
        image = image.permute(1, 2, 0).numpy()
    buffer, image = io.BytesIO(), image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.convert("RGB").save(buffer, "PNG", compress_level=1)  # a quarter of the time, a sixth more bytes
    return buffer.getvalue()


def rewards(images, prompts, url, task, field="caption", of=None):
    """A float per image. `field`: what the task's prompt calls the text; None: it has none. `of`: the verdict that is
    rewarded, such as "no" where yes means unsafe."""
    if field and len(prompts) != len(images):
        raise ValueError(f"{len(images)} images and {len(prompts)} prompts")
    files = [("images", ("image.png", png(image), "image/png")) for image in images]
    key, found = os.environ.get("MTRL_API_KEY"), []
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    for at in range(0, len(files), BATCH):
        texts = {field: list(prompts[at : at + BATCH])} if field else {}
        data = {"task": task, "fields": json.dumps(texts), **({"of": of} if of else {})}
        reply = SESSION.post(f"{url}/v1/reward", data=data, files=files[at : at + BATCH], headers=headers, timeout=600)
        if reply.status_code != 200:
            raise RuntimeError(f"{url} answered {reply.status_code}: {reply.text[:2000]}")
        found += reply.json()["rewards"]
    return found


def flow_grpo(*args, **options):
    """What flow_grpo calls: (images, prompts, metadata) -> (rewards, {})."""
    return lambda images, prompts, metadata: (rewards(images, prompts, *args, **options), {})


def compute_score(solution_image, ground_truth, server_url, task, field="caption", of=None):
    """What verl-omni calls, for one image; the prompt is its ground truth."""
    return {"score": rewards([solution_image], [ground_truth], server_url, task, field, of)[0]}
