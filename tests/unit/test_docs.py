"""The pages are true: links, paths, names in the code, config blocks, commands, messages, and the worked example."""

from __future__ import annotations

import ast
import json
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import yaml
from PIL import Image

from lile.config import load, read_schema
from lile.data.pairs import read_pairs
from lile.data.records import check_records, report_text
from lile.data.rows import read_rows

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CONFIGS = [ROOT / "config" / "config.yaml", *sorted((ROOT / "config" / "trial").glob("*.yaml"))]
PATH = re.compile(r"(?:src|workflow|config|tests|docs|profiles|\.ci)/[\w./-]+")
REASON = re.compile(r"(?:row|path|image|caption|split|group|id)_[a-z0-9_]+")
# The last is a reason, but ARCH's and COCO's alone.
NO_REASONS = {"image_id", "image_ids", "caption_id", "group_of", "split_file", "image_without_row"}


def cases(pattern: str, flags: int = 0) -> list[object]:
    """One test case for every place in the pages where ``pattern`` is found, named by page and line."""
    return [
        pytest.param(page, found, id=f"{page.name}:{text.count(chr(10), 0, found.start()) + 1}")
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for found in re.finditer(pattern, text, flags)
    ]


def fenced(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@cache
def commands(page: Path) -> list[list[str]]:
    """Every command of a page's bash blocks and inline code, split into words, comments and `.venv/bin/` taken off."""
    text = page.read_text(encoding="utf-8")
    lines = [line for block in fenced(page, "bash") for line in block.splitlines()]
    lines += re.findall(r"(?<!`)`((?:\.venv/bin/)?(?:make|lile|snakemake) [^`…]+)`", text)
    parts = [part for line in lines for part in re.split(r"&&|;|\|", re.sub(r"(^|\s)#.*", "", line))]
    words = [shlex.split(part) for part in parts]
    return [[word.removeprefix(".venv/bin/") for word in line] for line in words if line]


@cache
def messages() -> str:
    """Every string of the code on a line of its own, with … where an f-string or a %-format puts a value."""
    found = []
    for path in [*sorted((ROOT / "src").rglob("*.py")), *sorted((ROOT / "workflow").rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    lines = (re.sub(r"%[-\d.]*[sdfgr]|\{\}", "…", text) for text in found)
    return "\n".join(" ".join(line.split()) for line in lines)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_fits_a_sitting(page):
    assert len(page.read_text(encoding="utf-8").splitlines()) < 150


@pytest.mark.parametrize(("page", "found"), cases(r"\]\((?!https?:|#|mailto:)([^)\s#]+)[^)]*\)"))
def test_links_lead_somewhere(page, found):
    assert (page.parent / found[1]).exists(), f"{page.name} links to {found[1]}"


@pytest.mark.parametrize(("page", "found"), cases(r"(?<!`)`([^`\n]+)`"))
def test_paths_and_names_in_backticks_exist(page, found):
    for word in found[1].split():
        path = PATH.match(word)
        if path and not re.search(r"[<>{}*…]", word):
            assert (ROOT / path[0].rstrip(".")).exists(), f"{page.name} names {word}"
        if re.fullmatch(r"lile(?:\.\w+)+", word):
            assert is_defined(word), f"{page.name} names {word}, which the code does not have"


def is_defined(dotted: str) -> bool:
    """Whether a dotted name is a module, or something that a module or class defines; nothing is imported."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        place = ROOT / "src" / Path(*parts[:cut])
        if place.is_dir() and cut == len(parts):
            return True
        if place.with_suffix(".py").is_file():
            return within(ast.parse(place.with_suffix(".py").read_text(encoding="utf-8")), parts[cut:])
    return False


def within(tree: ast.AST, names: list[str]) -> bool:
    if not names:
        return True
    for node in getattr(tree, "body", []):
        named = [getattr(node, "name", None), *(getattr(t, "id", None) for t in getattr(node, "targets", []))]
        if names[0] in [*named, getattr(getattr(node, "target", None), "id", None)]:
            return within(node, names[1:])
    return False


@pytest.mark.parametrize(("page", "found"), cases(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL))
def test_yaml_blocks_are_overlays_of_the_shipped_config(page, found, tmp_path):
    block = yaml.safe_load(found[1])
    assert set(block) <= set(read_schema()["properties"]), f"{page.name}: a block must begin at the config's top"
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(found[1], encoding="utf-8")
    load([overlay])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_can_be_typed(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):(?!=)", makefile, re.MULTILINE))
    subcommands = set(
        re.findall(r"^@app\.command\(\)\ndef (\w+)", (ROOT / "src/lile/cli.py").read_text(), re.MULTILINE)
    )
    for program, *words in commands(page):
        plain = [word for word in words if not word.startswith("-") and "=" not in word]
        if program == "make":
            assert set(plain) <= targets, f"{page.name}: make {' '.join(plain)}; the Makefile has {sorted(targets)}"
        elif program == "lile" and plain:
            assert plain[0] in subcommands, f"{page.name}: lile {plain[0]}"
            assert all(is_config(page, word) for word in words if word.endswith(".yaml"))
        elif program == "snakemake":
            assert all(is_config(page, word) for word in words if word.endswith(".yaml"))
            check_targets(page, [word for word in words if word.startswith("results/")])


def is_config(page: Path, name: str) -> bool:
    """Whether a config is in the repository, or a block of the page that begins with its name."""
    return (ROOT / name).is_file() or any(block.startswith(f"# {name}\n") for block in fenced(page, "yaml"))


def check_targets(page: Path, targets: list[str]) -> None:
    configs = [path.read_text(encoding="utf-8") for path in CONFIGS] + fenced(page, "yaml")
    known = {
        section: {name for text in configs for name in (yaml.safe_load(text).get(section) or {})}
        for section in ("tables", "pretraining")
    }
    for target in targets:
        table = re.fullmatch(r"results/tables/([a-z0-9_]+)\.(?:csv|md)", target)
        trained = re.fullmatch(r"results/pretrain/([a-z0-9_]+)/record\.json", target)
        assert table or trained, f"{page.name}: {target} is neither a table nor a pretraining's record"
        section, name = ("tables", table[1]) if table else ("pretraining", trained[1])
        assert name in known[section], f"{page.name}: {target}; {section} are {sorted(known[section])}"


def test_readings_have_the_keys_and_defaults_they_say(tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("models: {plain: {}}\n")
    page = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z_.]+)` \| `([^`]+)` \|", page, re.MULTILINE)
    assert len(rows) > 15
    for key, default in rows:
        value = load([overlay])["models"]["plain"]
        for part in key.split("."):
            value = value[part]
        assert value == yaml.safe_load(default), key


@pytest.mark.parametrize(("page", "found"), cases(r"^\*\*`(.+?)`\*\*(?: (?:and|or) \*\*`(.+?)`\*\*)?", re.MULTILINE))
def test_messages_are_those_of_the_code(page, found):
    for message in filter(None, found.groups()):
        if message.startswith("Directory cannot be locked"):
            continue  # Snakemake's own
        pattern = "[^\n]*?".join(re.escape(" ".join(part.split())) for part in message.split("…"))
        assert re.search(pattern, messages()), f"{page.name}: nothing in the code says {message!r}"


def test_reasons_of_the_report_are_those_of_the_readers():
    shared = reasons_of("assemble", "captions", "images")
    assert listed_reasons("own-data.md") == (shared | reasons_of("pairs")) - NO_REASONS
    of_coco = reasons_of("coco") - (NO_REASONS - {"image_without_row"})
    assert of_coco <= listed_reasons("coco.md") <= of_coco | shared
    of_arrays = reasons_of("precomputed")
    assert of_arrays <= listed_reasons("regions.md") <= of_arrays | shared


def listed_reasons(page: str) -> set[str]:
    """The reasons in a page's table of them."""
    said = (ROOT / "docs" / page).read_text(encoding="utf-8")
    table = said.partition("| reason | status |")[2].partition("\n\n")[0]
    return {word for row in table.splitlines() for word in REASON.findall(row.split("|")[1] if "|" in row else "")}


def reasons_of(*modules: str) -> set[str]:
    """The strings of modules that look like reasons."""
    trees = [ast.parse((ROOT / "src" / "lile" / "data" / f"{name}.py").read_text(encoding="utf-8")) for name in modules]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {node.value for node in nodes if isinstance(node.value, str) and REASON.fullmatch(node.value)}


def test_the_worked_example_gives_the_report_on_the_page(tmp_path, monkeypatch):
    page = ROOT / "docs" / "own-data.md"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "patches").mkdir(parents=True)
    (tmp_path / "mine" / "captions.csv").write_text(fenced(page, "csv")[0], encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(fenced(page, "yaml")[0], encoding="utf-8")
    for row in read_rows(Path("mine/captions.csv")):
        if "lost" not in row.cells["file_name"]:
            Image.new("RGB", (32, 32), (int(row.number), 90, 140)).save(Path("mine") / row.cells["file_name"])
    records = read_pairs(load([Path("mine.yaml")])["datasets"]["mine"], "decode")
    check_records(records)
    assert fenced(page, "text")[0] in report_text(records)


def test_citation_and_package_agree_on_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert f'version = "{citation["version"]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert json.dumps(citation["preferred-citation"]["authors"]).count("family-names") == 2
