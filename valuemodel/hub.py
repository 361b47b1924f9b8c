"""Value models on the Hugging Face hub, as transformers has models there."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from .made_for import PARTS, ValueModelError, value_sha256


def upload(folder: Path, beside: Path | None, repo_id: str, private: bool | None, token: str | None, message: str) -> str:
    """Upload the value model in `folder` to the repository `repo_id`, which is made where it is not there. Returns its address.

    What stands in the folder `beside` (the card, evidence and early stop, which are fitted to very weights) goes along if the
    value model there is the same. Raises ValueModelError.
    """
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory(prefix="guided-gen-value-") as temporary:
        whole = Path(temporary)
        same = beside is not None and value_sha256(beside) == value_sha256(folder)
        for source in [beside, folder] if beside is not None and same else [folder]:
            for part in PARTS:
                if (source / part).is_file():
                    shutil.copyfile(source / part, whole / part)
        try:
            api = HfApi(token=token)
            made = api.create_repo(repo_id, private=private, exist_ok=True)
            api.upload_folder(repo_id=made.repo_id, folder_path=whole, commit_message=message)
            return str(made)
        except Exception as error:  # the hub's client raises its own, its HTTP library's and the system's errors
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueModelError(f"{repo_id} could not be uploaded to the Hugging Face hub: {reason}") from error
