"""The page of a search in a real browser: it opens without errors, does what it says, and runs nothing that is in the data."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guided_gen.engine.models.tokenizer_loading import load_tokenizer
from guided_gen.engine.tree import ROOT, Ended, Tree
from guided_gen.generator import GuidedGenerator
from guided_gen.page import page
from guided_gen.search_page_data import search_data

from .serving import serving

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


def test_the_server_shows_a_search_for_a_typed_problem(opened: Any, tiny_folder: Path) -> None:
    with serving(GuidedGenerator.from_pretrained(str(tiny_folder), precision="float32")) as server:
        opened.goto(server.url)
        opened.fill("#statement", f"Double a number. {ATTACK}\n\ndouble(2) == 4")
        opened.fill("#n", "3")
        opened.fill("#tokens", "12")
        opened.click("#go")
        opened.wait_for_selector("#candidates tbody tr", timeout=120_000)
        assert opened.locator("#candidates tbody tr").count() >= 1
        assert ATTACK in opened.evaluate("document.getElementById('text-of-problem').textContent")
        assert opened.evaluate("window.taken") is None
        opened.fill("#policy", "magic")
        opened.click("#go")
        opened.wait_for_function("document.getElementById('progress').textContent.includes('magic')", timeout=120_000)
        bad = [text for text in opened.complaints if "400" not in text and "favicon" not in text]
        assert bad == [], bad
