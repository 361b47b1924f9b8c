"""The page of a search in a real browser: it opens without errors, does what it says, and runs nothing that is in the data."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from guided_gen.engine.models.loading import load_model
from guided_gen.engine.models.tokenizer_loading import load_tokenizer
from guided_gen.engine.policy_names import POLICIES, as_policy, described
from guided_gen.engine.tree import ROOT, Ended, Tree
from guided_gen.generator import GuidedGenerator
from guided_gen.page import page
from guided_gen.search_page_data import search_data

from .serving import Served, serving

playwright_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra agents")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium")
ATTACK = "</script><script>window.taken = 1</script><img src=x onerror='window.taken = 1'><!--"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """A tab that remembers what it complained of and what it asked the network for."""
    tab = browser.new_page()
    tab.complaints, tab.asked = [], []
    tab.on("console", lambda message: tab.complaints.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("request", lambda request: tab.asked.append(request.url))
    yield tab
    tab.close()


def made_up(tokenizer: Any, candidates: int = 12, tokens: int = 60) -> dict[str, Any]:
    """A search with forks, every kind of end, a failing test, and markup wherever there is text."""
    tree = Tree.below([1, 2, 3], {"problem": "made/up", "policy": "Beam(width=4)", "model": ATTACK, "failures": {}})
    trunk = ROOT
    spine = []
    for token in tokenizer(f"```python\ndef double(x):  # {ATTACK}\n    return 'é🙂'\n")["input_ids"]:
        trunk = tree.add_node(trunk, token, logprob=-0.2, value=0.5)
        spine.append(trunk)
    for i in range(candidates):
        fork = spine[(i * 7) % len(spine) if i > 1 else -1] if i % 3 else ROOT
        leaf = fork
        for k in range(max(tokens - tree.depth_of(fork), 3)):
            leaf = tree.add_node(leaf, 33 + (i * 31 + k * 7) % 90, logprob=-0.5, value=max(0.05, min(0.95, (i + k / 10) / 15)))
        row = tree.add_rollout(leaf, fork, list(Ended)[1 + i % 4], seed=i)
        tree.verdicts[row] = (None, "passed", "wrong_answer")[i % 3]
        if i % 3 == 2:
            failure = {"index": 1, "status": "wrong_answer", "input": ATTACK, "expected": "4", "got": "5", "error": ""}
            tree.metadata["failures"][str(row)] = failure
    return search_data(tree, tokenizer, f"Double a number.\n{ATTACK}")


@pytest.fixture(scope="module")
def shown(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    tokenizer = load_tokenizer(tiny_folder)
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(page([made_up(tokenizer), made_up(tokenizer, candidates=100, tokens=500)], title=f"Two searches {ATTACK}"))
    return path.as_uri()


def test_it_opens_without_complaint_and_asks_the_network_for_nothing(opened: Any, shown: str) -> None:
    opened.goto(shown)
    assert opened.locator("#candidates tbody tr").count() == 12
    opened.select_option("#searches", "1")
    assert opened.locator("#candidates tbody tr").count() == 100
    assert opened.locator("#plot path").count() == 100
    assert opened.complaints == [] and opened.asked == [shown]


def test_nothing_in_the_data_runs(opened: Any, shown: str) -> None:
    opened.goto(shown)
    opened.click("#problem summary")
    assert ATTACK in opened.inner_text("#text-of-problem")
    opened.click("#unfold")
    assert opened.locator("img").count() == 0
    assert opened.evaluate("window.taken") is None
    assert ATTACK in opened.title()


def test_the_tree_unfolds_and_leads_to_its_candidates(opened: Any, shown: str) -> None:
    opened.goto(shown)
    before = opened.locator("#tree details").count()
    opened.locator("#tree details:not([open]) > summary").first.click()
    opened.click("#unfold")
    assert opened.locator("#tree details").count() > before
    assert opened.locator("#tree .end").count() == 12
    opened.locator("#tree .end button").first.click()
    name = opened.locator("#tree .end button").first.inner_text()
    assert opened.inner_text("#why").startswith(f"{name}:")
    opened.click("#fold")
    assert opened.locator("#tree details[open]").count() == 0


def test_filters_narrow_the_list_and_the_plot(opened: Any, shown: str) -> None:
    opened.goto(shown)
    opened.select_option("#filter-verdict", "wrong_answer")
    assert opened.locator("#candidates tbody tr").count() == 4
    assert opened.locator("#plot path[visibility=visible]").count() == 4
    opened.select_option("#filter-verdict", "")
    opened.select_option("#filter-ended", "pruned")
    assert opened.locator("#candidates tbody tr").count() == 3
    opened.fill("#filter-text", "no answer says this")
    assert opened.locator("#candidates tbody tr").count() == 0
    assert opened.inner_text("#count") == "0 of 12"


def test_a_failing_candidate_shows_its_failing_test_and_why_it_ended(opened: Any, shown: str) -> None:
    opened.goto(shown)
    opened.select_option("#filter-verdict", "wrong_answer")
    opened.locator("#candidates tbody button").first.click()
    failure = opened.inner_text("#failure")
    assert "Failing test" in failure and ATTACK in failure and "Expected" in failure
    assert "tokens" in opened.inner_text("#why") and "wrong_answer" in opened.inner_text("#why")
    opened.select_option("#filter-verdict", "passed")
    opened.locator("#candidates tbody button").first.click()
    assert opened.locator("#failure").is_hidden()


def test_the_cursor_shows_the_text_of_its_token(opened: Any, shown: str) -> None:
    opened.goto(shown)
    opened.locator("#candidates tbody button").first.click()
    opened.evaluate("document.getElementById('cursor').value = 3; document.getElementById('cursor').oninput()")
    assert opened.inner_text("#under-cursor").startswith("Token 4 of ")
    assert opened.locator("#answer > span.at").count() == 1
    opened.locator("#plot").scroll_into_view_if_needed()
    box = opened.locator("#plot").bounding_box()
    opened.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    assert not opened.inner_text("#under-cursor").startswith("Token 4 of ")


def test_candidates_are_reached_by_keyboard(opened: Any, shown: str) -> None:
    opened.goto(shown)
    first = opened.inner_text("#why")
    opened.keyboard.press("j")
    second = opened.inner_text("#why")
    opened.keyboard.press("k")
    assert second != first == opened.inner_text("#why")
    opened.keyboard.press("/")
    assert opened.evaluate("document.activeElement.id") == "filter-text"
    opened.keyboard.press("j")  # typed, not obeyed
    assert opened.input_value("#filter-text") == "j"


def test_code_is_highlighted_and_characters_of_several_tokens_are_whole(opened: Any, shown: str) -> None:
    opened.goto(shown)
    for row in range(12):
        opened.locator("#candidates tbody button").nth(row).click()
        if "é🙂" in opened.inner_text("#answer"):
            break
    assert "é🙂" in opened.inner_text("#answer")
    assert "".join(opened.locator("#answer .k").all_inner_texts()).startswith("def")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(browser: Any, shown: str, scheme: str) -> None:
    phone = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    phone.goto(shown)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    styles = [phone.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color")]
    back, fore = (sum(map(int, re.findall(r"\d+", style))) for style in styles)
    assert back > 600 > 300 > fore if scheme == "light" else fore > 600 > 300 > back
    phone.close()


def test_verdicts_are_in_sight_on_a_phone_and_keyboard_hints_are_not(browser: Any, shown: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    phone = context.new_page()
    phone.goto(shown)
    box = phone.locator("#candidates tbody td", has_text="wrong_answer").first.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    assert phone.locator(".keys:visible").count() == 0
    context.close()


def test_axes_have_ticks_and_labels(opened: Any, shown: str) -> None:
    opened.goto(shown)
    assert opened.locator("#trace .y span").all_inner_texts() == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert opened.locator("#trace .name").all_inner_texts() == ["value", "tokens"]
    ticks = [int(text) for text in opened.locator("#trace .x span").all_inner_texts()]
    assert len(ticks) > 2 and ticks == sorted(ticks)


def test_no_tick_stands_where_its_axis_is_named_on_a_phone(browser: Any, shown: str) -> None:
    phone = browser.new_page(viewport={"width": 390, "height": 844})
    phone.goto(shown)
    for search in ("0", "1"):
        phone.select_option("#searches", search)
        end = "one => { const all = document.createRange(); all.selectNodeContents(one); return all.getBoundingClientRect()"
        last = phone.locator("#trace .x span").last.evaluate(f"{end}.right }}")
        assert last < phone.locator("#trace .below").evaluate(f"{end}.left }}")
    phone.close()


def test_two_candidates_of_two_searches_stand_side_by_side(opened: Any, shown: str) -> None:
    opened.goto(shown)
    opened.select_option("#left-candidate", "0")
    opened.select_option("#right-candidate", "0")
    assert opened.inner_text("#same") == "The programs are equal."
    assert opened.locator("#diff .removed, #diff .added").count() == 0
    opened.select_option("#right-search", "1")
    opened.select_option("#right-candidate", "3")
    left, right = (opened.evaluate(f"searches[{i}].candidates[{k}].program") for i, k in ((0, 0), (1, 3)))
    assert left != right and opened.inner_text("#same") == ""
    for column, program in ((1, left), (2, right)):
        cells = opened.locator(f"#diff tr td:nth-child({column}):not(.none)").evaluate_all(
            "all => all.map((one) => one.textContent)"
        )
        assert "\n".join(cells) == program.rstrip()
    assert opened.locator("#diff .added").count() > 0
    assert opened.locator("#facts tr", has_text="Candidates").inner_text().split()[1:] == ["12", "100"]


def test_a_program_is_downloaded(opened: Any, shown: str) -> None:
    opened.goto(shown)
    with opened.expect_download() as coming:
        opened.click("#download")
    assert coming.value.suggested_filename == "solution.py"
    assert Path(coming.value.path()).read_text().rstrip() == opened.evaluate("chosen.program").rstrip()


@pytest.fixture(scope="module")
def server(tiny_folder: Path) -> Iterator[Served]:
    """Of a model whose answers never end before they are as long as allowed."""
    loaded = replace(load_model(str(tiny_folder), "float32"), stop_ids=frozenset())
    with serving(GuidedGenerator(loaded)) as running:
        yield running


def ask(tab: Any, statement: str, n: int = 3, tokens: int = 12) -> None:
    tab.fill("#statement", statement)
    tab.fill("#n", str(n))
    tab.fill("#tokens", str(tokens))


def done(tab: Any) -> None:
    tab.wait_for_selector("#search:not([hidden]) #candidates tbody tr", timeout=120_000)
    tab.wait_for_selector("#go:not([disabled])", timeout=120_000)


def test_the_server_shows_a_search_for_a_typed_problem_and_a_reload_keeps_it(opened: Any, server: Served) -> None:
    opened.goto(server.url)
    assert opened.evaluate("document.activeElement.id") == "statement"
    ask(opened, f"Double a number. {ATTACK}\n\ndouble(2) == 4")
    opened.keyboard.press("Control+Enter")
    done(opened)
    assert opened.locator("#candidates tbody tr").count() >= 1
    assert ATTACK in opened.evaluate("document.getElementById('text-of-problem').textContent")
    assert opened.locator("#search-time path").count() == 1
    before = opened.evaluate("[search.name, search.candidates.map((one) => one.text)]")
    opened.reload()
    assert ATTACK in opened.input_value("#statement") and opened.input_value("#n") == "3"
    assert opened.evaluate("[search.name, search.candidates.map((one) => one.text)]") == before
    assert opened.evaluate("window.taken") is None
    assert opened.complaints == [], opened.complaints


def test_a_link_to_a_search_opens_it_in_another_browser(opened: Any, browser: Any, server: Served) -> None:
    opened.goto(server.url)
    ask(opened, "Double a number.")
    opened.click("#go")
    done(opened)
    elsewhere = browser.new_context().new_page()
    elsewhere.goto(opened.url)
    elsewhere.wait_for_selector("#candidates tbody tr")
    assert elsewhere.evaluate("search.name") == opened.evaluate("search.name") == opened.url.partition("#")[2]
    elsewhere.goto(f"{server.url}/#nobody-knows-it")
    elsewhere.reload()
    elsewhere.wait_for_function("() => document.getElementById('progress').textContent.includes('no such search')")
    elsewhere.context.close()


def test_a_search_is_watched_and_stop_keeps_its_best_answer(opened: Any, server: Served) -> None:
    opened.goto(server.url)
    assert opened.is_disabled("#stop")
    assert float(opened.evaluate("getComputedStyle(document.getElementById('stop')).opacity")) < 0.6
    ask(opened, "Double a number.", n=8, tokens=2500)
    opened.click("#go")
    opened.wait_for_function("() => watched !== null && watched.samples.length === 8 && watched.deepest > 20", timeout=120_000)
    opened.wait_for_function("() => document.querySelectorAll('#growing .grow').length === 8")
    assert opened.inner_text("#best-why").startswith("Best so far: #")
    assert opened.is_disabled("#go") and not opened.is_disabled("#stop")
    row = opened.locator("#growing .grow").first
    assert row.locator(".tail").inner_text() and "%" in row.locator(".track > span").get_attribute("style")
    opened.focus("#stop")
    opened.click("#stop")
    done(opened)
    assert opened.evaluate("document.activeElement.id") == "go"
    assert 20 < opened.evaluate("Math.max(...search.candidates.map((one) => one.path.length))") < 2500
    assert opened.evaluate("new Set(search.candidates.map((one) => one.ended)).has('stopped')")


def test_policies_are_a_form_of_what_they_declare(opened: Any, server: Served) -> None:
    opened.goto(server.url)
    assert opened.locator("#policy option").all_inner_texts() == list(POLICIES)
    for policy in described():
        opened.select_option("#policy", policy["name"])
        told = [setting["name"] for setting in policy["settings"]]
        assert opened.locator("#policy-settings input").evaluate_all("all => all.map((one) => one.name)") == told
        as_it_is = as_policy(opened.evaluate("policyText()"))
        assert as_it_is == as_policy(policy["name"])
    opened.select_option("#policy", "beam")
    opened.fill("#policy-settings input", "2")
    ask(opened, "Double a number.")
    opened.click("#go")
    done(opened)
    assert opened.evaluate("search.about.policy") == "Beam(width=2)"
    opened.fill("#policy-settings input", "0")
    opened.click("#go")
    opened.wait_for_function("() => document.getElementById('progress').textContent.includes('beam must be')", timeout=120_000)
    assert opened.locator("#candidates tbody tr").count() >= 1  # the last search is still there


def test_a_growing_tree_is_drawn_as_it_grows(opened: Any, server: Served) -> None:
    """Frames by hand: shared tokens, a fork, a candidate that is dropped, verdicts."""

    def frame(at: int, nodes: list[Any], samples: list[Any], decisions: list[Any]) -> dict[str, Any]:
        return {"seconds": at, "tokens": 2 * at, "live": 1, "nodes": nodes, "samples": samples, "decisions": decisions}

    begun = [[0, 1, -1, "grows", -0.5, None, None], [1, 0, -1, "grows", -0.1, None, None]]
    going = [[0, 3, -1, "runs", 0.5, None, None], [1, 0, -1, "pruned", -0.1, None, None], [2, 2, 0, "grows", 0.2, None, None]]
    frames = [
        frame(1, [[-1, "a"], [0, "b\n"]], begun, []),
        frame(2, [[0, "c"], [1, "d"]], going, [["pruned", 1], ["forked", 1]]),
        frame(3, [], [[0, 3, -1, "passes", 0.5, 0.9, [2, 2]]], [["passes", 1]]),
    ]
    opened.goto(server.url)
    opened.evaluate("frames => { beginWatching(); frames.forEach(takeFrame); }", frames)
    opened.wait_for_function("() => document.querySelectorAll('#growing .grow').length === 3")
    states = opened.locator("#growing .state").all_inner_texts()
    assert states == ["passes 2/2", "pruned", "grows"]
    assert opened.locator("#growing .tail").all_inner_texts() == ["ab⏎d", "a", "ac"]
    assert [watched["begin"] for watched in opened.evaluate("watched.samples.map(({begin}) => ({begin}))")] == [0, 1, 1]
    assert opened.inner_text("#best-why") == "Best so far: #1, passes, passes 2 of 2 examples, correct with probability 90%"
    assert opened.inner_text("#best-text") == "ab\nd"
    assert opened.locator("#watch-time .legend span").all_inner_texts() == ["1 pruned", "1 forked", "1 passes"]
