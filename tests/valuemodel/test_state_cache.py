"""Cached states are the base's own, computed once, whatever was killed in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from guided_gen.engine.errors import DataError
from guided_gen.valuemodel.base_layers import shared_states
from guided_gen.valuemodel.packing import Pack, PromptedTree, pack_tree
from guided_gen.valuemodel.state_cache import INDEX, STATES, StateCache, cached_states, pack_key

MakeTree = Callable[..., PromptedTree]


def packs(make_tree: MakeTree, *seeds: int) -> list[Pack]:
    return [pack_tree(make_tree(seed).tree, make_tree(seed).prompt_ids) for seed in seeds]


def unused() -> Any:
    raise AssertionError("the base is loaded although nothing is missing")


def assert_right(caches: dict[int, StateCache], base: Any, wanted: list[Pack]) -> None:
    for layer, cache in caches.items():
        for pack in wanted:
            assert torch.allclose(cache[pack_key(pack)], shared_states(base, pack, [layer])[0], atol=1e-5)


def test_states_are_computed_once_and_for_several_layers_in_one_pass(qwen: Any, make_tree: MakeTree, tmp_path: Path) -> None:
    wanted = packs(make_tree, 1, 2, 3)
    cached_states(tmp_path, wanted, [1, 3], lambda: qwen)
    assert_right(cached_states(tmp_path, wanted, [1, 3], unused), qwen, wanted)
    assert_right(cached_states(tmp_path, wanted[1:], [3], unused), qwen, wanted[1:])


def test_new_trees_are_added_to_those_that_are_there(qwen: Any, make_tree: MakeTree, tmp_path: Path) -> None:
    cached_states(tmp_path, packs(make_tree, 1, 2), [2], lambda: qwen)
    size = (tmp_path / "layer-2" / STATES).stat().st_size
    everything = packs(make_tree, 2, 3, 1)
    caches = cached_states(tmp_path, everything, [2], lambda: qwen)
    assert_right(caches, qwen, everything)
    assert (tmp_path / "layer-2" / STATES).stat().st_size == size + len(everything[1]) * 32 * 4


@pytest.mark.parametrize("torn", ["states", "index", "both"])
def test_what_a_killed_process_left_half_written_is_computed_anew(
    qwen: Any, make_tree: MakeTree, tmp_path: Path, torn: str
) -> None:
    wanted = packs(make_tree, 1, 2)
    cached_states(tmp_path, wanted[:1], [2], lambda: qwen)
    if torn in ("states", "both"):
        with (tmp_path / "layer-2" / STATES).open("ab") as file:
            file.write(b"half a row")
    if torn in ("index", "both"):
        with (tmp_path / "layer-2" / INDEX).open("a") as file_:
            file_.write('{"key": "cut o')
    assert_right(cached_states(tmp_path, wanted, [2], lambda: qwen), qwen, wanted)
    assert_right(cached_states(tmp_path, wanted, [2], unused), qwen, wanted)


def test_reading_sees_whole_trees_while_others_are_added(qwen: Any, make_tree: MakeTree, tmp_path: Path) -> None:
    wanted = packs(make_tree, 1, 2)
    cached_states(tmp_path, wanted[:1], [2], lambda: qwen)
    opened, reading = StateCache(tmp_path / "layer-2"), StateCache(tmp_path / "layer-2")
    assert_right({2: reading}, qwen, wanted[:1])
    cached_states(tmp_path, wanted, [2], lambda: qwen)
    with (tmp_path / "layer-2" / STATES).open("ab") as file:
        file.write(b"half a row")
    assert_right({2: opened}, qwen, wanted[:1])
    assert_right(cached_states(tmp_path, wanted, [2], unused), qwen, wanted)
    with reading.writing():
        assert_right({2: reading}, qwen, wanted)


def test_half_precision_states_come_back_as_they_were(qwen: Any, make_tree: MakeTree, tmp_path: Path) -> None:
    base = qwen.to(torch.bfloat16)
    wanted = packs(make_tree, 1)
    cache = cached_states(tmp_path, wanted, [2], lambda: base)[2]
    assert cache[pack_key(wanted[0])].dtype == torch.bfloat16
    assert torch.equal(cache[pack_key(wanted[0])], shared_states(base, wanted[0], [2])[0])


def test_a_truncated_file_is_an_error(qwen: Any, make_tree: MakeTree, tmp_path: Path) -> None:
    wanted = packs(make_tree, 1, 2)
    cached_states(tmp_path, wanted, [2], lambda: qwen)
    states = tmp_path / "layer-2" / STATES
    states.write_bytes(states.read_bytes()[:-100])
    with pytest.raises(DataError, match="shorter"):
        cached_states(tmp_path, wanted, [2], lambda: qwen)
