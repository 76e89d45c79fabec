"""Open an archive, or a dataset that was exported from one."""

import re
from pathlib import Path

from squbed_utils.archive import remote
from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.archive.verify import verify_sums
from squbed_utils.files import SAMPLES

ON_HUB = re.compile(r"(?P<repository>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w.-]*))?")


def load(source: Path | str, *, verify: bool = False) -> Archive:
    """Open an archive, an exported dataset, or one on the Hugging Face hub.

    Every notebook runs on it (``squbed figures --samples FOLDER``), without any model.

    Parameters
    ----------
    source : path or str
        A folder; the URL of an archive's home; or a dataset's name on the hub, ``owner/name``, with
        ``@revision`` if wanted, which is downloaded once, to ``data/samples/hub/``.
    verify : bool
        Whether to compare every file of an exported dataset with its SHA256SUMS.

    Returns
    -------
    Archive

    Raises
    ------
    FileNotFoundError
        If there is no such folder, and no dataset of that name can be reached.
    ValueError
        If the archive is not finished, a newer version wrote it, it is an export to stream, or a
        file is not what was published.
    """
    folder = remote.fetch(source) if remote.is_url(source) else Path(source).expanduser()
    if not folder.is_dir():
        folder = _download(str(source))
    if not (folder / "profile.yaml").is_file() and any(folder.glob("videos-*.tar")):
        raise ValueError(
            f"{folder} is a dataset to stream, which webdataset reads; the notebooks read one that "
            "`squbed export --format hf` wrote"
        )
    if verify:
        _verify(folder)
    return open_archive(folder)


def _verify(folder: Path) -> None:
    wrong = verify_sums(folder)
    if wrong:
        raise ValueError(
            f"{len(wrong)} files of {folder} are not what was published, {wrong[0]} the first; "
            "download the dataset again"
        )


def _download(name: str) -> Path:
    """Fetch a dataset as plain files: the hub's own cache holds links that lead out of it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    found = ON_HUB.fullmatch(name)
    if not found:
        raise FileNotFoundError(
            f"no folder {name}; expected an archive, an exported dataset, or the name of one on "
            "the hub, as owner/name"
        )
    folder = SAMPLES / "hub" / name.replace("/", "--")
    try:
        snapshot_download(
            found["repository"],
            repo_type="dataset",
            revision=found["revision"],
            local_dir=folder,
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise FileNotFoundError(
            f"no folder {name}, and the hub gives no such dataset ({reason}); correct the name, or "
            "download it where there is a network and give its folder"
        ) from error
    return folder
