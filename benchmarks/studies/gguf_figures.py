"""What decoding a GGUF as it is costs and gains, beside llama.cpp with the same file and this project before it read GGUF:

    python -m guided_gen.benchmarks.studies.gguf_figures --model qwen2.5-coder-1.5b --rounds 3

prints, as Markdown, disk, memory, the time until the first token, decoding at 1, 8 and 36 candidates at each level of
instructions, and decoding beside two busy processes. `--only` chooses among these. Everything is measured from outside, in
processes that start anew, one after the other; of several rounds, in which the contenders take turns, the medians are told.
Run it on an idle machine, in one go or, with `--timings`, in several.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click

from ...data_builder.problems.problem import Problem
from ...data_builder.problems.prompts import prompt_ids
from ...engine.cpu import kernels
from ...engine.models.files import resolve_model
from ...engine.models.known import DEFAULT_MODEL
from ...engine.models.tokenizer_loading import load_tokenizer
from .decoding_contenders import INSTRUCTIONS, PEERS_FOLDER, SAMPLING, missing_peer

STATEMENT = "Write a function longest_run(numbers) that returns the length of the longest run of equal numbers in a list."
CANDIDATES = {1: 64, 8: 48, 36: 24}  # and how many tokens each decodes
PARTS = ("disk", "memory", "start", "decoding", "busy")

# Runs `guided-gen solve` up to the first sampled token and tells when that was.
_FIRST_TOKEN = """
import os, sys, time
from guided_gen.engine.torch_backend import model
advance = model.TorchLanguageModel.advance
def told(*arguments):
    advance(*arguments)
    print(time.time(), flush=True)
    os._exit(0)
model.TorchLanguageModel.advance = told
from guided_gen.cli import main
main()
"""


def disk(path: Path) -> None:
    """Megabytes beside the GGUF after its first search."""
    with tempfile.TemporaryDirectory() as cache:
        linked = Path(cache) / "models" / path.name
        linked.parent.mkdir()
        linked.symlink_to(path)
        solve(linked, cache)
        beside = sum(file.stat().st_size for file in Path(cache).rglob("*") if file.is_file() and not file.is_symlink())
    click.echo(f"Disk: the GGUF has {path.stat().st_size / 1e6:.0f} MB; {beside / 1e6:.1f} MB lie beside it after a search.")


def memory(path: Path) -> None:
    """The peak of a whole `solve --n 8`: its resident pages, those of mapped files among them."""
    used = solve(path, None)
    click.echo(f"Memory: `solve --n 8` peaks at {used / 1e9:.2f} GB, mapped pages included.")


def solve(model: Path, cache: str | None) -> float:
    """Run `guided-gen solve --n 8` and return the bytes at its peak."""
    environment = os.environ | ({"GUIDED_GEN_CACHE": cache} if cache else {})
    command = [sys.executable, "-m", "guided_gen", "solve", STATEMENT, "--model", str(model), "--n", "8", "--quiet"]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, 3):
        raise click.ClickException(f"solve ended with {child.returncode}")
    return usage.ru_maxrss * 1024


def start(name: str, path: Path, rounds: int) -> None:
    """Seconds from the start of the process to the first sampled token, files in the page cache."""
    command = [sys.executable, "-c", _FIRST_TOKEN, "solve", STATEMENT, "--model", name, "--quiet"]
    prompt = prompt_ids(load_tokenizer(path), Problem("file/statement", STATEMENT, "file"))
    seconds = defaultdict(list)
    for _ in range(rounds):
        begun = time.time()
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        seconds["guided-gen solve"].append(float(run.stdout) - begun)
        if not missing_peer("llama.cpp"):
            begun = time.time()
            [told] = peer("llama.cpp", str(path), prompt, {8: 2})
            seconds["llama.cpp"].append(told["first_token_at"] - begun)
    shown = ", ".join(f"{contender} {median(taken):.2f} s" for contender, taken in seconds.items())
    click.echo(f"Start to first token, prompt of {len(prompt)} tokens: {shown}.")


def peer(contender: str, model: str, prompt: list[int], candidates: dict[int, int]) -> list[dict[str, Any]]:
    """What `decoding_peers` prints for these numbers of candidates, each with its number of tokens."""
    lines = []
    command = [str(PEERS_FOLDER / contender / "bin" / "python"), str(Path(__file__).with_name("decoding_peers.py")), contender]
    for count, tokens in candidates.items():
        task = {"model": model, "prompt": prompt, "candidates": [count], "new_tokens": tokens}
        task |= {"temperature": SAMPLING.temperature, "top_p": SAMPLING.top_p}
        run = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, check=True)
        lines.append(json.loads(run.stdout.splitlines()[-1]))
    return lines


def decoding(name: str, rounds: int, levels: Sequence[str], kept: Path | None) -> None:
    """Tokens a second after a prompt of 300, and the prompt's own; then our ratio to each other contender, of medians.

    `kept`: a file of JSON lines that the timings are added to; those of this model that it held count, too.
    """
    ours = [f"engine-int8 {level}" for level in levels]
    contenders = [*ours, *(c for c in ("llama.cpp", "int8-before") if not missing_peer(c))]
    taken = [json.loads(line) for line in kept.read_text().splitlines()] if kept and kept.exists() else []
    for _ in range(rounds):
        for contender in contenders:
            told = [timing | {"model": name, "as": contender} for timing in timings(contender, name, CANDIDATES)]
            taken += told
            if kept:
                with kept.open("a") as file:
                    file.writelines(json.dumps(timing) + "\n" for timing in told)
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    for timing in taken:
        if timing["model"] == name:
            decoded = timing["candidates"] * timing["new_tokens"] / timing["decode_seconds"]
            rates[timing["as"], str(timing["candidates"])].append(decoded)
            reading = timing["total_seconds"] - timing["decode_seconds"]
            rates[timing["as"], "prompt"].append(timing["prompt_tokens"] / reading)
    columns = [*map(str, CANDIDATES), "prompt"]
    tell_rates({key: median(found) for key, found in rates.items()}, ours, contenders[len(ours) :], columns)


def tell_rates(rates: dict[tuple[str, str], float], ours: list[str], others: list[str], columns: list[str]) -> None:
    """The table of rates, and that of ours divided by others'."""
    click.echo(f"\n| tokens a second | {' | '.join(columns)} |\n|-|{'-|' * len(columns)}")
    for contender in (*ours, *others):
        click.echo(f"| {contender} | {' | '.join(f'{rates[contender, column]:.1f}' for column in columns)} |")
    click.echo(f"\n| times as fast as | {' | '.join(columns)} |\n|-|{'-|' * len(columns)}")
    for own in ours:
        for other in others:
            ratios = [rates[own, column] / rates[other, column] for column in columns]
            click.echo(f"| {own} / {other} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")


