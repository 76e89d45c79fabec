"""An archive whose home is a URL of fsspec: made in a folder here, and copied as it grows.

Claims need locks and atomic creation, which object stores lack, so samples are made in a working
folder. Each finished latent prompt is copied to the URL, its list of checksums last, so a reader
sees it whole or not at all. A run first fetches what the URL holds; so any machine can continue it,
and no sample is made twice.
"""

import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from squbed_utils import files
from squbed_utils.archive.archive import Archive, open_archive
from squbed_utils.archive.layout import ACCOUNT, ACCOUNT_LOCK, CHECKSUMS, SEAL
from squbed_utils.archive.verify import verify_sums
from squbed_utils.files import SAMPLES, inside, parse_sums, read_sums, replacing, sha256_of

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://.+")

SINGLE = re.compile(r"\w[\w-]*\.(yaml|parquet|json|sha256)|answers/[0-9a-f]+\.json")
"""Files that no list of checksums names: settings, tables, the seal, and what was paid for."""

SUMS = re.compile(r"shards/[^/]+/[0-9]+\.sha256")

PAUSE = 5.0
"""Seconds between two searches for finished latent prompts."""


def is_url(place: object) -> bool:
    """Say whether a place is a URL rather than a folder.

    >>> is_url("s3://bucket/world"), is_url("data/samples/world"), is_url(None)
    (True, False, False)
    """
    return isinstance(place, str) and URL.fullmatch(place) is not None


def fetch(url: str) -> Path:
    """Fetch the files of a URL that are not here yet, and return their folder."""
    home = Home(url)
    if not home.names():
        raise FileNotFoundError(f"there is nothing at {url}; correct the URL")
    if damaged := home.pull():
        raise ValueError(f"{damaged}; `squbed collect --output {url}` makes them again")
    return home.folder


@contextmanager
def mirrored(url: str) -> Iterator[Path]:
    """Yield the working folder of a URL to a run, and copy to the URL what the run finishes."""
    home, end = Home(url), threading.Event()
    if damaged := home.pull():
        tqdm.write(f"{damaged}; their latent prompts are made again", file=sys.stderr)
    thread = threading.Thread(target=_follow, args=(home, end), daemon=True)
    thread.start()
    try:
        yield home.folder
    finally:
        end.set()
        thread.join()
        home.push()


def _follow(home: "Home", end: threading.Event) -> None:
    """Copy what is finished to the URL until `end` is set; the last push repeats what failed."""
    while not end.wait(PAUSE):
        try:
            home.push()
        except OSError as error:
            tqdm.write(f"{error}; going on, and trying again", file=sys.stderr)


