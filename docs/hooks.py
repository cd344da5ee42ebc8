"""What mkdocs does not do by itself.

It adds pages from files outside docs/ and every command's options from the real parser. A folder in the navigation, or
linked from a line of its own, stands for all pages in it, so a new page is found without being listed. Runs without
torch: `stmbench.commands` is light. mkdocs is imported only where files are added.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# files outside docs/ -> their page
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "experiments/README.md": "experiment_files.md",
}
COMMAND_LINE = "command_line.md"
MADE_LATER = re.compile(r"\[([^\]]*)\]\((results/[^)\s]+)\)")  # by `make demo`
LINK = re.compile(r"(\]\()([^)#\s:]+)(#[^)\s]*)?(\))")
FOLDER = re.compile(r"^\[[^\]]*\]\(([\w/]+/)\)$", re.MULTILINE)  # a line that is nothing but a link to a folder


def on_config(config: Any) -> Any:
    """Put a folder's pages into the navigation where it names the folder."""
    config.nav = with_pages(config.nav, Path(config.docs_dir))
    return config


def with_pages(nav: list[Any], docs: Path) -> list[Any]:
    """The navigation with each 'folder/' replaced by the folder's pages, whose headings are their titles."""
    found: list[Any] = []
    for item in nav:
        if isinstance(item, str) and item.endswith("/"):
            found += [f"{item}{page.name}" for page in pages_of(docs / item)]
        elif isinstance(item, dict):
            found.append(
                {key: with_pages(value, docs) if isinstance(value, list) else value for key, value in item.items()}
            )
        else:
            found.append(item)
    return found


def pages_of(folder: Path) -> list[Path]:
    """The pages of a folder, by name."""
    return sorted(folder.glob("*.md"))


def list_of_pages(folder: str, docs: Path) -> str:
    """A list of a folder's pages: each one's heading, with a link, and its first paragraph."""
    items = []
    for page in pages_of(docs / folder):
        heading, paragraph = page.read_text(encoding="utf-8").split("\n\n")[:2]
        summary = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
        items.append(f"* **[{heading.removeprefix('# ')}]({folder}{page.name})**. {summary}")
    return "\n\n".join(items)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from outside docs/ and the one that is made from the command line."""
    from mkdocs.structure.files import File

    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, COMMAND_LINE, content=command_line()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Replace links to folders by lists, and links that are right in the repository by ones that are in the site."""
    docs = Path(config.docs_dir)
    markdown = FOLDER.sub(lambda link: list_of_pages(link[1], docs) if (docs / link[1]).is_dir() else link[0], markdown)
    sources = {page_of: source for source, page_of in PAGES.items()}
    source = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    markdown = MADE_LATER.sub(lambda link: link[0] if (ROOT / link[2]).is_file() else link[1], markdown)
    return LINK.sub(lambda link: _moved(link, source, page.file.src_uri, files, config), markdown)


def _moved(link: re.Match[str], source: str, page: str, files: Any, config: Any) -> str:
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[2]))
    if target in PAGES:
        place = PAGES[target]
    elif target.startswith("docs/"):
        place = target.removeprefix("docs/")
    elif (ROOT / target).is_file():  # a file of the repository that a page names: it comes along as it is
        place = f"files/{target}"
        if files.get_file_from_path(place) is None:
            from mkdocs.structure.files import File

            files.append(File.generated(config, place, content=(ROOT / target).read_bytes()))
    else:
        return link[0]  # mkdocs says what is wrong with it
    return f"{link[1]}{posixpath.relpath(place, posixpath.dirname(page) or '.')}{link[3] or ''}{link[4]}"


def command_line() -> str:
    """Every command with its arguments and options, in Markdown."""
    sys.path.insert(0, str(ROOT))
    import typer

    from stmbench.commands import app

    lines = ["# All options", "", "As `stmbench COMMAND --help` says.", ""]
    for path, command in _commands(typer.main.get_command(app), ()):
        lines += [f"## {' '.join(path)}", "", _text(command.help), ""]
        rows = [_row(option) for option in command.params if not getattr(option, "hidden", False)]
        if rows:
            lines += ["| | default | |", "|---|---|---|", *rows, ""]
        if command.epilog:
            lines += [_text(command.epilog), ""]
    return "\n".join(lines)


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "list_commands"):
        yield (path, command)
        return
    for name in command.list_commands(None):
        yield from _commands(command.get_command(None, name), (*path, name))


def _row(option: Any) -> str:
    if option.param_type_name == "argument":
        names = f"`{option.metavar or option.name}`"
    else:
        value = "" if option.is_flag else f" {option.metavar or 'N'}"
        names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts]) + _text(value)
    default = option.default
    shown = "" if default in (None, False, (), []) or callable(default) else f"`{default}`"
    return f"| {names} | {'required' if option.required else shown} | {_text(option.help)} |"


def _text(text: str | None) -> str:
    """Text that is no markup: of Markdown, HTML or a table."""
    return re.sub(r"([\\*_<>|\[\]])", r"\\\1", text or "")
