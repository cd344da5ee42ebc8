"""What a part's metadata says in a form that others rely on. Anything else that JSON can hold may stand beside it."""

from __future__ import annotations

from typing import Any, Final

# name -> (type, type of what it holds): checked where the name is there
_FORMS: Final[dict[str, tuple[tuple[type, ...], type | None]]] = {
    "analysis": ((str,), None),
    "artifacts": ((dict,), dict),  # place in the store -> bytes, sha256
    "commit": ((str, type(None)), None),
    "conditions": ((dict,), None),
    "faint_mixers": ((dict,), float),  # model -> share of its mixers' branches in the residual stream
    "disturbances": ((list,), dict),  # kind, amount, text
    "machine": ((dict,), None),
    "mixers": ((dict,), dict),  # mixer -> title, abbreviation, palette_slot
    "models": ((list,), str),
    "software": ((dict,), None),
    "status": ((str,), None),
    "warnings": ((list,), str),
}
_FIELDS: Final[dict[str, dict[str, tuple[type, ...]]]] = {
    "artifacts": {"bytes": (int,), "sha256": (str,)},
    "disturbances": {"kind": (str,), "amount": (int, float), "text": (str,)},
    "mixers": {"title": (str,), "abbreviation": (str,), "palette_slot": (int, type(None))},
}


def fault_in(metadata: Any) -> str | None:
    """What is not in its form, in words; None where all is."""
    if not isinstance(metadata, dict):
        return f"{metadata!r}"[:80]
    for name, (types, held) in _FORMS.items():
        value = metadata.get(name, _ABSENT)
        if value is _ABSENT:
            continue
        inside = list(value.values() if isinstance(value, dict) else value) if isinstance(value, dict | list) else []
        right = isinstance(value, types) and (held is None or all(isinstance(item, held) for item in inside))
        if not right or not all(_has(item, _FIELDS.get(name, {})) for item in inside):
            return f"{name} is {value!r}"[:80]
    return None


def _has(item: Any, fields: dict[str, tuple[type, ...]]) -> bool:
    return all(isinstance(item.get(field), types) for field, types in fields.items())


_ABSENT: Final = object()
