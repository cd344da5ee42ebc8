"""A report written: HTML, PDF, LaTeX, Markdown."""
