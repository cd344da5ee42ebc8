"""An Atom feed (RFC 4287) of regressions: one entry for each commit and machine at which something got worse."""

from __future__ import annotations

import datetime
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final
from urllib.parse import urlencode

from stmbench.errors import printable
from stmbench.history.series import Event, MachineSeries, events_of
from stmbench.reporting.dashboard import labels
from stmbench.reporting.dashboard.data import name_of
from stmbench.tables.rows import Display

ATOM: Final = "http://www.w3.org/2005/Atom"
NAMESPACE: Final = uuid.UUID("6f0f3b0e-53f4-5a0b-9d0b-6a4e3c1d7a52")  # of the entries' identifiers
MOST: Final = 100  # entries: readers keep what they have seen


def feed_text(machines: Sequence[MachineSeries], *, title: str, url: str | None) -> str:
    """The feed as text. It depends on the records alone: built again, it has the same identifiers and times.

    Args:
        url: where the site will be published; None for links relative to the feed.
    """
    ET.register_namespace("", ATOM)
    root = ET.Element(f"{{{ATOM}}}feed")
    base = "" if url is None else url.rstrip("/") + "/"
    latest = max(facts.date for machine in machines for facts in machine.commits)
    _add(root, "id", uuid.uuid5(NAMESPACE, url or title).urn)
    _add(root, "title", _xml(f"{title}: regressions"))
    _add(root, "updated", _time(latest))
    _add(ET.SubElement(root, f"{{{ATOM}}}author"), "name", "stmbench")
    _add(root, "link", rel="alternate", type="text/html", href=f"{base}index.html")
    if url is not None:
        _add(root, "link", rel="self", type="application/atom+xml", href=f"{base}feed.xml")
    groups = [(machine, events) for machine in machines for events in _losses(machine)]
    groups.sort(key=lambda group: (group[1][0].commit.date, group[0].machine), reverse=True)
    for machine, events in groups[:MOST]:
        root.append(_entry(machine, events, base))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _losses(machine: MachineSeries) -> Iterable[list[Event]]:
    """The regressions of a machine, those of one commit together."""
    by_commit: dict[str, list[Event]] = {}
    for event in events_of(machine):
        if event.worse:
            by_commit.setdefault(event.commit.commit, []).append(event)
    return by_commit.values()


def _entry(machine: MachineSeries, events: list[Event], base: str) -> ET.Element:
    commit = events[0].commit
    entry = ET.Element(f"{{{ATOM}}}entry")
    _add(entry, "id", uuid.uuid5(NAMESPACE, f"{machine.machine} {commit.commit}").urn)
    first, rest = events[0], len(events) - 1
    shown = labels.displays(machine)
    headline = f"{_title(first, shown)} at {commit.commit[:12]}" + (f" and {rest} more" if rest else "")
    _add(entry, "title", _xml(headline))
    _add(entry, "updated", _time(commit.date))
    state = {"machine": machine.machine, "metric": first.series.key.metric, "model": first.series.key.model}
    _add(entry, "link", rel="alternate", type="text/html", href=f"{base}index.html#{urlencode(state)}")
    lines = "".join(f"<li>{escape(_line(event, shown))}</li>" for event in events)
    head = f"{commit.commit[:12]} {commit.subject}, on {name_of(machine)}"
    _add(entry, "content", _xml(f"<p>{escape(head)}</p><ul>{lines}</ul>"), type="html")
    return entry


def _title(event: Event, shown: Mapping[str, Display]) -> str:
    subject = event.series.key
    word = " drifts" if event.change_point.gradual else ""
    return f"{subject.model}: {shown[subject.metric].name}{word} {labels.change(event)}"


def _line(event: Event, shown: Mapping[str, Display]) -> str:
    subject = event.series.key
    before, after = labels.before_and_after(event, shown[subject.metric])
    where = labels.conditions(subject)
    line = f"{_title(event, shown)}, {before} to {after}" + (f" ({where})" if where else "")
    if len(event.suspects) > 1:
        first, last = event.suspects[0].commit[:12], event.suspects[-1].commit[:12]
        line += f"; one of {len(event.suspects)} commits from {first} to {last}"
    return line


def _add(parent: ET.Element, name: str, text: str | None = None, **attributes: str) -> None:
    ET.SubElement(parent, f"{{{ATOM}}}{name}", attributes).text = text


def _time(date: datetime.datetime) -> str:
    return date.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _xml(text: str) -> str:
    """Text with the characters that XML 1.0 cannot hold shown as escapes; the writer escapes the rest."""
    return printable(text)
