"""The dashboard's files: index.html and feed.xml. Neither asks anything of any network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import jinja2

from stmbench import __version__
from stmbench.errors import ConfigError, TableError, printable
from stmbench.history.series import MachineSeries, events_of
from stmbench.reporting.dashboard.data import payload, script_text
from stmbench.reporting.dashboard.feed import feed_text
from stmbench.tables.files import write_file

PAGE, FEED = "index.html", "feed.xml"
WEB: Final = ("http://", "https://")


def write_dashboard(
    machines: Sequence[MachineSeries],
    folder: str | Path,
    *,
    title: str,
    commit_url: str | None = None,
    url: str | None = None,
) -> dict[str, Path]:
    """Write the site into a folder, each file at once; what else is there stays.

    Args:
        commit_url: address of a commit's page, with {commit} for its SHA; commits are linked to it. Default: what the
            newest record with one says, which is the remote of the checkout that it was added from.
        url: where the site will be published, for the feed's links. Default: links beside the feed.

    Returns:
        What was written: page and feed.

    Raises:
        TableError: no record. ConfigError: an address that is none. OutputError: the folder cannot be written.
    """
    _check(machines, commit_url, url)
    title = printable(title)
    folder = Path(folder)
    texts = {
        PAGE: render(machines, title=title, commit_url=commit_url),
        FEED: feed_text(machines, title=title, url=url),
    }
    for name, text in texts.items():
        write_file(folder / name, text, remedy="choose another with --out")
    return {"page": folder / PAGE, "feed": folder / FEED}


def render(machines: Sequence[MachineSeries], *, title: str, commit_url: str | None) -> str:
    """The page as text; see `write_dashboard`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("stmbench.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    events = [event for machine in machines for event in events_of(machine)]
    known = max((facts for machine in machines for facts in machine.commits if _is_page(facts.commit_url)),
                key=lambda facts: facts.added, default=None)  # fmt: skip
    commit_url = commit_url or (None if known is None else known.commit_url)
    return environment.get_template("dashboard/index.html.j2").render(
        title=title,
        version=__version__,
        data=script_text(payload(machines, commit_url=commit_url)),
        commits=len({facts.commit for machine in machines for facts in machine.commits}),
        models=len({series.key.model for machine in machines for series in machine.series}),
        machines=len(machines),
        worse=sum(event.worse is True for event in events),
        better=sum(event.worse is False for event in events),
    )


def _is_page(url: object) -> bool:
    """Whether a commit's page has this URL; a record may hold anything, such as a script's."""
    return isinstance(url, str) and url.startswith(WEB) and "{commit}" in url


def _check(machines: Sequence[MachineSeries], commit_url: str | None, url: str | None) -> None:
    if not machines:
        raise TableError("a history with records", "none", "add one with `stmbench history add`")
    if commit_url is not None and not _is_page(commit_url):
        raise ConfigError(
            "an http(s) address with {commit} in it", repr(commit_url), "give https://.../commit/{commit}"
        )
    if url is not None and not url.startswith(WEB):
        raise ConfigError("an http(s) address", repr(url), "change --url")
