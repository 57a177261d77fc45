"""Translations: each has exactly what the nodes have, and English says what the nodes say."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pack import PACK

LOCALES = PACK / "locales"
LANGUAGES = ["de", "es", "fr", "ja", "ko", "zh"]
ANONYMOUS = re.compile("anonym|an\u00f3nim|\u533f\u540d|\uc775\uba85", re.IGNORECASE)
CODE = re.compile(r"'[a-z ]+'|DBAF_[A-Z_]+|user/__dbaf_keys|models/dbaf|--linkage \w+|\bW\+|\b1, 3-5\b")


def read(language: str) -> dict[str, Any]:
    return json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))


def definitions(nodes: dict[str, Any]) -> dict[str, Any]:
    """What a nodeDefs.json of these nodes holds, in their own words."""
    found = {}
    for node_id in sorted(nodes):
        schema = nodes[node_id].define_schema()
        # ComfyUI lists optional inputs last
        inputs = sorted(schema.inputs, key=lambda socket: bool(socket.optional))
        found[node_id] = {
            "display_name": schema.display_name,
            "description": schema.description,
            "inputs": {socket.id: {"name": socket.id, "tooltip": socket.tooltip} for socket in inputs},
            "outputs": {
                str(slot): {"name": socket.display_name, "tooltip": socket.tooltip}
                for slot, socket in enumerate(schema.outputs)
            },
        }
    return found


def leaves(tree: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """Path of keys -> text."""
    if isinstance(tree, str):
        return {path: tree}
    return {place: text for key, value in tree.items() for place, text in leaves(value, (*path, key)).items()}


def test_english_says_what_the_nodes_say(nodes: dict[str, Any], tmp_path: Path) -> None:
    text = json.dumps(definitions(nodes), ensure_ascii=False, indent=2) + "\n"
    (tmp_path / "nodeDefs.json").write_text(text, encoding="utf-8")
    assert read("en") == definitions(nodes), (
        f"copy {tmp_path}/nodeDefs.json over locales/en and mend the other languages"
    )


def test_no_other_languages() -> None:
    assert sorted(path.name for path in LOCALES.iterdir()) == sorted(["en", *LANGUAGES])


@pytest.mark.parametrize("language", LANGUAGES)
def test_translation(language: str) -> None:
    english, translated = leaves(read("en")), leaves(read(language))
    assert sorted(translated) == sorted(english)  # nothing is missing, nothing is stale
    for place, text in translated.items():
        assert text.strip() == text != "", place
        if place[-1] in ("description", "tooltip"):
            assert text != english[place], place
            for code in CODE.findall(english[place]):
                # names of inputs are translated, values of widgets are not
                assert code in text or code.strip("'") in nodes_inputs(), (place, code)


def nodes_inputs() -> set[str]:
    return {name for node in read("en").values() for name in node["inputs"]}


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_called_anonymous(language: str) -> None:
    """Whoever has the key can undo it: the word for that is pseudonymised."""
    for place, text in leaves(read(language)).items():
        assert not ANONYMOUS.search(text.replace("Disentangle Before Anonymize", "")), place


@pytest.mark.parametrize("language", LANGUAGES)
def test_equal_words_are_translated_equally(language: str) -> None:
    """One name for one thing: nodes are called in tooltips as they are titled."""
    english, translated = read("en"), read(language)
    titles = [(node["display_name"], translated[node_id]["display_name"]) for node_id, node in english.items()]
    titles.sort(key=lambda pair: -len(pair[0]))  # Anonymize Image before Anonymize
    texts = leaves(translated)
    for place, text in leaves(english).items():
        for title, ours in titles:
            if title in text:
                text = text.replace(title, "")
                assert ours in texts[place], (place, title)
