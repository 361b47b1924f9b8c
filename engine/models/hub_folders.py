"""Models of the Hugging Face hub as folders: configuration, tokenizer and safetensors in the hub's own cache."""

from __future__ import annotations

from pathlib import Path

from ..errors import ModelError
from .sources import SourceFailedError, hub_failure, require_hub
from .tensors import read_index


def fetch_hub_folder(repo: str, *, fetch: bool) -> Path:
    """The folder of a hub model with configuration, tokenizer and safetensors, from the hub's own cache or downloaded there.

    Raises ModelError when the model does not exist, has no safetensors, or cannot be fetched.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo, local_files_only=True))
        if has_weights(folder):
            return folder
    except LocalEntryNotFoundError:
        pass
    if not fetch:
        raise ModelError(f"{repo} is not on this machine yet; fetch it with `guided-gen models pull {repo}`.")
    wanted = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
    # Subfolders hold other formats of the same weights, `consolidated` files a second copy.
    unwanted = ["*/*", "consolidated*"]
    try:
        require_hub(repo)
        try:
            folder = Path(snapshot_download(repo, allow_patterns=wanted, ignore_patterns=unwanted))
        except Exception as error:  # the hub's client raises its own, its HTTP library's and the system's errors
            raise hub_failure(error) from error
    except SourceFailedError as error:
        raise ModelError(
            f"{repo} could not be fetched from the Hugging Face hub: {error}; check the name and the network, or pass the path "
            "of a model folder."
        ) from error
    if not has_weights(folder):
        raise ModelError(f"{repo} has no config.json with safetensors weights, so it cannot be loaded.")
    return folder


def has_weights(folder: Path) -> bool:
    """Whether the folder has a configuration and all its safetensors, including every shard that an index names. Raises
    ModelError for an index that cannot be read.
    """
    index = folder / "model.safetensors.index.json"
    if not (folder / "config.json").is_file():
        return False
    if index.is_file():
        try:
            return all((folder / shard).is_file() for shard in set(read_index(index).values()))
        except ModelError as error:
            raise ModelError(str(error)) from error
    return any(folder.glob("*.safetensors"))
