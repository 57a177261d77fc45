"""What a user meets before running anything: names, tooltips, help pages, and that the pack loads cleanly."""

import asyncio
import sys
from types import ModuleType
from typing import Any

import pytest
from pack import PACK


def test_all_nodes(nodes: dict[str, Any]) -> None:
    assert sorted(nodes) == [
        "DBAF_Anonymize",
        "DBAF_AnonymizeImage",
        "DBAF_DetectFaces",
        "DBAF_Disentangle",
        "DBAF_Encode",
        "DBAF_Key",
        "DBAF_Load",
        "DBAF_LoadFolder",
        "DBAF_LoadModel",
        "DBAF_MAARBlend",
        "DBAF_MixIdentities",
        "DBAF_Reconstruct",
        "DBAF_Recover",
        "DBAF_RecoverImage",
        "DBAF_Save",
        "DBAF_Seal",
        "DBAF_Unseal",
    ]


def test_every_node_explains_itself(nodes: dict[str, Any]) -> None:
    for node in nodes.values():
        schema = node.define_schema()
        assert schema.category == "DBAF"
        assert schema.display_name
        assert schema.description
        for socket in [*schema.inputs, *schema.outputs]:
            assert socket.tooltip, (schema.node_id, socket.id)


def test_help_pages_name_every_socket(nodes: dict[str, Any]) -> None:
    pages = {page.stem: page.read_text() for page in (PACK / "web" / "docs").glob("*.md")}
    assert sorted(pages) == sorted(nodes)
    for node_id, node in nodes.items():
        schema = node.define_schema()
        for name in [*(i.id for i in schema.inputs), *(o.display_name for o in schema.outputs)]:
            assert f"`{name}`" in pages[node_id], (node_id, name)


def test_help_pages_have_small_pictures() -> None:
    """ComfyUI serves them from the folder of the page."""
    for page in (PACK / "web" / "docs").glob("*.md"):
        picture = page.with_suffix(".jpg")
        assert f"]({picture.name})" in page.read_text()
        assert picture.stat().st_size <= 60_000


def test_linkage_is_said_where_it_matters(nodes: dict[str, Any]) -> None:
    for node_id in ("DBAF_Anonymize", "DBAF_Recover"):
        assert "linked" in nodes[node_id].define_schema().description
        assert "linked" in (PACK / "web" / "docs" / f"{node_id}.md").read_text()


def test_entry_point(pack: ModuleType) -> None:
    assert not hasattr(pack, "NODE_CLASS_MAPPINGS")  # else ComfyUI ignores comfy_entrypoint
    extension = asyncio.run(pack.comfy_entrypoint())
    assert asyncio.run(extension.get_node_list()) == pack.NODES


def test_loading_takes_no_network(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the pack went to the network")

    for name in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(f"socket.socket.{name}", refuse)
    for node in request.getfixturevalue("pack").NODES:
        node.define_schema()


def test_library_exists_once(pack: ModuleType) -> None:
    import dbaf.keys

    assert pack.NODES[1].execute.__globals__["Key"] is dbaf.keys.Key
    assert not [name for name in sys.modules if name.endswith(".dbaf")]


def test_newer_arguments_are_used_where_known(pack: ModuleType) -> None:
    supported = sys.modules[f"{pack.__name__}.nodes.sockets"].supported
    assert supported(lambda advanced=False: None, advanced=True) == {"advanced": True}
    assert supported(lambda: None, advanced=True) == {}


def test_old_host_gets_one_sentence(host: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setitem(sys.modules, "comfy_api.latest", None)
    with pytest.raises(ImportError, match=r"needs ComfyUI 0\.3\.48 or newer"):
        request.getfixturevalue("pack")