class Home:
    """A URL of any protocol that fsspec knows (``s3://``, ``gs://``, ...) and its folder here."""

    def __init__(self, url: str) -> None:
        import fsspec

        digest = hashlib.sha256(url.encode()).hexdigest()[:8]
        self.url, self.folder = url, SAMPLES / "homes" / f"{PurePosixPath(url).name}-{digest}"
        try:
            self.files, self.root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ValueError(
                f"{url} cannot be used ({error}); install the package of its protocol, or correct "
                "the URL"
            ) from error
        self.there: dict[str, str] = {}  # the SHA-256 of what is known to be home

    def names(self) -> list[str]:
        """Return the files at the URL, by their paths within the archive."""
        with self._reached():
            self.files.invalidate_cache()
            found = self.files.find(self.root)
        return sorted(name.removeprefix(self.root).lstrip("/") for name in found)

    def pull(self) -> str:
        """Fetch the files that are only at the URL; say which are damaged or missing, if any."""
        names, damaged = self.names(), []
        for name in names:
            if SINGLE.fullmatch(name) and not inside(self.folder, name).exists():
                self._fetch(name)
        if ACCOUNT in names:
            self._merge_account()
        units = [name for name in names if SUMS.fullmatch(name)]
        for name in tqdm(units, "fetching", unit="latent prompt", disable=len(units) < 20):
            damaged += self._pull_unit(name)
        what = f"{len(damaged)} files at {self.url} are missing or not what was stored"
        return f"{what}, {damaged[0]} the first" if damaged else ""

    def _merge_account(self) -> None:
        """Take over what another machine has paid since this one was here: an account grows."""
        path = inside(self.folder, ACCOUNT)
        with files.locked(inside(self.folder, ACCOUNT_LOCK)):
            with self._reached():
                there = self.files.cat_file(f"{self.root}/{ACCOUNT}")
            try:
                there, here = json.loads(there), json.loads(path.read_bytes())
                most = here | {k: max(spent, here.get(k, 0)) for k, spent in there.items()}
            except (ValueError, TypeError, AttributeError, RecursionError) as error:
                raise ValueError(
                    f"{path}, or that at {self.url}, is no account: {error}"
                ) from error
            if most != here:
                files.write_text(path, json.dumps(most) + "\n")

    def _pull_unit(self, name: str) -> list[str]:
        """Fetch a latent prompt, its shard and checksums last; return its damaged files."""
        try:
            with self._reached():
                listed = self.files.cat_file(f"{self.root}/{name}")
            sums = parse_sums(listed.decode(errors="replace"), f"{self.url}/{name}")
        except ValueError:
            return [name]
        if not inside(self.folder, name).is_file():  # else it is here, perhaps made again since
            wrong = [path for path in _shards_last(sums) if not self._fetch(path, sums[path])]
            if wrong:
                return wrong
            self._fetch(name)
        self.there |= sums | {name: hashlib.sha256(listed).hexdigest()}
        return []

    def _fetch(self, name: str, digest: str | None = None) -> bool:
        """Fetch a file, unless it is here; say whether it exists and has the given SHA-256."""
        target = inside(self.folder, name)
        if digest and target.is_file() and sha256_of(target) == digest:
            return True
        try:
            with replacing(target) as partial:
                with self._reached():
                    self.files.get_file(f"{self.root}/{name}", str(partial))
                if digest and sha256_of(partial) != digest:
                    raise FileNotFoundError("of that checksum")
        except FileNotFoundError:
            return False
        return True

    def push(self) -> None:
        """Copy to the URL what is finished here and not yet there, what says so last."""
        found = [*self.folder.glob("*"), *self.folder.glob("answers/*")]
        names = sorted(file.relative_to(self.folder).as_posix() for file in found)
        for name in names:
            if SINGLE.fullmatch(name) and name != SEAL:
                self._put(name, sha256_of(inside(self.folder, name)))
        for file in sorted(self.folder.glob(f"shards/*/*{CHECKSUMS}")):
            name = file.relative_to(self.folder).as_posix()
            digest = sha256_of(inside(self.folder, name))
            shard = file.with_suffix(".parquet")  # which comes last, and makes it finished
            if SUMS.fullmatch(name) and self.there.get(name) != digest and shard.is_file():
                sums = read_sums(file)
                for path in _shards_last(sums):
                    self._put(path, sums[path])
                self._put(name, digest)
        if SEAL in names:
            self._put(SEAL, sha256_of(inside(self.folder, SEAL)))

    def _put(self, name: str, digest: str) -> None:
        if self.there.get(name) != digest:
            with self._reached():
                parent = f"{self.root}/{name}".rpartition("/")[0]
                self.files.makedirs(parent, exist_ok=True)
                self.files.put_file(str(inside(self.folder, name)), f"{self.root}/{name}")
            self.there[name] = digest

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn whatever error a protocol's package raises into an OSError that names the URL."""
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:
            raise OSError(
                f"{self.url} cannot be reached ({type(error).__name__}: {error}); what is finished "
                f"is kept in {self.folder}, and the same command goes on"
            ) from error


def _shards_last(sums: dict[str, str]) -> list[str]:
    return sorted(sums, key=lambda path: (path.startswith("shards/"), path))


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

    Raises
    ------
    FileNotFoundError
        If there is no such folder, and no dataset of that name can be reached.
    ValueError
        If it is not finished, of a newer version, to be streamed, or not what was published.
    """
    folder = fetch(source) if is_url(source) else Path(source).expanduser()
    if not folder.is_dir():
        folder = _download(str(source))
    if not (folder / "profile.yaml").is_file() and any(folder.glob("videos-*.tar")):
        raise ValueError(
            f"{folder} is a dataset to stream, which webdataset reads; the notebooks read one that "
            "`squbed export --format hf` wrote"
        )
    if verify and (wrong := verify_sums(folder)):
        raise ValueError(
            f"{len(wrong)} files of {folder} are not what was published, {wrong[0]} the first; "
            "download the dataset again"
        )
    return open_archive(folder)


def _download(name: str) -> Path:
    """Download a dataset as plain files; the links in the hub's own cache lead out of it."""
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