def timings(contender: str, name: str, candidates: dict[int, int]) -> list[dict[str, Any]]:
    """What `decoding_contenders` prints, a process for each number of tokens."""
    told = []
    way, _, instructions = contender.partition(" ")
    for count, tokens in candidates.items():
        command = [sys.executable, "-W", "ignore", "-m", "guided_gen.benchmarks.studies.decoding_contenders", way]
        command += ["--model", name, "--candidates", str(count), "--new-tokens", str(tokens)]
        command += ["--instructions", instructions] if instructions else []
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            raise click.ClickException(f"{contender} failed: {run.stderr[-2000:]}")
        told.append(json.loads(run.stdout.splitlines()[-1]))
    return told


def busy(name: str, rounds: int) -> None:
    """Decoding at 8 candidates beside two processes that each use a core, as a share of decoding alone."""
    rates = defaultdict(list)
    for _ in range(rounds):
        for others in (0, 2):
            burning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(others)]
            try:
                [timing] = timings("engine-int8", name, {8: CANDIDATES[8]})
            finally:
                for process in burning:
                    process.kill()
                    process.wait()
            rates[others].append(1 / timing["decode_seconds"])
    share = median(rates[2]) / median(rates[0])
    click.echo(f"\nBeside two busy processes, 8 candidates decode at {share:.0%} of their speed alone.")


def processor() -> str:
    """The processor's name and its cores, and which kernels it can use."""
    described = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", described, re.MULTILINE)
    return f"{found[1] if found else platform.processor()}, {os.cpu_count()} cores, kernels for {', '.join(usable())}"


def usable() -> list[str]:
    """The levels of instructions that this machine has."""
    return [level for level, number in INSTRUCTIONS.items() if number in kernels.levels()]


@click.command()
@click.option("--model", default=DEFAULT_MODEL, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--only", type=click.Choice(PARTS), multiple=True)
@click.option("--instructions", type=click.Choice(list(INSTRUCTIONS)), multiple=True, help="[default: all of the machine]")
@click.option("--timings", "kept", type=click.Path(path_type=Path), help="Add those of decoding to this file, and count its own.")
def main(model: str, rounds: int, only: tuple[str, ...], instructions: tuple[str, ...], kept: Path | None) -> None:
    """Print the figures of one model."""
    path = resolve_model(model)
    click.echo(f"{model} on {processor()}; {shutil.disk_usage(path).free / 1e9:.0f} GB of disk free.\n")
    parts = {
        "disk": lambda: disk(path),
        "memory": lambda: memory(path),
        "start": lambda: start(model, path, rounds),
        "decoding": lambda: decoding(model, rounds, instructions or usable(), kept),
        "busy": lambda: busy(model, rounds),
    }
    for part in only or PARTS:
        parts[part]()


if __name__ == "__main__":
    main()
