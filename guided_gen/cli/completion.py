"""What a shell is offered for a statement, a model and a policy; click completes commands, options and files by itself."""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Have the shell complete names of files."""
    return [CompletionItem(incomplete, type="file")]


def models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The known models, or else files and folders."""
    from ..engine.models.known import KNOWN_MODELS

    return matching(KNOWN_MODELS, incomplete) or files(ctx, param, incomplete)


def policies(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from ..engine.policy_names import POLICIES

    return matching(POLICIES, incomplete)


def matching(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Those of `names` that go on with what is typed."""
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
