"""Experiments: a YAML file becomes units of work, an engine does them, a store keeps what they find."""
