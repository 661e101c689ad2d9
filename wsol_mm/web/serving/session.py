"""A server from its start to its end."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsol_mm.web.access import INSTALL, access_token, run_app

from mmengine.config import Config


@dataclass(frozen=True)
class ServingTask:
    """What is to be served, and to whom.

    Attributes:
        checkpoint: Weights; None for a model that needs none.
        classes: File of class names.
        protocol: How maps become boxes.
        threshold: Threshold instead of the protocol's.
        refine: Words that say how maps are sharpened; None: as the config says.
        device: Where the model runs; None for the first GPU.
        batch_size: Images in the largest batch.
        max_wait: Milliseconds that an image waits for others.
        max_queue: Images that may wait.
        max_megabytes: Largest image file.
        max_megapixels: Largest image.
        timeout: Seconds after which a request is given up.
        host: Address to listen on.
        port: Port; 0 for a free one.
        token_file: Where the token is kept.
        label_studio: Folder of the images for which Label Studio may ask.
    """

    checkpoint: str | None
    classes: Path | None = None
    protocol: str | None = None
    threshold: float | None = None
    refine: Sequence[str] | None = None
    device: str | None = None
    batch_size: int = 16
    max_wait: int = 5
    max_queue: int = 128
    max_megabytes: int = 20
    max_megapixels: int = 50
    timeout: int = 30
    host: str = '127.0.0.1'
    port: int = 8030
    token_file: Path | None = None
    label_studio: Path | None = None


def serve_model(cfg: Config, task: ServingTask) -> None:
    """Serve a model until Ctrl-C.

    Args:
        cfg: Config of the model.
        task: What to do.

    Raises:
        ImportError: If FastAPI, uvicorn or python-multipart is missing.
        OSError: If the port is taken.
        ValueError: If checkpoint and config do not fit, there is no folder for Label Studio, or a word of
            ``refine`` is unknown.
    """
    if task.label_studio is not None and not task.label_studio.is_dir():
        raise ValueError(f'label_studio: expected a folder of images, got none at {task.label_studio}')
    try:
        import python_multipart  # noqa: F401  (which FastAPI imports when the first form comes)
        import uvicorn  # noqa: F401

        from .serving_app import serving_app
    except ImportError as error:
        raise ImportError(
            f'serve: expected FastAPI, uvicorn and python-multipart, got none ({error}): {INSTALL}'
        ) from error
    from wsol_mm.apis import LocalizationInferencer

    from .localization_service import LocalizationService, ServiceLimits

    inferencer = LocalizationInferencer(
        cfg,
        task.checkpoint,
        device=task.device,
        classes=task.classes,
        protocol=task.protocol,
        threshold=task.threshold,
        refine=task.refine,
    )
    limits = ServiceLimits(task.max_megabytes << 20, task.max_megapixels * 1_000_000, task.timeout)
    service = LocalizationService(inferencer, limits)
    token = access_token(task.host, task.token_file)
    app = serving_app(
        service,
        Path(cfg.filename or 'model').stem,
        task.batch_size,
        task.max_wait / 1000,
        task.max_queue,
        token,
        task.label_studio,
    )
    run_app(app, task.host, task.port, token, 'Model')
