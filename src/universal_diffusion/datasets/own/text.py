"""YAML as people write it: read strictly, and quoted briefly in messages."""

import reprlib
from collections.abc import Hashable
from pathlib import Path

import yaml

MISREAD = (yaml.YAMLError, ValueError, KeyError, IndexError, AttributeError, TypeError, RecursionError)  # by PyYAML
LONGEST = 60  # characters of a value that a message quotes


def _brief() -> reprlib.Repr:
    """Looks at no more of a value than a message can hold: aliases let a short file hold a thousand million items."""
    brief = reprlib.Repr()
    brief.maxlevel = 2
    brief.maxstring = brief.maxother = brief.maxlong = LONGEST
    return brief


_BRIEF = _brief()


class UnreadableText(Exception):
    """Text that is no YAML; the message says where and why, in one line."""


def load(path: Path) -> object:
    """The content of a UTF-8 YAML file. Raises UnreadableText, also for a key that stands twice in one table."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except MISREAD as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        said = getattr(error, "problem", None) or str(error) or type(error).__name__
        raise UnreadableText(place + " ".join(said.split())) from None


def shown(value: object) -> str:
    """A value as a message quotes it: in one line, and not too long."""
    text = _BRIEF.repr(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which no key stands twice in one table, of which PyYAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if key is not None and key in seen:
                raise yaml.constructor.ConstructorError(problem=f"{key} stands twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)
