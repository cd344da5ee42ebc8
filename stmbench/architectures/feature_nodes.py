"""Nodes of a traced graph as stages, as torchvision's `create_feature_extractor` names them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import fx, nn

from stmbench.errors import ConfigError, UnknownNameError


def with_nodes(network: nn.Module, nodes: Sequence[str]) -> tuple[nn.Module, tuple[str, ...]]:
    """The network traced, with a module behind each of these nodes, and the paths of those.

    The traced network returns a dict, whose 'logits' are the original's output; it shares the original's modules.

    Raises:
        UnknownNameError: a node that the graph has not. ConfigError: a network that cannot be traced.
    """
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    paths = tuple(f"stage_node_{number}" for number in range(len(nodes)))
    try:
        known = get_graph_node_names(network)[1]  # of eval mode
        wanted = {known[-1]: "logits", **dict(zip(nodes, paths, strict=True))}
        for node in nodes:
            if not any(f"{name}.".startswith(f"{node}.") for name in known):  # a module stands for its last node
                raise UnknownNameError(f"node of the graph of {type(network).__name__}", node, known)
        traced = create_feature_extractor(network, return_nodes=wanted)
    except UnknownNameError:
        raise
    except Exception as error:  # tracing runs the network's own code on proxies
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError("a network that torch.fx can trace", reason, "name modules: stage_modules=[...]") from error
    for path in paths:
        traced.add_module(path, nn.Identity())
    for graph in (traced.train_graph, traced.eval_graph):
        _pass_through(graph, paths)
    traced.graph = traced.train_graph if traced.training else traced.eval_graph
    return traced, paths


def _pass_through(graph: fx.Graph, paths: Sequence[str]) -> None:
    """Let each output called by a path go through the module at that path."""
    output = next(node for node in reversed(graph.nodes) if node.op == "output")
    returned = dict(output.args[0])  # label -> node
    for path in paths:
        node = returned[path]
        with graph.inserting_after(node):
            returned[path] = graph.create_node("call_module", path, (node,))
    output.args = (returned,)
