"""The dataset card: README.md of a folder of trees, made from its settings and counts alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

_HEADER = """---
license: apache-2.0
task_categories:
- text-generation
language:
- code
tags:
- forking-tokens
- process-reward
configs:
- config_name: trees
  data_files: trees/*.parquet
---

# Forking-token dataset

Judged rollouts of `{model}` on programming problems, as token trees: one row a problem. Made by `guided-gen build`.
"""
_BODY = """
## Source

Problems: `{problems}`, split `{split}`. Their statements, tests and solutions are **not** in this folder:
`guided_gen.data_builder.dataset` joins them in by id, and checks a hash of the statement.

Generator: `{model}` (SHA-256 `{model_sha256}`), computed in {precision}. Prompt template: `{template}` (`{template_hash}`).

## Settings

{settings_table}

## Counts

{counts}

## Columns

`nodes.*`: one entry a token, `parent` before child, -1 the prompt; `logprob` under the model, `sample_logprob` under the
distribution it was drawn from. `rollouts.*`: one entry a distinct rollout: `leaf`, `fork` (-1: from the prompt),
`multiplicity`, `ended` (1 end token, 2 length), `seed` and `verdict`. `metadata` (JSON): the problem, its status, which rollout
is the trunk, the branch points, and the settings.

A kept problem has a correct trunk and branches from it: a population biased by that. An excluded one has only tries, none
correct.

## Limits

Correct means that a program gave the expected output on every test. Many problems of APPS accept any valid answer while the
tests hold one, so some correct programs count as wrong; weak tests let some wrong ones pass. The generator has probably seen
such problems in training.

## Licence

The rollouts and labels: Apache-2.0, and whatever the generator's licence asks of its output. The problems, which are not
included: see their source (APPS, MBPP and HumanEval are published under MIT, CC BY 4.0 and MIT).
"""


def dataset_card(settings: Mapping[str, Any], summaries: Sequence[Mapping[str, Any]], skipped: Mapping[str, str]) -> str:
    """Markdown with the hub's header. `summaries` as `tree_folder.read_summaries`, `skipped` maps problem ids to reasons."""
    statuses = Counter(summary["status"] for summary in summaries)
    rollouts = sum(summary["rollouts"] for summary in summaries)
    correct = sum(summary["correct"] for summary in summaries)
    counts = [f"| problems {status} | {count} |" for status, count in sorted(statuses.items())]
    counts += [f"| problems skipped: {reason} | {count} |" for reason, count in sorted(Counter(skipped.values()).items())]
    counts += [f"| rollouts | {rollouts} |", f"| of them correct | {correct / max(rollouts, 1):.1%} |"]
    rows = [f"| {name} | {_shown(value)} |" for name, value in sorted(settings.items())]
    body = _BODY.format(
        **settings, settings_table="\n".join(["| | |", "|-|-|", *rows]), counts="\n".join(["| | |", "|-|-|", *counts])
    )
    return _HEADER.format(**settings) + body


def _shown(value: Any) -> str:
    return ", ".join(f"{name} {item}" for name, item in value.items()) if isinstance(value, dict) else str(value)
